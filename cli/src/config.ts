/** `sluice.config.ts`: the settings of the command line as a typed file. A flag wins over a variable, that over the file. */
import { existsSync } from "node:fs";
import { basename, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { McpServerConfig } from "@sluice/engines";
import { type relayFlags, type transceiverFlags, UNFILED } from "./commands.ts";
import { type Environment, type Flag, type Flags, UsageError } from "./flags.ts";
import { readMcpServers } from "./mcp.ts";
import { suggest } from "./suggestion.ts";

export type { McpServerConfig } from "@sluice/engines";

/** What a flag takes in a file: numbers and booleans as such, whatever else as on the command line. */
type Written<T> = T extends number ? number : T extends boolean ? boolean : T extends string ? T : string;

type Value<F> = F extends { readonly read: (...args: never[]) => infer T }
  ? F extends { readonly many: true }
    ? readonly Written<T>[]
    : Written<T>
  : never;

type Section<F extends Flags> = { readonly [Name in Exclude<keyof F, "config">]?: Value<F[Name]> };

/** Settings by the names of the flags; each is described in docs/configuration.md. */
export interface Config extends Section<typeof transceiverFlags> {
  /** MCP servers whose tools every conversation has. */
  readonly mcp?: readonly McpServerConfig[];
  /** Settings of `sluice relay`. */
  readonly relay?: Section<typeof relayFlags>;
}

/** Checks the file's types as it is written; returns `config`. */
export function defineConfig(config: Config): Config {
  return config;
}

/** A file as `readFlags` takes it. */
export interface ConfigFile {
  /** Its name, for messages. */
  readonly name: string;
  /** By flag, as on the command line. */
  readonly values: Readonly<Record<string, readonly string[]>>;
  readonly relay: Readonly<Record<string, readonly string[]>>;
  readonly mcp: readonly McpServerConfig[];
}

/** Known flags of each section. */
export interface ConfigKeys {
  readonly main: Flags;
  readonly relay: Flags;
}

const DEFAULT_FILE = "sluice.config.ts";

/** Loads the file that `--config` or `SLUICE_CONFIG` names, or `sluice.config.ts` where there is one. */
export async function loadConfig(
  args: readonly string[],
  env: Environment,
  keys: ConfigKeys,
  folder = process.cwd(),
): Promise<ConfigFile | undefined> {
  const named = namedFile(args) ?? (env.SLUICE_CONFIG || undefined);
  const path = resolve(folder, named ?? DEFAULT_FILE);
  if (!existsSync(path)) {
    if (named === undefined) return undefined;
    throw new UsageError(`there is no configuration file ${path}`);
  }
  const { default: config } = (await import(pathToFileURL(path).href).catch((cause: unknown) => {
    const reason = cause instanceof Error ? cause.message.split("\n")[0]! : String(cause);
    const hint = /package 'sluice'/.test(reason)
      ? '; without an installation of it, "export default { ... }" does'
      : "";
    throw new UsageError(`${path} cannot be loaded: ${reason}${hint}`, { cause });
  })) as { default?: unknown };
  return readConfig(config, basename(path), keys);
}

/** Checks a file's default export; throws {@link UsageError} for what it must not hold. */
export function readConfig(config: unknown, name: string, keys: ConfigKeys): ConfigFile {
  const members = asObject(config, `${name} must have a default export: export default defineConfig({ ... })`);
  const { mcp, relay, ...main } = members;
  return {
    name,
    values: readSection(main, name, keys.main, ["mcp", "relay"]),
    relay:
      relay === undefined
        ? {}
        : readSection(asObject(relay, `"relay" in ${name} must be an object`), name, keys.relay, []),
    mcp: readMcpServers(mcp, name),
  };
}

function readSection(
  members: Readonly<Record<string, unknown>>,
  name: string,
  flags: Flags,
  others: readonly string[],
): Record<string, readonly string[]> {
  const known = Object.keys(flags).filter((flag) => !UNFILED.includes(flag));
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (!known.includes(key)) {
        const hint = /key$/i.test(key) ? ": keys come by the environment alone, such as SLUICE_API_KEY" : "";
        throw new UsageError(`unknown key "${key}" in ${name}${hint || suggest(key, [...known, ...others])}`);
      }
      return [key, toTexts(value, `"${key}" in ${name}`, flags[key]!)];
    }),
  );
}

function toTexts(value: unknown, where: string, { many }: Flag<unknown>): readonly string[] {
  const values = Array.isArray(value) ? value : [value];
  if (Array.isArray(value) && !many) throw new UsageError(`${where} takes one value, not a list`);
  return values.map((one: unknown) => {
    if (typeof one === "string" || typeof one === "number" || typeof one === "boolean") return String(one);
    throw new UsageError(`${where} must be text, a number or true or false`);
  });
}

function namedFile(args: readonly string[]): string | undefined {
  const at = args.findIndex((arg) => arg === "--config" || arg.startsWith("--config="));
  if (at < 0) return undefined;
  const arg = args[at]!;
  return arg.includes("=") ? arg.slice(arg.indexOf("=") + 1) : args[at + 1];
}

function asObject(value: unknown, message: string): Readonly<Record<string, unknown>> {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new UsageError(message);
}
