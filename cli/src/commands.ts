/** The commands of `sluice`, their flags, and what they mean together. */

import type { McpServerConfig } from "@sluice/engines";
import type { KeyConfig } from "@sluice/routing";
import { agentFlags } from "./agent-flags.ts";
import type { ConfigFile } from "./config.ts";
import {
  choice,
  describeFlags,
  type Environment,
  type Flags,
  integer,
  isLoopback,
  readFlags,
  type Settings,
  text,
  UsageError,
  variableOf,
  yesOrNo,
} from "./flags.ts";
import {
  readAddress,
  readEndpoint,
  readKeys,
  readNetwork,
  readPublicRelay,
  readRedis,
  readRelayPeer,
  readServerId,
  readTransceiver,
} from "./fleet.ts";

import { suggest } from "./suggestion.ts";

const port = integer(0, 65_535);
const LOG_LEVELS = ["silent", "fatal", "error", "warn", "info", "debug", "trace"] as const;

const udpMode = {
  value: "auto|dgram",
  help: "auto: datagrams in batches where the native addon was built; dgram: one by one",
  fallback: "auto",
  read: choice("auto", "dgram"),
} as const;

/** Flags that a configuration file cannot hold. */
export const UNFILED: readonly string[] = ["config"];

/** Keys of the engines that flags name. */
const ENGINE_KEYS = ["LLM", "LLM_FALLBACK", "STT", "STT_FALLBACK", "TTS", "REALTIME"].map(
  (name) => `SLUICE_${name}_KEY`,
);

/** Flags of `sluice start` and `sluice doctor`. */
export const startFlags = {
  config: {
    value: "<file>",
    help: "settings in a file; default sluice.config.ts, where it is",
    fallback: undefined,
    read: text,
  },
  port: { value: "<n>", help: "TCP port of page and API", fallback: "8080", read: port },
  host: { value: "<address>", help: "where page and API listen", fallback: "127.0.0.1", read: text },
  "udp-port": { value: "<n>", help: "UDP port of all media", fallback: "3478", read: port },
  advertise: {
    value: "<address>",
    help: "address that clients reach the UDP port at",
    fallback: undefined,
    read: readAddress,
    many: true,
  },
  "tls-cert": {
    value: "<file>",
    help: "certificate chain (PEM): page and API by https, WebTransport by its name",
    fallback: undefined,
    read: text,
  },
  "tls-key": { value: "<file>", help: "its private key (PEM)", fallback: undefined, read: text },
  ...agentFlags,
  udp: udpMode,
  "mcp-hosts": {
    value: "<host>",
    help: "host[:port] of MCP servers that clients may name, such as tools.example or *.example:*",
    fallback: undefined,
    read: text,
    many: true,
  },
  "max-calls": { value: "<n>", help: "calls at once", fallback: "100", read: integer(1, 100_000) },
  "log-level": { value: "<level>", help: LOG_LEVELS.join(" "), fallback: "info", read: choice(...LOG_LEVELS) },
} as const;

/** Flags of `sluice transceiver`. */
export const transceiverFlags = {
  ...startFlags,
  host: { ...startFlags.host, fallback: "0.0.0.0" },
  "server-id": { value: "<cluster.node>", help: "who this is", fallback: undefined, read: readServerId },
  relays: {
    value: "<relay>",
    help: "relay to send clients to: [region[@latitude;longitude]=]address:port, the nearest first chosen",
    fallback: undefined,
    read: readPublicRelay,
    many: true,
  },
  "relays-from": {
    value: "<network>",
    help: "address or network that relays send from",
    fallback: undefined,
    read: readNetwork,
    many: true,
  },
  direct: { value: "true|false", help: "take clients without a relay too", fallback: "false", read: yesOrNo },
  "hop-tag": {
    value: "true|false",
    help: "sign the hop: relay and transceiver alike",
    fallback: "false",
    read: yesOrNo,
  },
  "region-header": {
    value: "<name>",
    help: "header by which a CDN names the client's region",
    fallback: "x-region,cf-ipcountry",
    read: (name: string) => name.toLowerCase(),
    many: true,
  },
  redis: {
    value: "<url>",
    help: "where relays find us, and others our conversations",
    fallback: undefined,
    read: readRedis,
  },
  "register-as": {
    value: "<address>",
    help: "address at which relays reach the UDP port",
    fallback: undefined,
    read: readAddress,
  },
  grace: { value: "<s>", help: "how long calls may last after SIGTERM", fallback: "3600", read: integer(0, 86_400) },
} as const;

