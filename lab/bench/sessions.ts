/**
 * How many calls fit on a core: N WebRTC sessions (or `--transport webtransport`) from a load generator, each sending 50 packets a second of speech and
 * room noise in turn, against the whole transceiver in a process of its own, of which alone the CPU counts.
 *
 * `--sessions 60`, `--seconds 20` (measured, after a warm-up of one turn), `--transport-only` (nothing is decoded and no
 * voice is detected), `--cpu-prof` (adds what dominates).
 */
import { type ChildProcess, fork } from "node:child_process";
import { cpus } from "node:os";
import { join } from "node:path";
import { SAMPLES_PER_MS } from "@sluice/conversation";
import { concatenate, silence, speak } from "../speech.ts";
import { pin } from "./cores.ts";
import type { BenchOptions, BenchResult } from "./run.ts";
import {
  AGENT_MS,
  CALLER_MS,
  CYCLE_MS,
  type LoadReport,
  type LoadRequest,
  type ServerReport,
  type ServerRequest,
} from "./sessions/messages.ts";

/** Runs the bench. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const [sessions, seconds] = [Number(flags.sessions ?? 60), Number(flags.seconds ?? 20)];
  const transportOnly = flags["transport-only"] === "true";
  const profile = flags["cpu-prof"] === "true";
  const transport = flags.transport ?? "webrtc";
  if (transport !== "webrtc" && transport !== "webtransport") throw new Error(`no transport "${transport}" here`);
  const server = new Child<ServerRequest, ServerReport>("server.ts");
  const load = new Child<LoadRequest, LoadReport>(transport === "webrtc" ? "load.ts" : "load-webtransport.ts");
  try {
    const { agent, caller } = await spokenTurn();
    const { url } = await server.ask({ kind: "start", transport, transportOnly, agent }, "started");
    // Held to one core with the thread that carries packets, V8's own would keep it from running for 7 % of the time.
    server.pin(0, 1);
    const idle = await server.ask({ kind: "measure", profile: false }, "measured");
    console.log(`opening ${sessions} sessions`);
    await load.ask({ kind: "open", caller, url, sessions, transportOnly }, "opened");
    load.pin(1, 1);
    await sleep(CYCLE_MS + 1000);
    console.log(`measuring for ${seconds} s`);
    await server.ask({ kind: "measure", profile }, "measured");
    await load.ask({ kind: "measure" }, "measured");
    const busyFrom = machineBusyMs();
    await sleep(seconds * 1000);
    const busyMs = machineBusyMs() - busyFrom;
    const loaded = await server.ask({ kind: "measure", profile: false }, "measured");
    const heard = await load.ask({ kind: "measure" }, "measured");
    load.tell({ kind: "close" });
    server.tell({ kind: "close" });
    const othersPercent = (Math.max(0, busyMs - loaded.cpuMs - heard.cpuMs) / loaded.elapsedMs) * 100;
    if (othersPercent > 15) {
      console.log(`other programs took ${othersPercent.toFixed(0)} % of a core meanwhile: every figure is too high`);
    }
    const waitedPercent = (loaded.waitedMs / loaded.elapsedMs) * 100;
    if (waitedPercent > 1) {
      console.log(
        `the server's thread waited for its core ${waitedPercent.toFixed(1)} % of the time: so did its packets`,
      );
    }
    const cpuPercent = (loaded.cpuMs / loaded.elapsedMs) * 100;
    const perSession = cpuPercent / sessions;
    const row = {
      transport,
      sessions,
      transport_only: transportOnly,
      cpu_percent: cpuPercent,
      waited_percent: waitedPercent,
      rss_mb: loaded.rssMb,
      packets_in_per_s: (loaded.received / loaded.elapsedMs) * 1000,
      packets_out_per_s: (loaded.sent / loaded.elapsedMs) * 1000,
      send_errors: loaded.sendErrors,
      responses: loaded.responses,
      interrupted: loaded.interrupted,
      load_sent_per_s: (heard.sent / heard.elapsedMs) * 1000,
      load_heard_per_s: (heard.received / heard.elapsedMs) * 1000,
      load_gap_error_ms_p99: heard.gapErrorMsP99,
      load_late_ms_p99: heard.lateMsP99,
      load_cpu_percent: (heard.cpuMs / heard.elapsedMs) * 100,
      others_cpu_percent: othersPercent,
      pinned: server.pinned && load.pinned,
      dominant: loaded.dominant,
    };
    return {
      metrics: {
        cpu_percent_per_session: perSession,
        sessions_per_core: Math.floor(100 / perSession),
        mb_per_session: (loaded.rssMb - idle.rssMb) / sessions,
        pacing_error_ms_p99: loaded.pacingErrorMsP99,
      },
      rows: [row],
    };
  } finally {
    load.kill();
    server.kill();
  }
}

/** What both say: continuous speech, then for the caller the hiss of a quiet room, so that no stage takes a short cut. */
async function spokenTurn(): Promise<{ agent: Int16Array; caller: Int16Array }> {
  const words = "the quick brown fox jumps over the lazy dog while seven wizards quietly mix up a new potion ";
  const speech = await speak(words.repeat(3));
  const [agent, voice] = [AGENT_MS, CALLER_MS].map((ms) => speech.slice(0, ms * SAMPLES_PER_MS)) as [
    Int16Array,
    Int16Array,
  ];
  if (voice.length < CALLER_MS * SAMPLES_PER_MS) throw new Error("the caller's text is too short");
  const hiss = () => Math.round((Math.random() - 0.5) * 110); // -60 dB
  const caller = concatenate([voice, silence(CYCLE_MS - CALLER_MS)]);
  return { agent, caller: caller.map((sample) => Math.max(-32_768, Math.min(32_767, sample + hiss()))) };
}

/** A process that answers each request with one message. */
class Child<Request, Answer extends { readonly kind: string }> {
  readonly #process: ChildProcess;
  #pinned = false;

  constructor(file: string) {
    this.#process = fork(join(import.meta.dirname, "sessions", file), {
      serialization: "advanced",
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
  }

  /** Whether {@link pin} has worked. */
  get pinned(): boolean {
    return this.#pinned;
  }

  /** See {@link pin}. */
  pin(main: number, others: number): void {
    this.#pinned = pin(this.#process.pid, main, others);
  }

  /** Sends `request` and waits for the answer of that kind. */
  async ask<Kind extends Answer["kind"]>(request: Request, kind: Kind): Promise<Extract<Answer, { kind: Kind }>> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const onExit = () => reject(new Error("a process of the bench ended early"));
    this.#process.once("message", resolve).once("exit", onExit);
    this.#process.send(request as object);
    const answer = await promise;
    this.#process.off("exit", onExit);
    if (answer.kind !== kind) throw new Error(`expected ${kind}, got ${answer.kind}`);
    return answer as Extract<Answer, { kind: Kind }>;
  }

  /** Sends a request that has no answer. */
  tell(request: Request): void {
    this.#process.send(request as object);
  }

  kill(): void {
    this.#process.kill();
  }
}

/** What all cores together were busy, since the machine started. */
function machineBusyMs(): number {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
