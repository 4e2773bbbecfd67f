/** What befalls a fleet in the middle of its calls, and how soon they are to be whole again. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { formatKeys } from "@sluice/routing";
import { HOST, type RedisProcess, type RelayProcess, startRelay } from "../../fleet.ts";
import type { NetemProxy } from "../../netem-proxy/proxy.ts";
import type { Plan } from "./calls.ts";
import type { RelayReport, RelaySetup } from "./messages.ts";

/** The longest silence allowed, or the most packets lost. `restart`: beyond the time that the relay was away. */
export type Bar =
  | { readonly gapMs: number; readonly quantile: 0.95 | 1; readonly restart: boolean }
  | { readonly lost: number };

/** An event and its bars. */
export interface RecoveryEvent {
  readonly name: string;
  readonly redis: boolean;
  readonly uplink: Bar | undefined;
  readonly downlink: Bar | undefined;
  /** How long its consequences are looked for. */
  readonly watchMs: number;
  /** The relays in front of the calls; clients begin at the first. */
  start(plan: Plan, redisUrl: string | undefined): Promise<Relays>;
  /** Lets it happen; gives the time that the relay was away. */
  strike(fleet: Fleet): Promise<number>;
}

/** The relays of an event. */
export interface Relays {
  readonly ports: readonly number[];
  readonly processes: readonly RelayProcess[];
  /** Ends one of several workers as a crash does. */
  killWorker(): void;
  close(): Promise<void>;
}

/** What an event may strike. */
export interface Fleet {
  readonly relays: Relays;
  readonly proxy: NetemProxy;
  readonly redis: RedisProcess | undefined;
  /** How long Redis is paused. */
  readonly pauseMs: number;
}

const WATCH_MS = 6000;
const NO_LOSS: Bar = { lost: 0 };

/** Nothing happens: what is measured then is the machine's own. */
export const CONTROL = "nothing (control)";

/** All events, each of them over calls of its own. */
export function recoveryEvents(pauseMs: number): readonly RecoveryEvent[] {
  const withRedis = { redis: true, watchMs: WATCH_MS, start: oneRelay } as const;
  const without = { ...withRedis, redis: false } as const;
  const within = (gapMs: number, quantile: 0.95 | 1 = 1): Bar => ({ gapMs, quantile, restart: false });
  const restart = (gapMs: number): Bar => ({ gapMs, quantile: 1, restart: true });
  return [
    {
      ...without,
      name: CONTROL,
      uplink: undefined,
      downlink: undefined,
      watchMs: 15_000,
      strike: async () => 0,
    },
    { ...without, name: "NAT rebinding", uplink: { lost: 2 }, downlink: within(250), strike: rebind },
    {
      ...withRedis,
      name: "relay SIGKILL and restart, Redis up",
      uplink: restart(100),
      downlink: restart(100),
      strike: restartRelay,
    },
    {
      ...without,
      name: "relay SIGKILL and restart, no Redis",
      uplink: within(2600, 0.95),
      downlink: restart(100),
      strike: restartRelay,
    },
    {
      ...withRedis,
      name: "packets move to another relay, Redis up",
      uplink: within(100),
      downlink: within(100),
      start: twoRelays,
      strike: async ({ relays, proxy }) => {
        proxy.retarget({ address: HOST, port: relays.ports[1]! });
        return 0;
      },
    },
    {
      ...without,
      name: "one of 2 workers killed",
      uplink: within(100),
      downlink: within(100),
      start: twoWorkers,
      strike: async ({ relays }) => {
        relays.killWorker();
        return 0;
      },
    },
    { ...withRedis, name: "Redis stopped", uplink: NO_LOSS, downlink: NO_LOSS, watchMs: 15_000, strike: stopRedis },
    {
      ...withRedis,
      name: `Redis paused ${pauseMs / 1000} s`,
      uplink: NO_LOSS,
      downlink: NO_LOSS,
      watchMs: pauseMs + 4000,
      strike: pauseRedis,
    },
    { ...withRedis, name: "Redis flushed", uplink: NO_LOSS, downlink: NO_LOSS, watchMs: 15_000, strike: flushRedis },
    {
      ...withRedis,
      name: "Redis poisoned with wrong types",
      uplink: NO_LOSS,
      downlink: NO_LOSS,
      watchMs: 15_000,
      strike: poisonRedis,
    },
  ];
}

async function oneRelay(plan: Plan, redis: string | undefined): Promise<Relays> {
  return ofProcesses([await startRelay(relayOptions(plan, redis))]);
}

async function twoRelays(plan: Plan, redis: string | undefined): Promise<Relays> {
  return ofProcesses([await startRelay(relayOptions(plan, redis)), await startRelay(relayOptions(plan, redis))]);
}

/** A relay that is registered with or configured with the agent, never both. */
function relayOptions({ keys, transceiver }: Plan, redis: string | undefined) {
  return redis === undefined ? { keys, transceivers: [transceiver] } : { keys, redis };
}

function ofProcesses(processes: readonly RelayProcess[]): Relays {
  return {
    ports: processes.map(({ port }) => port),
    processes,
    killWorker() {
      throw new Error("these relays have one worker each");
    },
    async close() {
      await Promise.all(processes.map((relay) => relay.stop("SIGKILL")));
    },
  };
}

/** A relay that lets one of its workers be killed, which the command does not. */
async function twoWorkers({ keys, udpPort }: Plan): Promise<Relays> {
  const setup: RelaySetup = { keys: formatKeys(keys), udpPort, workers: 2 };
  const child = fork(join(import.meta.dirname, "relay.ts"), [JSON.stringify(setup)], {
    execArgv: ["--conditions=sluice-source"],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const [{ port }] = (await once(child, "message")) as [RelayReport];
  return {
    ports: [port],
    processes: [],
    killWorker: () => void child.send({ kind: "killWorker" }),
    close: async () => void child.kill("SIGKILL"),
  };
}

async function rebind({ proxy }: Fleet): Promise<number> {
  proxy.rebind();
  return 0;
}

async function restartRelay({ relays }: Fleet): Promise<number> {
  const relay = relays.processes[0]!;
  const killedAt = performance.now();
  await relay.stop("SIGKILL");
  await relay.start();
  return performance.now() - killedAt;
}

async function stopRedis({ redis }: Fleet): Promise<number> {
  await redis!.stop("SIGKILL");
  return 0;
}

async function pauseRedis({ redis, pauseMs }: Fleet): Promise<number> {
  redis!.signal("SIGSTOP");
  await sleep(pauseMs);
  redis!.signal("SIGCONT");
  return 0;
}

async function flushRedis({ redis }: Fleet): Promise<number> {
  await redis!.flush();
  return 0;
}

async function poisonRedis({ redis }: Fleet): Promise<number> {
  await redis!.poison();
  return 0;
}