/** Flags of `sluice relay`. */
export const relayFlags = {
  config: startFlags.config,
  port: { ...startFlags["udp-port"], help: "UDP port of all clients" },
  host: { value: "<address>", help: "where it listens", fallback: "0.0.0.0", read: readAddress },
  "upstream-port": {
    value: "<n>",
    help: "UDP port towards transceivers, one for each worker from here on (default: the ones after --port)",
    fallback: undefined,
    read: port,
  },
  udp: udpMode,
  workers: { value: "<n>", help: "processor cores to spend", fallback: "1", read: integer(1, 64) },
  cluster: { value: "<n>", help: "cluster of its own transceivers", fallback: "0", read: integer(0, 65_535) },
  number: { value: "<n>", help: "its own number among relays, 1 to 255", fallback: "0", read: integer(0, 255) },
  transceivers: {
    value: "<id=address:port>",
    help: "transceiver that it may send to; /webrtc behind the port: one without a QUIC engine",
    fallback: undefined,
    read: readTransceiver,
    many: true,
  },
  peers: {
    value: "<number@cluster=address:port>",
    help: "relay of another cluster",
    fallback: undefined,
    read: readRelayPeer,
    many: true,
  },
  redis: { value: "<url>", help: "registered transceivers, earlier recovery", fallback: undefined, read: readRedis },
  metrics: {
    value: "<address:port>",
    help: "where /metrics, /healthz and /readyz are",
    fallback: "127.0.0.1:9464",
    read: readEndpoint,
  },
  "hop-tag": transceiverFlags["hop-tag"],
  grace: { ...transceiverFlags.grace, help: "how long to forward after SIGTERM", fallback: "120" },
} as const;

/** Settings of `sluice start`. */
export type StartSettings = Settings<typeof startFlags> & {
  readonly apiKey: string | undefined;
  readonly mcp: readonly McpServerConfig[];
};

/** Settings of `sluice transceiver`. */
export type TransceiverSettings = Settings<typeof transceiverFlags> & {
  readonly apiKey: string;
  readonly mcp: readonly McpServerConfig[];
  readonly keys: readonly KeyConfig[];
};

/** Settings of `sluice relay`. */
export type RelaySettings = Settings<typeof relayFlags> & { readonly keys: readonly KeyConfig[] };

/** What was asked of the command line. */
export type Command =
  | { readonly kind: "help"; readonly command?: string }
  | { readonly kind: "version" }
  | { readonly kind: "start"; readonly settings: StartSettings }
  | { readonly kind: "doctor"; readonly settings: StartSettings }
  | { readonly kind: "relay"; readonly settings: RelaySettings }
  | { readonly kind: "transceiver"; readonly settings: TransceiverSettings }
  | { readonly kind: "newKey"; readonly keys: readonly KeyConfig[] };

/** Flags that `sluice transceiver` has beside those of `sluice start`, or means otherwise. */
export const fleetFlags: Flags = Object.fromEntries(
  Object.entries(transceiverFlags).filter(([name, flag]) => startFlags[name as keyof typeof startFlags] !== flag),
);

/** Each command in one line. */
const COMMANDS = {
  start: "page, API, media and agent in one process; with no engine named, the built-in parrot answers",
  doctor: "takes what start takes; tries each engine with a real request, and says how fast it is or what is wrong",
  relay: "one public UDP address for a fleet of transceivers",
  transceiver: "like start, behind relays",
  "keys new": "prints the fleet's keys with a new one in front (from SLUICE_KEYS, where it is set)",
} as const;

const AGENT_VARIABLES = `  OPENAI_API_KEY   with no engine named: OpenAI for everything; sent to api.openai.com only
  ${ENGINE_KEYS.join(", ")}   keys of the engines named by flags
  SLUICE_API_KEY   key that clients must send; needed as soon as --host is not this machine alone
`;
const FLEET_VARIABLES = `  SLUICE_KEYS      the fleet's keys, for relay and transceiver; the first one mints, all are read
`;

/** What `sluice --help` prints, or `sluice start --help`. */
export function help(command?: string): string {
  switch (command) {
    case "start":
    case "doctor":
      return `sluice ${command}: ${COMMANDS[command]}\n${describeFlags(startFlags)}\n${AGENT_VARIABLES}`;
    case "relay":
      return `sluice relay: ${COMMANDS.relay}\n${describeFlags(relayFlags)}\n${FLEET_VARIABLES}`;
    case "transceiver": {
      const variables = AGENT_VARIABLES + FLEET_VARIABLES;
      return `sluice transceiver: ${COMMANDS.transceiver}; takes what start takes, and\n${describeFlags(fleetFlags)}\n${variables}`;
    }
    default: {
      const lines = Object.entries(COMMANDS).map(([name, does]) => `  sluice ${name.padEnd(13)}${does}\n`);
      return `sluice: the open real-time voice stack\n\n${lines.join("")}\n"sluice start --help" lists its flags; so do the others\n`;
    }
  }
}

