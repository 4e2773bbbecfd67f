/** Finds the turns of a talk with the parrot in a recording of mouth and ear: what was answered when, what was cut when. */
import { EAR_RATE, type EarRecording } from "./ear.ts";
import { findIn, voicedSpans } from "./listen.ts";
import { resample } from "./speech.ts";

/** One utterance of the caller and what became of it. Times are milliseconds. */
export interface HeardTurn {
  /** Where its voice begins and ends in the recording. */
  readonly startMs: number;
  readonly endMs: number;
  /** From its last voiced sample to the first sample of the answer; `undefined`: the answer was not recognised. */
  readonly mouthToEarMs: number | undefined;
  /** From its first voiced sample to the last of the answer that it interrupted; `undefined`: nobody was speaking. */
  readonly cutMs: number | undefined;
  /** How much the answer resembles the utterance, 0 to 1. */
  readonly likeness: number;
}

/** Speech has nothing above 6 kHz that its place needs, and a correlation costs four times less. */
const RATE = 12_000;
const MS = RATE / 1000;
/** An answer begins within this of the end of its utterance. */
const ANSWER_WITHIN_MS = 1700;
/** An echo that resembles its utterance less is another sound. */
const LIKENESS = 0.5;
/** The beginning of an utterance by which its place is found. */
const PLACE_MS = 500;
/** The beginning of an answer by which its place is found. */
const ONSET_MS = 200;
/** Length of the pieces that are compared. */
const PIECE_MS = 120;

/** Finds `utterances` (at {@link EAR_RATE}), in order, in the mouth's track, and their echoes in the ear's. */
export function findTurns(recording: EarRecording, utterances: readonly Int16Array[]): HeardTurn[] {
  const mouth = resample(recording.mouth, EAR_RATE, RATE);
  const ear = resample(recording.ear, EAR_RATE, RATE);
  const turns: HeardTurn[] = [];
  let fromMs = 0;
  for (const original of utterances) {
    const utterance = resample(original, EAR_RATE, RATE);
    const voice = voicedBounds(utterance);
    // By its beginning: on a busy machine a fake microphone slips by a buffer now and then.
    const needle = utterance.subarray(voice.startMs * MS, (voice.startMs + PLACE_MS) * MS);
    const from = Math.round((fromMs + voice.startMs) * MS);
    const { lag, score } = findIn(mouth.subarray(from, from + needle.length + 4000 * MS), needle);
    if (score < LIKENESS) break;
    const atMs = fromMs + lag / MS;
    const startMs = atMs + voice.startMs;
    const endMs = atMs + voice.endMs;
    fromMs = atMs + utterance.length / MS;
    // The needle is what the microphone's track held, not the file: the browser's own processing is in both then.
    const said = mouth.subarray(Math.round(startMs * MS), Math.round(endMs * MS));
    const heard = ear.subarray(Math.round(endMs * MS), Math.round((endMs + ANSWER_WITHIN_MS) * MS) + said.length);
    const likeness = compare(said, heard);
    const onset = findIn(heard, said.subarray(0, ONSET_MS * MS));
    const found = likeness >= LIKENESS && onset.score >= LIKENESS;
    turns.push({
      startMs,
      endMs,
      mouthToEarMs: found ? onset.lag / MS : undefined,
      cutMs: findCut(ear, startMs, endMs),
      likeness,
    });
  }
  return turns;
}

/**
 * How much `heard` holds `said`, 0 to 1: piece by piece, since a jitter buffer stretches and squeezes speech by tens of
 * milliseconds, which a listener does not notice and a correlation of the whole does.
 */
function compare(said: Int16Array, heard: Int16Array): number {
  const size = PIECE_MS * MS;
  const scores: number[] = [];
  for (let at = 0; at + size <= said.length; at += size) scores.push(findIn(heard, said.subarray(at, at + size)).score);
  return scores.reduce((sum, score) => sum + score, 0) / Math.max(1, scores.length);
}

/** Bounds of the voice of an utterance, to 2 ms. */
function voicedBounds(utterance: Int16Array): { startMs: number; endMs: number } {
  const spans = voicedSpans(utterance, { sampleRate: RATE, threshold: 0.01 });
  return { startMs: spans[0]?.startMs ?? 0, endMs: spans.at(-1)?.endMs ?? utterance.length / MS };
}

/** How long the agent could be heard after the caller began; `undefined` when it was not speaking just then. */
function findCut(ear: Int16Array, startMs: number, endMs: number): number | undefined {
  const untilMs = endMs + 400; // before this the next answer cannot begin
  const span = voicedSpans(ear.subarray(0, Math.round(untilMs * MS)), {
    sampleRate: RATE,
    threshold: 0.003,
    joinMs: 120,
  })
    .filter((one) => one.endMs > startMs - 60 && one.startMs < startMs)
    .at(0);
  return span && Math.max(0, span.endMs - startMs);
}
