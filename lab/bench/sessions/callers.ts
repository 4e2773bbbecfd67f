/**
 * A process that is many callers: it opens them a few at a time, sends a frame of each every 20 ms, and counts. Over which
 * pipe, the program says that calls {@link runCallers}. What they say is encoded once.
 */
import { loadOpus } from "@sluice/transceiver";
import { quantile } from "../../quantile.ts";
import { CYCLE_MS, type LoadReport, type LoadRequest } from "./messages.ts";

/** Length of a frame. */
export const FRAME_MS = 20;
/** The same in RTP's clock for Opus, which is of 48 kHz. */
export const TICKS_PER_FRAME = 960;
/** Frames of a turn. */
export const CYCLE_FRAMES = CYCLE_MS / FRAME_MS;
const SAMPLES_PER_FRAME = 480; // at 24 kHz
const AT_ONCE = 8;

/** What the bench asks first. */
export type OpenRequest = LoadRequest & { readonly kind: "open" };

/** Callers over one pipe. */
export interface Pipe<Caller> {
  /** Comes before the first caller; `frames`: what each says in a turn, in Opus. */
  prepare(frames: readonly Uint8Array[], request: OpenRequest): Promise<void>;
  connect(index: number, request: OpenRequest): Promise<Caller>;
  /** The next frame is due: the caller has sent `sent` so far, and this is number `at` of its turn. */
  send(caller: Caller, sent: number, at: number, now: number): void;
  close(): Promise<void>;
}

/** What a pipe counts of what comes back, since it was last asked. */
export interface Heard {
  received: number;
  /** Of two packets of the agent, how far their distance is from a frame, ms. */
  gapErrors: number[];
}

interface Paced<Caller> {
  readonly caller: Caller;
  /** Frame of the turn that it began with: callers take their turns evenly spread. */
  readonly offset: number;
  /** When the first packet is due; phases within a frame differ. */
  readonly startMs: number;
  sent: number;
}

/** Does what the bench asks of this process. */
export function runCallers<Caller>(pipe: Pipe<Caller>): Heard {
  const heard: Heard = { received: 0, gapErrors: [] };
  const callers: Paced<Caller>[] = [];
  let lateness: number[] = [];
  let sent = 0;
  let measuredFrom = performance.now();
  let cpuFrom = process.cpuUsage();
  let timer: NodeJS.Timeout | undefined;

  process.on("message", (request: LoadRequest) => {
    if (request.kind === "open") void open(request).then(() => report({ kind: "opened" }));
    else if (request.kind === "measure") measure();
    else void close();
  });

  async function open(request: OpenRequest): Promise<void> {
    const { sessions } = request;
    await pipe.prepare(await encodeTurn(request.caller), request);
    timer = setInterval(sendDue, 1);
    const waiting = Array.from({ length: sessions }, (_, index) => index);
    const openNext = async () => {
      for (let index = waiting.shift(); index !== undefined; index = waiting.shift()) {
        const caller = await pipe.connect(index, request);
        const offset = Math.floor((index / sessions) * CYCLE_FRAMES);
        callers.push({ caller, offset, startMs: performance.now() + ((index * 7.919) % FRAME_MS), sent: 0 });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, openNext));
  }

  function sendDue(): void {
    const now = performance.now();
    for (const paced of callers) {
      for (let due = paced.startMs + paced.sent * FRAME_MS; due <= now; due += FRAME_MS) {
        lateness.push(now - due);
        pipe.send(paced.caller, paced.sent, (paced.offset + paced.sent) % CYCLE_FRAMES, now);
        paced.sent += 1;
        sent += 1;
      }
    }
  }

  function measure(): void {
    const now = performance.now();
    const { user, system } = process.cpuUsage(cpuFrom);
    report({
      kind: "measured",
      elapsedMs: now - measuredFrom,
      cpuMs: (user + system) / 1000,
      sent,
      received: heard.received,
      gapErrorMsP99: quantile(heard.gapErrors, 0.99),
      lateMsP99: quantile(lateness, 0.99),
    });
    measuredFrom = now;
    cpuFrom = process.cpuUsage();
    sent = 0;
    lateness = [];
    Object.assign(heard, { received: 0, gapErrors: [] });
  }

  async function close(): Promise<void> {
    clearInterval(timer);
    await pipe.close();
    process.disconnect?.();
  }

  return heard;
}

async function encodeTurn(caller: Int16Array): Promise<Uint8Array[]> {
  const encoder = await (await loadOpus()).createEncoder({ mode: "voip", bitrate: 32_000 });
  const frames = Array.from({ length: CYCLE_FRAMES }, (_, frame) =>
    encoder.encode(caller.subarray(frame * SAMPLES_PER_FRAME, (frame + 1) * SAMPLES_PER_FRAME)).slice(),
  );
  encoder.free();
  return frames;
}

function report(message: LoadReport): void {
  process.send?.(message);
}
