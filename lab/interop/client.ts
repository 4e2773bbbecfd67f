/**
 * What every client of the interop runs does, whatever its WebRTC is by: calls, asks for its session, says SAY.wav (48 kHz,
 * mono), takes events until the agent was heard to its end, and writes what it heard (raw, 48 kHz, mono) and each event
 * (`{at, event}`, a line each). Prints `{"setup_ms": n}`. The Python clients do the same.
 */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { resample } from "../speech.ts";
import { parseWav } from "../wav.ts";
import { encodeFrames } from "./sound.ts";

/** What a client is given. */
export interface ClientStart {
  readonly url: string;
  /** What to say: Opus, 20 ms each. */
  readonly frames: readonly Uint8Array[];
  readonly onEvent: (text: string) => void;
}

/** A client in a call. */
export interface ClientCall {
  readonly setupMs: number;
  sendEvent(event: { readonly type: string }): void;
  /** Says it, and is silent afterwards. */
  speak(): void;
  /** Hangs up; what was heard (24 kHz). */
  close(): Promise<Int16Array>;
}

const LONGEST_CALL_MS = 35_000;

/** Runs a client of this process's arguments. */
export async function runClient(connect: (start: ClientStart) => Promise<ClientCall>): Promise<void> {
  const [url = "", say = "", heard = "", events = "", update = "", lastEvent = ""] = process.argv.slice(2);
  const { pcm, sampleRate } = parseWav(readFileSync(say))!;
  const frames = await encodeFrames(resample(pcm, sampleRate, 24_000));
  writeFileSync(events, "");
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  const startedAt = performance.now();
  const call = await connect({
    url,
    frames,
    onEvent: (text) => {
      const event = JSON.parse(text) as { type: string };
      appendFileSync(events, `${JSON.stringify({ at: Math.round(performance.now() - startedAt), event })}\n`);
      if (event.type === lastEvent) setTimeout(end, 400);
      if (event.type === "session.updated") call.speak();
    },
  });
  call.sendEvent(JSON.parse(update) as { type: string });
  const timer = setTimeout(end, LONGEST_CALL_MS);
  await over;
  clearTimeout(timer);
  const pcm48 = resample(await call.close(), 24_000, 48_000);
  writeFileSync(heard, Buffer.from(pcm48.buffer, pcm48.byteOffset, pcm48.byteLength));
  process.stdout.write(`${JSON.stringify({ setup_ms: call.setupMs })}\n`, () => process.exit(0));
}
