/** Reads a command line by a table: one line a flag, which is its help, its environment variable and its check too. */
import { parseArgs } from "node:util";
import { suggest } from "./suggestion.ts";

/** The user asked for something that cannot be: the message is for them. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** One flag. Its environment variable is `SLUICE_` and its name in capitals. */
export interface Flag<T> {
  /** What stands behind the flag in the help, such as `<n>`. */
  readonly value: string;
  readonly help: string;
  /** Shown in the help. */
  readonly fallback: string | undefined;
  /** Checks and converts; throws a {@link UsageError} about `flag`. */
  readonly read: (text: string, flag: string) => T;
  /** Takes all that were given, also comma-separated, instead of one. */
  readonly many?: true;
}

/** Flags by their names. */
export type Flags = Readonly<Record<string, Flag<unknown>>>;

/** What the flags of a table are read to. */
export type Settings<F extends Flags> = {
  readonly [Name in keyof F]: F[Name] extends { readonly many: true; readonly read: (...args: never[]) => infer T }
    ? readonly T[]
    : F[Name] extends { readonly read: (...args: never[]) => infer T; readonly fallback: string }
      ? T
      : F[Name] extends { readonly read: (...args: never[]) => infer T }
        ? T | undefined
        : never;
};

/** The process's environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The environment variable of a flag. */
export function variableOf(flag: string): string {
  return `SLUICE_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** Values of a configuration file by the names of their flags. */
export interface FiledValues {
  /** The file's name, for messages. */
  readonly name: string;
  readonly values: Readonly<Record<string, readonly string[]>>;
}

/**
 * Reads `args` by `flags`; throws {@link UsageError}, which names the place at fault. A flag wins over its variable,
 * that over the file, that over the default.
 */
export function readFlags<F extends Flags>(
  flags: F,
  args: readonly string[],
  env: Environment,
  file?: FiledValues,
): Settings<F> {
  const given = parse(flags, args);
  const settings: Record<string, unknown> = {};
  for (const [name, { read, fallback, many }] of Object.entries(flags)) {
    const variable = variableOf(name);
    const places: (readonly [string, readonly string[] | undefined])[] = [
      [`--${name}`, given[name]],
      [variable, env[variable] ? [env[variable]] : undefined],
      [`"${name}" in ${file?.name}`, file?.values[name]],
      [`--${name}`, fallback === undefined ? [] : [fallback]],
    ];
    const [where, texts = []] = places.find(([, found]) => found !== undefined)!;
    const parts = many ? texts.flatMap((text) => text.split(",")).map((text) => text.trim()) : texts.slice(-1);
    const values = parts.filter((text) => text !== "").map((text) => read(text, where));
    settings[name] = many ? values : values[0];
  }
  return settings as Settings<F>;
}

/** The help of a table. */
export function describeFlags(flags: Flags): string {
  const heads = Object.entries(flags).map(([name, { value }]) => `  --${name} ${value}`);
  const width = Math.max(...heads.map((head) => head.length)) + 2;
  const lines = Object.entries(flags).map(([name, { help, fallback, many }], index) => {
    const notes = [fallback === undefined ? undefined : `default ${fallback}`, many && "repeatable", variableOf(name)];
    return `${heads[index]!.padEnd(width)}${help} (${notes.filter(Boolean).join(", ")})`;
  });
  return `${lines.join("\n")}\n`;
}

function parse(flags: Flags, args: readonly string[]): Record<string, string[] | undefined> {
  const options = Object.fromEntries(
    Object.keys(flags).map((name) => [name, { type: "string", multiple: true } as const]),
  );
  try {
    return parseArgs({ args: [...args], options, strict: true }).values as Record<string, string[] | undefined>;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    const unknown = /^Unknown option '--([^']+)'/.exec(message)?.[1];
    const hint = unknown === undefined ? "" : suggest(unknown, Object.keys(flags));
    throw new UsageError(`${message.split(". ")[0]}${hint}; try "sluice --help"`, { cause });
  }
}

/** Any text. */
export const text = (value: string): string => value;

/** A whole number within bounds. */
export const integer =
  (least: number, most: number) =>
  (value: string, flag: string): number => {
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= least && number <= most) return number;
    throw new UsageError(`${flag} must be a whole number from ${least} to ${most}, not "${value}"`);
  };

/** One of a few words. */
export const choice =
  <T extends string>(...choices: readonly T[]) =>
  (value: string, flag: string): T => {
    const chosen = choices.find((one) => one === value);
    if (chosen !== undefined) return chosen;
    throw new UsageError(`${flag} must be one of ${choices.join(", ")}, not "${value}"`);
  };

/** `true` or `false`. */
export const yesOrNo = (value: string, flag: string): boolean => choice("true", "false")(value, flag) === "true";

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}