/** Reads the command line; throws {@link UsageError}. */
export function parseCommand(args: readonly string[], env: Environment, file?: ConfigFile): Command {
  const [command = "help", ...rest] = args;
  const mcp = file?.mcp ?? [];
  const flag = args.find((arg) => ["--help", "-h", "--version", "-v"].includes(arg));
  if (flag !== undefined) return flag.includes("v") ? { kind: "version" } : { kind: "help", command };
  switch (command) {
    case "help":
      return { kind: "help" };
    case "start":
      return { kind: "start", settings: { ...checkStart(readFlags(startFlags, rest, env, file), env), mcp } };
    case "doctor":
      return { kind: "doctor", settings: { ...readFlags(startFlags, rest, env, file), apiKey: readApiKey(env), mcp } };
    case "relay": {
      const filed = file && { name: file.name, values: file.relay };
      return { kind: "relay", settings: { ...readFlags(relayFlags, rest, env, filed), keys: requireKeys(env) } };
    }
    case "transceiver": {
      const settings = checkTransceiver(readFlags(transceiverFlags, rest, env, file), env);
      return { kind: "transceiver", settings: { ...settings, mcp } };
    }
    case "keys":
      if (rest.length !== 1 || rest[0] !== "new") throw new UsageError('there is "sluice keys new"');
      return { kind: "newKey", keys: readKeys(env.SLUICE_KEYS ?? "") };
    default:
      throw new UsageError(`unknown command "${command}"; try "sluice --help"`);
  }
}

function checkStart(settings: Settings<typeof startFlags>, env: Environment): Omit<StartSettings, "mcp"> {
  const apiKey = readApiKey(env);
  checkTls(settings);
  if (isLoopback(settings.host) || apiKey !== undefined) return { ...settings, apiKey };
  throw new UsageError(
    `listening on ${settings.host} lets others in: set SLUICE_API_KEY to a secret that clients must send, or leave --host away`,
  );
}

function checkTls(settings: Settings<typeof startFlags>): void {
  if ((settings["tls-cert"] === undefined) === (settings["tls-key"] === undefined)) return;
  throw new UsageError("--tls-cert and --tls-key belong together");
}

/** `SLUICE_…` variables that mean nothing here, each with what may have been meant. */
export function unknownVariables(env: Environment): string[] {
  const flags = [transceiverFlags, relayFlags].flatMap((table) => Object.keys(table));
  const known = [...new Set([...flags.map(variableOf), ...OTHER_VARIABLES])];
  return Object.keys(env)
    .filter((name) => name.startsWith("SLUICE_") && !known.includes(name))
    .map((name) => `${name} means nothing${suggest(name, known)}`);
}

const OTHER_VARIABLES = [
  ...ENGINE_KEYS,
  "SLUICE_API_KEY",
  "SLUICE_KEYS",
  "SLUICE_NATIVE", // of npm ci
  "SLUICE_CHROMIUM", // of the tests
];

function checkTransceiver(
  settings: Settings<typeof transceiverFlags>,
  env: Environment,
): Omit<TransceiverSettings, "mcp"> {
  const apiKey = readApiKey(env);
  checkTls(settings);
  if (apiKey === undefined) throw new UsageError("a transceiver needs SLUICE_API_KEY: a secret that clients must send");
  if (settings["server-id"] === undefined) throw new UsageError("a transceiver needs --server-id, such as 1.7");
  if (settings.relays.length === 0 || settings["relays-from"].length === 0) {
    throw new UsageError(
      "a transceiver needs --relays (what clients send to) and --relays-from (what it is sent from)",
    );
  }
  if (settings.redis !== undefined && settings["register-as"] === undefined) {
    throw new UsageError("--redis needs --register-as: the address at which relays reach this transceiver");
  }
  return { ...settings, apiKey, keys: requireKeys(env) };
}

/** A key travels in headers and subprotocols: neither takes spaces. */
function readApiKey({ SLUICE_API_KEY: key }: Environment): string | undefined {
  if (!key) return undefined;
  if (/^[\x21-\x7e]+$/.test(key)) return key;
  throw new UsageError("SLUICE_API_KEY must be printable ASCII without spaces: clients send it in a header");
}

function requireKeys(env: Environment): readonly KeyConfig[] {
  const keys = readKeys(env.SLUICE_KEYS ?? "");
  if (keys.length > 0) return keys;
  throw new UsageError('no keys: set SLUICE_KEYS to what "sluice keys new" prints, the same for the whole fleet');
}
