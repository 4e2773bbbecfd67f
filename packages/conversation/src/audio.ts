/** The one audio format inside Sluice: mono signed 16-bit samples at 24 kHz, the Realtime protocol's own rate. */

/** A time or a duration in milliseconds, fractional where the clock is. */
export type Milli = number;

/** Samples per second of all audio between a pipe and an engine. */
export const SAMPLE_RATE = 24_000;

/** Samples in a millisecond at {@link SAMPLE_RATE}. */
export const SAMPLES_PER_MS = SAMPLE_RATE / 1000;

/** Mono PCM at {@link SAMPLE_RATE}. */
export type Pcm = Int16Array;

/** How long `pcm` plays, in milliseconds. */
export function durationMs(pcm: Pcm): Milli {
  return pcm.length / SAMPLES_PER_MS;
}

/** `parts` one after the other; one alone is given as it is. */
export function concatenate(parts: readonly Pcm[]): Pcm {
  if (parts.length === 1) return parts[0]!;
  const whole = new Int16Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
