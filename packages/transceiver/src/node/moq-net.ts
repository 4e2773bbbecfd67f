/** `@moq/net`, where it is installed: an optional dependency, loaded by the first client that wants it. */
import { registerHooks } from "node:module";
import { debuglog } from "node:util";
import type { MoqBroadcast, MoqConnection, MoqNet, MoqOutgoingTrack } from "../moq/net.ts";

/** The package, or in one line why there is none. */
export type MoqNetLoading = { readonly net: MoqNet } | { readonly net?: undefined; readonly reason: string };

/** What of the package is used, as version 0.3.4 has it. */
interface Module {
  readonly Connection: { accept(transport: object, url: URL): Promise<ModuleConnection> };
  readonly Broadcast: { readonly Producer: new () => ModuleBroadcast };
  readonly Time: {
    readonly Timescale: { readonly MICRO: number };
    readonly Timestamp: { fromMicros(micros: number): unknown };
  };
}

type ModuleConnection = Omit<MoqConnection, "publish"> & { publish(path: string, broadcast: ModuleBroadcast): void };

interface ModuleBroadcast {
  createTrack(name: string, info: { timescale: number; priority: number; ordered: boolean }): ModuleTrack;
  requested(): Promise<{ reject(error: Error): void } | undefined>;
  close(): void;
}

interface ModuleTrack {
  appendGroup(): { writeFrame(frame: { payload: Uint8Array; timestamp: unknown }): void; close(): void };
}

const MODULE = "@moq/net"; // a variable: an optional package has no types to resolve
/** What its `accept` speaks; the drafts that it knows and does not offer by itself are left out. */
const PROTOCOLS = [
  "moq-lite-05",
  "moq-lite-04",
  "moq-lite-03",
  "moql",
  ...[20, 19, 18, 17, 16, 15].map((draft) => `moqt-${draft}`),
];
/** Connections are told of a URL that nothing reads. */
const URL_OF_CONNECTIONS = new URL("https://localhost/moq");

let loading: Promise<MoqNetLoading> | undefined;

/** Loads the package once. */
export function loadMoqNet(): Promise<MoqNetLoading> {
  return (loading ??= load());
}

async function load(): Promise<MoqNetLoading> {
  try {
    return { net: adapt(await importQuietly()) };
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const isAbsent = code === "ERR_MODULE_NOT_FOUND";
    return {
      reason: isAbsent ? `no Media over QUIC: ${MODULE} is not installed` : `${MODULE} does not load: ${message}`,
    };
  }
}

/**
 * The package tells the console what peers send, as they send it: a stranger could write lines of a log, and as many as it
 * likes. It is given a console of its own, which `NODE_DEBUG=sluice-moq` shows.
 */
async function importQuietly(): Promise<Module> {
  const tell = debuglog("sluice-moq");
  const console = Object.fromEntries(["debug", "error", "info", "log", "trace", "warn"].map((level) => [level, tell]));
  Object.assign(globalThis, { [CONSOLE]: console });
  const hooks = registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      if (loaded.format !== "module" || !TALKATIVE.test(url) || !loaded.source) return loaded;
      const source =
        typeof loaded.source === "string" ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
      return { ...loaded, source: `const console = globalThis.${CONSOLE}; ${source}` };
    },
  });
  try {
    return (await import(MODULE)) as Module;
  } finally {
    hooks.deregister();
  }
}

const CONSOLE = "__sluiceMoqConsole";
const TALKATIVE = /\/node_modules\/@moq\/[^/]+\/[^?#]*\.js$/;

function adapt({ Connection, Broadcast, Time }: Module): MoqNet {
  const publish = (connection: ModuleConnection, path: string): MoqBroadcast => {
    const broadcast = new Broadcast.Producer();
    void refuseOthers(broadcast);
    connection.publish(path, broadcast);
    return {
      createTrack(name, priority): MoqOutgoingTrack {
        const track = broadcast.createTrack(name, { timescale: Time.Timescale.MICRO, priority, ordered: true });
        return {
          appendGroup() {
            const group = track.appendGroup();
            return {
              writeFrame: (payload, micros) =>
                group.writeFrame({ payload, timestamp: Time.Timestamp.fromMicros(micros) }),
              close: () => group.close(),
            };
          },
        };
      },
      close: () => broadcast.close(),
    };
  };
  return {
    protocols: PROTOCOLS,
    async accept(transport) {
      const connection = await Connection.accept(transport, URL_OF_CONNECTIONS);
      return {
        version: connection.version,
        announced: () => connection.announced(),
        consume: (path) => connection.consume(path),
        publish: (path) => publish(connection, path),
        close: () => connection.close(),
      };
    },
  };
}

/** Answers the wishes for tracks that a broadcast has not. */
async function refuseOthers(broadcast: ModuleBroadcast): Promise<void> {
  for (let request = await broadcast.requested(); request; request = await broadcast.requested()) {
    request.reject(new Error("there is no such track"));
  }
}
