/** What became of the words of a call: at recognition, by where each 20 ms came from, and at the ear, by how they sound. */
import { durationMs } from "@sluice/conversation";
import { findIn, voicedSpans } from "../../listen.ts";
import { type HeardWord, hearTones } from "../../tone-speech/listen.ts";
import { GAP_MS, STEP_MS, sound, WORD_MS } from "../../tone-speech/voice.ts";
import type { HeardPiece } from "./messages.ts";
import { lengthMs } from "./script.ts";

const FRAME_MS = 20;
const FRAMES_PER_WORD = WORD_MS / FRAME_MS;
const HEARD_RATE = 24_000;
const EAR_RATE = 48_000;

/** Of so many 20 ms, how many are as they were spoken. */
export interface Intact {
  readonly frames: number;
  readonly intact: number;
}

/** The ordered audio of a call by its places, holes as silence. */
export function assemble(pieces: readonly HeardPiece[]): Int16Array {
  const endMs = pieces.reduce((most, { mediaMs, pcm }) => Math.max(most, mediaMs + durationMs(pcm)), 0);
  const whole = new Int16Array(Math.ceil((endMs * HEARD_RATE) / 1000));
  for (const { mediaMs, pcm } of pieces) whole.set(pcm, Math.round((mediaMs * HEARD_RATE) / 1000));
  return whole;
}

/**
 * How much of a prompt recognition got as it was spoken. Its place is found by those of its words that were heard; each
 * 20 ms of it counts by the origin of the piece that lies there, or as missing.
 */
export function scorePrompt(
  prompt: readonly string[],
  pieces: readonly HeardPiece[],
  heard: readonly HeardWord[],
): Intact {
  const frames = Math.floor(lengthMs(prompt.length) / FRAME_MS);
  const offsets = heard.flatMap(({ text, startMs }) => {
    const place = prompt.indexOf(text);
    return place < 0 ? [] : [startMs - place * STEP_MS];
  });
  offsets.sort((a, b) => a - b);
  const offset = offsets[offsets.length >> 1];
  if (offset === undefined) return { frames, intact: 0 };
  let intact = 0;
  for (let frame = 0; frame < frames; frame++) {
    const at = offset + (frame + 0.5) * FRAME_MS;
    const piece = pieces.find(({ mediaMs, pcm }) => mediaMs <= at && at < mediaMs + durationMs(pcm));
    if (piece && (piece.origin === "received" || piece.origin === "repaired")) intact += 1;
  }
  return { frames, intact };
}

/**
 * A frame that resembles what was spoken less than this was bent: Opus leaves 0.995 and more. Of frames that libopus invents
 * two in three are found out; the others go on with the tones before them so well that nobody hears it.
 */
const LIKENESS = 0.98;
/** How far a frame may lie from its place in its word: a jitter buffer or a player stretches by whole pitch periods. */
const SEARCH_MS = 24;

/** How much of an answer the ear got as it was spoken. */
export function scoreAnswer(answer: readonly string[], ear: Int16Array, heard: readonly HeardWord[]): Intact {
  const perMs = EAR_RATE / 1000;
  let intact = 0;
  for (const text of answer) {
    const word = heard.find((one) => one.text === text);
    if (!word) continue;
    const spoken = sound(text, EAR_RATE);
    for (let frame = 0; frame < FRAMES_PER_WORD; frame++) {
      const needle = spoken.subarray(frame * FRAME_MS * perMs, (frame + 1) * FRAME_MS * perMs);
      const at = Math.round((word.startMs + frame * FRAME_MS) * perMs);
      const around = ear.subarray(Math.max(0, at - SEARCH_MS * perMs), at + (FRAME_MS + SEARCH_MS) * perMs);
      if (findIn(around, needle).score >= LIKENESS) intact += 1;
    }
  }
  return { frames: answer.length * FRAMES_PER_WORD, intact };
}

/** A silence within an answer, beyond that between two words. */
export interface Gap {
  readonly ms: number;
  /** Where it begins, from the answer's beginning. */
  readonly atMs: number;
}

/** The longest one; `undefined` where nothing of the answer was heard. */
export function longestGap(answer: readonly string[], ear: Int16Array, heard: readonly HeardWord[]): Gap | undefined {
  const places = heard.filter(({ text }) => answer.includes(text)).map(({ startMs }) => startMs);
  if (places.length === 0) return undefined;
  const [from, to] = [Math.min(...places), Math.max(...places) + WORD_MS];
  const within = ear.subarray(Math.round((from * EAR_RATE) / 1000), Math.round((to * EAR_RATE) / 1000));
  const spans = voicedSpans(within, { sampleRate: EAR_RATE, joinMs: 0 });
  let longest: Gap = { ms: 0, atMs: 0 };
  for (const [at, { endMs }] of spans.slice(0, -1).entries()) {
    const ms = spans[at + 1]!.startMs - endMs - GAP_MS;
    if (ms > longest.ms) longest = { ms, atMs: endMs };
  }
  return longest;
}

/** From the end of a prompt at the mouth to the beginning of its answer at the ear; `undefined` where either was not found. */
export function mouthToEarMs(
  turn: { readonly prompt: readonly string[]; readonly answer: readonly string[] },
  said: readonly HeardWord[],
  heard: readonly HeardWord[],
): number | undefined {
  const last = said.find(({ text }) => text === turn.prompt.at(-1));
  const first = heard.filter(({ text }) => turn.answer.includes(text))[0];
  if (!last || !first) return undefined;
  // Where its first words are lost, the answer began earlier than what is heard of it.
  const began = first.startMs - turn.answer.indexOf(first.text) * STEP_MS;
  return began - (last.startMs + WORD_MS);
}

/** The words of a recording of the page. */
export function hearWords(track: Int16Array): HeardWord[] {
  return hearTones(track, { sampleRate: EAR_RATE });
}

/** The words that recognition could hear. */
export function hearPrompt(pieces: readonly HeardPiece[]): HeardWord[] {
  return hearTones(assemble(pieces), { sampleRate: HEARD_RATE, exact: false });
}
