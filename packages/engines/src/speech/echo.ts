/** Cuts a caller's own words out of what was heard, ready to be played back to them. */
import { type Milli, type Pcm, SAMPLES_PER_MS } from "@sluice/conversation";

/** Detection is late at the beginning and early at the end of a breath: keep a little more than was detected. */
const BEFORE_MS = 30;
const AFTER_MS = 60;
const FADE_MS = 8;
/** Shorter is a click or a cough, not a word. */
const SHORTEST_MS = 80;
/** Where a quiet voice is raised to, of full scale: the peak of a voice close to its microphone. */
const TARGET_PEAK = 0.4 * 32_768;
/** 12 dB; more would bring the room forward. */
const LARGEST_GAIN = 4;

/** The voiced part of `pcm` with soft edges, quiet voices raised by 12 dB at most; `undefined` when there is none. */
export function echoOf(pcm: Pcm, voicedStartMs: Milli, voicedEndMs: Milli): Pcm | undefined {
  if (!(voicedEndMs - voicedStartMs >= SHORTEST_MS)) return undefined; // NaN too
  const start = Math.max(0, Math.round((voicedStartMs - BEFORE_MS) * SAMPLES_PER_MS));
  const end = Math.min(pcm.length, Math.round((voicedEndMs + AFTER_MS) * SAMPLES_PER_MS));
  if (end - start < SHORTEST_MS * SAMPLES_PER_MS) return undefined;
  const echo = pcm.slice(start, end);
  const gain = gainOf(echo);
  const fade = FADE_MS * SAMPLES_PER_MS;
  for (let at = 0; at < echo.length; at++) {
    const edge = Math.min(1, at / fade, (echo.length - 1 - at) / fade);
    echo[at] = Math.round(echo[at]! * gain * edge);
  }
  return echo;
}

function gainOf(pcm: Pcm): number {
  let peak = 1;
  for (const sample of pcm) peak = Math.max(peak, Math.abs(sample));
  return Math.max(1, Math.min(LARGEST_GAIN, TARGET_PEAK / peak));
}
