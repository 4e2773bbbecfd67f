/** What a recorded call was worth to both sides: which words came through, how soon, and what stood still. */
import type { TurnTimeline } from "@sluice/conversation";
import type { ServerEvent } from "@sluice/realtime";
import type { CallEvent } from "./call.ts";
import { voicedSpans } from "./listen.ts";
import { quantile } from "./quantile.ts";
import { align, countErrors, sumErrors, type WordErrors, wordErrors } from "./tone-speech/error-rate.ts";
import { wordsOf } from "./tone-speech/lexicon.ts";
import { type HeardWord, hearTones } from "./tone-speech/listen.ts";
import { STEP_MS, WORD_MS } from "./tone-speech/voice.ts";

/** What is scored: a call's sound at the ear and what the server said of it, on one clock. */
export interface HeardCall {
  readonly ear: Int16Array;
  /** Samples per second of the ear. Default 24,000. */
  readonly sampleRate?: number;
  /** When the ear's first sample was heard. */
  readonly startedAt: number;
  readonly events: readonly CallEvent[];
  /** The account of every turn, in the order of the events that told it. */
  readonly turns: readonly { readonly timeline: Pick<TurnTimeline, "clock" | "totalMs" | "stages"> }[];
}

/** What the caller said in one go. */
export interface SaidTurn {
  readonly startMs: number;
  readonly endMs: number;
  /** Places are from the turn's start. */
  readonly words: readonly { readonly text: string; readonly startMs: number }[];
  /** Said into an answer. */
  readonly interrupts: boolean;
}

/** One turn: what the caller said and what came of it. */
export interface TurnScore {
  /** From the last sample that left the mouth to the first of the answer at the ear; `undefined`: no answer was heard. */
  readonly mouthToEarMs: number | undefined;
  /** The same as the server's timeline has it. */
  readonly timelineMs: number | undefined;
  /** Mouth to ear less the timeline's total, where the client measured and the answer's first word was heard whole. */
  readonly differenceMs: number | undefined;
  readonly stages: Readonly<Record<string, number>>;
  /** The agent spoke before the caller had finished. */
  readonly cutIn: boolean;
  /** From the caller's first sample to the last of the answer that it interrupted. */
  readonly silencedMs: number | undefined;
}

/** A call's score. */
export interface CallScore {
  readonly turns: readonly TurnScore[];
  readonly prompt: WordErrors;
  readonly answer: WordErrors;
  /** The longest that an answer stood still between two words. */
  readonly gapMs: number;
  /** Answers that ended too early although nobody but a cough interrupted them. */
  readonly stoppedByCough: number;
  /** Words by which the agent's memory of an interrupted answer differs from what was heard: the worst. */
  readonly truncationWords: number;
  readonly cutIns: number;
}

/** A word begins this near to the sound that it is. */
const NEAR_MS = 4;

interface Answer {
  readonly words: string[];
  /** When its first packet left; the server's clock is the phone's here. */
  sentAt: number;
  truncatedMs: number | undefined;
}

interface HeardAnswer extends Answer {
  readonly errors: WordErrors;
  /** Words of it that were heard, up to the last. */
  readonly heardWords: number;
  readonly gapMs: number;
}

/** Scores a call. */
export function scoreCall(record: HeardCall, said: readonly SaidTurn[], coughs: readonly number[]): CallScore {
  const { sampleRate = 24_000 } = record;
  const heard = hearTones(record.ear, { sampleRate }).map((word) => ({
    ...word,
    startMs: word.startMs + record.startedAt,
  }));
  const answers = hearAnswers(record, heard);
  const spans = voicedSpans(record.ear, { sampleRate, threshold: 0.004, joinMs: 100 });
  const turns = said.map((turn, at) => scoreTurn(record, turn, said[at + 1], heard, spans));
  const truncated = answers.filter(({ truncatedMs }) => truncatedMs !== undefined);
  const interruptions = said.filter(({ interrupts }) => interrupts).length;
  const spoken = said.flatMap(({ words }) => words.map(({ text }) => text));
  return {
    turns,
    prompt: wordErrors(spoken, transcripts(record)),
    answer: sumErrors(answers.map(({ errors }) => errors)),
    gapMs: Math.max(0, ...answers.map(({ gapMs }) => gapMs)),
    stoppedByCough: coughs.length > 0 ? Math.max(0, truncated.length - interruptions) : 0,
    truncationWords: Math.max(
      0,
      ...truncated.map(({ heardWords, truncatedMs }) => Math.abs(heardWords - wordsWithin(truncatedMs!))),
    ),
    cutIns: turns.filter(({ cutIn }) => cutIn).length,
  };
}

/** Several calls' figures as one. */
export function summarise(scores: readonly CallScore[]) {
  const turns = scores.flatMap((score) => score.turns);
  const answered = turns.flatMap(({ mouthToEarMs }) => (mouthToEarMs === undefined ? [] : [mouthToEarMs]));
  const silenced = turns.flatMap(({ silencedMs }) => (silencedMs === undefined ? [] : [silencedMs]));
  const difference = turns.flatMap(({ differenceMs }) => (differenceMs === undefined ? [] : [Math.abs(differenceMs)]));
  return {
    calls: scores.length,
    turns: turns.length,
    answered: answered.length,
    mouth_to_ear_ms_p50: quantile(answered, 0.5),
    mouth_to_ear_ms_p95: quantile(answered, 0.95),
    timeline_difference_ms_p95: quantile(difference, 0.95),
    silenced_ms_p50: quantile(silenced, 0.5),
    silenced_ms_p95: quantile(silenced, 0.95),
    prompt_wer: sumErrors(scores.map(({ prompt }) => prompt)).rate,
    answer_wer: sumErrors(scores.map(({ answer }) => answer)).rate,
    gap_ms_p95: quantile(
      scores.map(({ gapMs }) => gapMs),
      0.95,
    ),
    gap_ms_max: Math.max(0, ...scores.map(({ gapMs }) => gapMs)),
    cut_in_share: scores.reduce((sum, { cutIns }) => sum + cutIns, 0) / Math.max(1, turns.length),
    stopped_by_cough: scores.reduce((sum, score) => sum + score.stoppedByCough, 0),
    truncation_words_max: Math.max(0, ...scores.map(({ truncationWords }) => truncationWords)),
  };
}

