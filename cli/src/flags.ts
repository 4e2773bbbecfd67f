/** The command line of `sluice`: flags and environment to checked settings, with an error that says what to do. */
import { parseArgs } from "node:util";

/** The user asked for something that cannot be: the message is for them. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Settings of `sluice start`. */
export interface StartOptions {
  /** Address of the page and the API. Default 127.0.0.1: this machine only. */
  readonly host: string;
  /** TCP port of the page and the API. Default 8080. */
  readonly port: number;
  /** UDP port of all media. Default 3478. */
  readonly udpPort: number;
  /** Addresses that clients reach the UDP port at. Default: this machine's own. */
  readonly advertise: readonly string[];
  /** The built-in agent. */
  readonly agent: "parrot";
  /** Key that clients need; `undefined`: open, on loopback only. */
  readonly apiKey: string | undefined;
  /** Calls at once. Default 100. */
  readonly maxCalls: number;
  readonly logLevel: LogLevel;
}

const LOG_LEVELS = ["silent", "fatal", "error", "warn", "info", "debug", "trace"] as const;
type LogLevel = (typeof LOG_LEVELS)[number];

/** What `sluice --help` prints. */
export const HELP = `sluice — the open real-time voice stack

  sluice start            page, API, media and agent in one process

  --port <n>              TCP port of page and API       (8080, SLUICE_PORT)
  --host <address>        where page and API listen      (127.0.0.1, SLUICE_HOST)
  --udp-port <n>          UDP port of all media          (3478, SLUICE_UDP_PORT)
  --advertise <address>   address clients reach the UDP port at; repeatable (SLUICE_ADVERTISE, comma-separated)
  --agent parrot          the agent that answers         (parrot, SLUICE_AGENT)
  --max-calls <n>         calls at once                  (100, SLUICE_MAX_CALLS)
  --log-level <level>     ${LOG_LEVELS.join(" ")}  (info, SLUICE_LOG_LEVEL)

  SLUICE_API_KEY          key that clients must send; needed as soon as --host is not this machine alone
`;

type Environment = Readonly<Record<string, string | undefined>>;

const flags = {
  port: { type: "string" },
  host: { type: "string" },
  "udp-port": { type: "string" },
  advertise: { type: "string", multiple: true },
  agent: { type: "string" },
  "max-calls": { type: "string" },
  "log-level": { type: "string" },
  help: { type: "boolean", short: "h" },
  version: { type: "boolean", short: "v" },
} as const;

/** What was asked of the command line. */
export type Command =
  | { readonly kind: "help" }
  | { readonly kind: "version" }
  | { readonly kind: "start"; readonly options: StartOptions };

/** Reads the command line; throws {@link UsageError}. A flag wins over its environment variable. */
export function parseCommand(args: readonly string[], env: Environment): Command {
  const { values, positionals } = parse(args);
  if (values.help) return { kind: "help" };
  if (values.version) return { kind: "version" };
  const [command = "help", ...rest] = positionals;
  if (command === "help") return { kind: "help" };
  if (command !== "start") throw new UsageError(`unknown command "${command}"; try "sluice --help"`);
  if (rest.length > 0) throw new UsageError(`unexpected "${rest[0]}" after "start"; try "sluice --help"`);
  const host = values.host ?? env.SLUICE_HOST ?? "127.0.0.1";
  const apiKey = env.SLUICE_API_KEY || undefined;
  if (!isLoopback(host) && apiKey === undefined) {
    throw new UsageError(
      `listening on ${host} lets others in: set SLUICE_API_KEY to a secret that clients must send, or leave --host away`,
    );
  }
  return {
    kind: "start",
    options: {
      host,
      port: toPort("port", values.port ?? env.SLUICE_PORT, 8080),
      udpPort: toPort("udp-port", values["udp-port"] ?? env.SLUICE_UDP_PORT, 3478),
      advertise: values.advertise ?? env.SLUICE_ADVERTISE?.split(",").map((one) => one.trim()) ?? [],
      agent: toChoice("agent", values.agent ?? env.SLUICE_AGENT, ["parrot"], "parrot"),
      apiKey,
      maxCalls: toInteger("max-calls", values["max-calls"] ?? env.SLUICE_MAX_CALLS, 100, 1, 100_000),
      logLevel: toChoice("log-level", values["log-level"] ?? env.SLUICE_LOG_LEVEL, LOG_LEVELS, "info"),
    },
  };
}

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, allowPositionals: true, strict: true });
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`${message}; try "sluice --help"`, { cause });
  }
}

function toPort(flag: string, value: string | undefined, fallback: number): number {
  return toInteger(flag, value, fallback, 0, 65_535);
}

function toInteger(flag: string, value: string | undefined, fallback: number, least: number, most: number): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= least && number <= most) return number;
  throw new UsageError(`--${flag} must be a whole number from ${least} to ${most}, not "${value}"`);
}

function toChoice<T extends string>(flag: string, value: string | undefined, choices: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  const choice = choices.find((one) => one === value);
  if (choice !== undefined) return choice;
  throw new UsageError(`--${flag} must be one of ${choices.join(", ")}, not "${value}"`);
}
