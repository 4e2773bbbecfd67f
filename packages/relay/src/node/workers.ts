/** The relay's workers: starts them, starts them again, and passes on what one of them learned to the others. */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import type { FlowRecord } from "../forwarder.ts";
import type { FromWorker, ToWorker, WorkerReport, WorkerSetup } from "./protocol.ts";
import { runWorker } from "./worker.ts";

/** How many workers, and whom to tell. */
export interface WorkersOptions {
  readonly setup: WorkerSetup;
  /** 1 runs inside the main thread, more run in threads that share the port. */
  readonly count: number;
  readonly onMessage: (message: FromWorker, reply: (message: ToWorker) => void) => void;
  readonly log: (line: string) => void;
}

interface Member {
  readonly post: (message: ToWorker) => void;
  readonly listen: (listener: (message: FromWorker) => void) => void;
  readonly thread: Worker | undefined;
  /** Settles when its sockets are closed or its thread is gone. */
  readonly closed: Promise<void>;
  listening: boolean;
  report: WorkerReport | undefined;
  onReport: ((report: WorkerReport) => void) | undefined;
}

const REPORT_TIMEOUT_MS = 1000;
const RESTART_PAUSE_MS = 100;
const MAX_RESTART_PAUSE_MS = 5000;
const CALM_MS = 60_000;

const ENTRY = import.meta.url.endsWith(".ts") ? "./worker-entry.ts" : "./worker-entry.js";

/** All workers of a relay. */
export class Workers {
  readonly #options: WorkersOptions;
  readonly #members: (Member | undefined)[];
  readonly #ended: WorkerReport[] = [];
  #port: number;
  #batches = false;
  #closing = false;
  #restartPause = RESTART_PAUSE_MS;
  #restartedAt = 0;

  constructor(options: WorkersOptions) {
    this.#options = options;
    this.#port = options.setup.port;
    this.#members = new Array(options.count).fill(undefined);
  }

  /** The port that all workers listen on, once they do. */
  get port(): number {
    return this.#port;
  }

  /** Whether the workers move datagrams in batches. */
  get batches(): boolean {
    return this.#batches;
  }

  /** Workers that run and listen. */
  get listening(): number {
    return this.#members.filter((member) => member?.listening).length;
  }

  /** Starts every worker; rejects when one cannot listen. */
  async open(): Promise<void> {
    // One after the other: the first learns which port it is when any will do.
    for (let index = 0; index < this.#members.length; index++) await this.#start(index);
  }

  /** Tells every worker, or all but one. */
  broadcast(message: ToWorker, except?: (message: ToWorker) => void): void {
    for (const member of this.#members) if (member && member.post !== except) member.post(message);
  }

  /** The numbers of every worker, and the last ones of those that ended. */
  async reports(): Promise<readonly WorkerReport[]> {
    await Promise.all(
      this.#members.map(async (member) => {
        if (!member) return;
        const { promise, resolve } = Promise.withResolvers<WorkerReport | undefined>();
        const timer = setTimeout(resolve, REPORT_TIMEOUT_MS, undefined);
        member.onReport = resolve;
        member.post({ kind: "report" });
        member.report = (await promise) ?? member.report;
        clearTimeout(timer);
      }),
    );
    return [...this.#members.flatMap((member) => member?.report ?? []), ...this.#ended];
  }

  /** Ends a worker as a crash would; another takes its place. For drills. */
  async kill(index: number): Promise<void> {
    await this.#members[index]?.thread?.terminate();
  }

  /** Ends every worker. */
  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all(
      this.#members.map(async (member) => {
        if (!member) return;
        member.post({ kind: "close" });
        await member.closed;
      }),
    );
    this.#members.fill(undefined);
  }

  async #start(index: number): Promise<void> {
    const { upstreamPort } = this.#options.setup;
    const setup: WorkerSetup = {
      ...this.#options.setup,
      port: this.#port,
      upstreamPort: upstreamPort === 0 ? 0 : upstreamPort + index,
    };
    const member = this.#options.count === 1 ? startInline(setup) : startThread(setup);
    this.#members[index] = member;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const reply = member.post;
    member.listen((message) => {
      if (message.kind === "listening") {
        this.#port = message.port;
        this.#batches = message.batches;
        member.listening = true;
        resolve();
      } else if (message.kind === "upstreamPortTaken") {
        const { port } = message;
        this.#options.log(`worker ${index}: udp port ${port} is in use; calls will notice a restart until they speak`);
      } else if (message.kind === "failed") reject(new Error(message.message));
      else if (message.kind === "report") {
        member.report = message.report;
        member.onReport?.(message.report);
      } else if (message.kind === "replicate") this.broadcast({ kind: "replica", record: message.record }, reply);
      else if (message.kind === "records") this.#teach(message.records, reply);
      else this.#options.onMessage(message, reply);
    });
    member.thread?.on("error", (error) => {
      this.#options.log(`worker ${index}: ${error}`);
      reject(error);
    });
    member.thread?.once("exit", () => {
      reject(new Error(`worker ${index} ended before it listened`));
      this.#handleExit(index, member);
    });
    await promise;
    // Whoever lives knows the flows that this one will be asked for.
    const teacher = this.#members.find((other) => other && other !== member && other.listening);
    teacher?.post({ kind: "records" });
  }

  #teach(records: readonly FlowRecord[], teacher: (message: ToWorker) => void): void {
    for (const record of records) this.broadcast({ kind: "replica", record }, teacher);
  }

  #handleExit(index: number, member: Member): void {
    if (this.#members[index] !== member) return;
    if (member.report)
      this.#ended.push({ ...member.report, confirmed: 0, tentative: 0, lookups: 0, eventLoopLagMs: 0 });
    this.#members[index] = undefined;
    if (this.#closing) return;
    const now = performance.now();
    if (now - this.#restartedAt > CALM_MS) this.#restartPause = RESTART_PAUSE_MS;
    this.#restartedAt = now;
    this.#options.log(`worker ${index} ended; starting another in ${this.#restartPause} ms`);
    setTimeout(() => {
      if (this.#closing) return;
      this.#start(index).catch((error) => this.#options.log(`worker ${index} did not start: ${error}`));
    }, this.#restartPause);
    this.#restartPause = Math.min(MAX_RESTART_PAUSE_MS, this.#restartPause * 2);
  }
}

function startInline(setup: WorkerSetup): Member {
  const { port1, port2 } = new MessageChannel();
  void runWorker(port2, { ...setup, reusePort: false }); // reports its failures through the port
  return createMember(port1, undefined);
}

function startThread(setup: WorkerSetup): Member {
  const thread = new Worker(new URL(ENTRY, import.meta.url), { workerData: setup });
  return createMember(thread, thread);
}

function createMember(port: MessagePort | Worker, thread: Worker | undefined): Member {
  const closed = new Promise<void>((resolve) => {
    thread?.once("exit", () => resolve());
    if (!thread) port.on("message", ({ kind }: FromWorker) => kind === "closed" && resolve());
  });
  return {
    closed,
    post: (message) => (port as MessagePort).postMessage(message),
    listen: (listener) => void port.on("message", listener),
    thread,
    listening: false,
    report: undefined,
    onReport: undefined,
  };
}