function scoreTurn(
  record: HeardCall,
  turn: SaidTurn,
  next: SaidTurn | undefined,
  heard: readonly HeardWord[],
  spans: readonly { readonly startMs: number; readonly endMs: number }[],
): TurnScore {
  const until = next?.startMs ?? Infinity;
  const ear = spans.map(({ startMs, endMs }) => ({
    startMs: startMs + record.startedAt,
    endMs: endMs + record.startedAt,
  }));
  const interrupted = ear.find(({ startMs, endMs }) => startMs < turn.startMs && endMs > turn.startMs - 40);
  const silencedAt = interrupted && Math.max(interrupted.endMs, turn.startMs);
  const from = silencedAt ?? turn.startMs;
  // The first sound; to the sample where it is a word's beginning.
  const sound = ear.find(({ startMs }) => startMs > from && startMs < until);
  const word = sound && heard.find(({ startMs }) => Math.abs(startMs - sound.startMs) < NEAR_MS);
  const first = word ?? sound;
  const report = record.turns.find((_, at) => arrivalOf(record, at) > turn.startMs && arrivalOf(record, at) < until);
  const mouthToEarMs = first && first.startMs >= turn.endMs ? first.startMs - turn.endMs : undefined;
  const timeline = report?.timeline;
  return {
    mouthToEarMs,
    timelineMs: timeline?.totalMs,
    differenceMs:
      mouthToEarMs !== undefined && word !== undefined && timeline?.clock === "client"
        ? mouthToEarMs - timeline.totalMs
        : undefined,
    stages: Object.fromEntries((report?.timeline.stages ?? []).map(({ name, ms }) => [name, ms])),
    cutIn: first !== undefined && first.startMs < turn.endMs,
    silencedMs: turn.interrupts && silencedAt !== undefined ? silencedAt - turn.startMs : undefined,
  };
}

/** When the caller learnt of the turn's account. */
function arrivalOf(record: HeardCall, turn: number): number {
  return record.events.filter(({ event }) => event.type === "sluice.turn")[turn]?.at ?? Number.NaN;
}

function transcripts(record: HeardCall): string[] {
  const type = "conversation.item.input_audio_transcription.completed";
  return record.events.flatMap(({ event }) =>
    event.type === type ? wordsOf((event as Extract<ServerEvent, { type: typeof type }>).transcript) : [],
  );
}

/** The answers that sounded, what of each was heard, and where it stood still. */
function hearAnswers(record: HeardCall, heard: readonly HeardWord[]): HeardAnswer[] {
  const answers = answersOf(record);
  return answers.map((answer, at) => {
    const until = answers[at + 1]?.sentAt ?? Infinity;
    const mine = heard.filter(({ startMs }) => startMs >= answer.sentAt && startMs < until);
    const texts = mine.map(({ text }) => text);
    const pairs = align(answer.words, texts);
    const lastHeard = pairs.findLastIndex(({ heard: place }) => place !== undefined);
    // What an interruption left unsaid is no error.
    const counted = answer.truncatedMs === undefined ? pairs : pairs.slice(0, lastHeard + 1);
    const places = pairs.flatMap(({ said, heard: place }) =>
      said !== undefined && place !== undefined && answer.words[said] === texts[place]
        ? [{ said, startMs: mine[place]!.startMs }]
        : [],
    );
    const gaps = places.slice(1).map(({ said, startMs }, next) => {
      const before = places[next]!;
      return startMs - before.startMs - (said - before.said) * STEP_MS;
    });
    return {
      ...answer,
      errors: countErrors(answer.words, texts, counted),
      heardWords: (places.at(-1)?.said ?? -1) + 1,
      gapMs: Math.max(0, ...gaps),
    };
  });
}

function answersOf(record: HeardCall): Answer[] {
  const answers = new Map<string, Answer>();
  for (const { event } of record.events) {
    if (event.type === "response.output_audio_transcript.delta") {
      const answer = answers.get(event.item_id) ?? { words: [], sentAt: Infinity, truncatedMs: undefined };
      answers.set(event.item_id, answer);
      answer.words.push(...wordsOf(event.delta));
    }
    if (event.type === "sluice.utterance.started") {
      const answer = answers.get(event.item_id);
      if (answer) answer.sentAt = event.sent_ms;
    }
    if (event.type === "conversation.item.truncated") {
      const answer = answers.get(event.item_id);
      if (answer) answer.truncatedMs = event.audio_end_ms;
    }
  }
  return [...answers.values()].filter(({ sentAt }) => sentAt < Infinity).sort((a, b) => a.sentAt - b.sentAt);
}

/** Words that were out to their end when `ms` of the answer were. */
function wordsWithin(ms: number): number {
  return Math.max(0, Math.floor((ms - WORD_MS) / STEP_MS) + 1);
}
