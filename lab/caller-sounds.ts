/** What a caller may let hear while the agent speaks: words that want the floor, and sounds that do not. */
import { type Milli, type Pcm, SAMPLES_PER_MS } from "@sluice/conversation";
import { clearing, cough, door, hum, keyboard } from "./noises.ts";
import { voicedOnset } from "./scenarios/barge-in.ts";
import { concatenate, silence, speak, speakPhonemes } from "./speech.ts";

/** A sound and where its voice begins. */
export interface CallerSound {
  readonly kind: "stop" | "sentence" | "mhm" | "cough" | "word" | "clearing" | "keyboard" | "door" | "cough-sentence";
  readonly name: string;
  readonly pcm: Pcm;
  readonly voicedOnsetMs: Milli;
}

/**
 * Whose sounds: `other` ones were not looked at when the numbers of `floor.ts` for a speaking agent were chosen, nor `fresh`
 * ones when those for a silent one were; they tell what the numbers are worth.
 */
export type Callers = "known" | "other" | "fresh";

interface Repertoire {
  readonly voices: readonly string[];
  readonly stops: readonly string[];
  readonly sentences: readonly string[];
  /** Voices of eSpeak NG that say "m-hm", each at `paces`. */
  readonly hums: readonly string[];
  readonly paces: readonly number[];
  /** Seed of the first closed lips, and of the first cough. */
  readonly seed: number;
}

const REPERTOIRES: Record<Callers, Repertoire> = {
  known: {
    voices: ["alloy", "coral", "ash", "marin", "verse"],
    stops: ["Stop.", "Wait.", "No.", "Hold on."],
    sentences: [
      "But what about the other one?",
      "Can you say that again?",
      "Hello there, how are you?",
      "My name is Mark and I have a question.",
      "I would like something else.",
    ],
    hums: ["en-us", "en-us+f2", "en-us+m3", "en-us+f1", "en-us+m8"],
    paces: [1, 1.1, 1.2, 1.3, 1.4],
    seed: 1,
  },
  other: {
    voices: ["echo", "sage", "shimmer", "ballad", "cedar"],
    stops: ["Stop it.", "One moment.", "Not now.", "Excuse me.", "No, wait."],
    sentences: [
      "Maybe we should do that later.",
      "Who is it that you mean?",
      "Nobody told me about it.",
      "How much is it altogether?",
      "You know what, never mind.",
    ],
    hums: ["en-us+m2", "en-us+m4", "en-us+f3", "de", "es"],
    paces: [1.35, 1.2, 1.05, 1.2, 1.05],
    seed: 501,
  },
  fresh: {
    voices: ["en-gb", "en-us+m7", "en-us+f4", "en-us+m5", "en-us+croak"],
    stops: ["Stop now.", "Hang on.", "No, no.", "Just a second.", "Wait there."],
    sentences: [
      "Tell me more about the second one.",
      "When does the next train leave?",
      "Why do you move so slowly?",
      "I am not sure that I want this.",
      "Two of them are mine.",
    ],
    hums: ["en-us+m5", "en-us+m7", "en-us+f4", "fr", "it"],
    paces: [1.1, 1.3, 1.2, 1, 1.4],
    seed: 9001,
  },
};

/** All of them, always the same. */
export async function callerSounds(callers: Callers = "known"): Promise<CallerSound[]> {
  const { voices, stops, sentences, hums, paces, seed } = REPERTOIRES[callers];
  const sounds: CallerSound[] = [];
  const add = (kind: CallerSound["kind"], name: string, pcm: Pcm) =>
    sounds.push({ kind, name, pcm, voicedOnsetMs: voicedOnset(pcm) });
  for (const [at, voice] of voices.entries()) {
    for (const text of stops) add("stop", `${text} ${voice}`, await speak(text, { voice }));
    for (const text of sentences) add("sentence", `${text} ${voice}`, await speak(text, { voice }));
    const variant = hums[at]!;
    add("mhm", `mhm, eSpeak NG, ${variant}`, await speakPhonemes("m-hm", { voice: variant, speed: paces[at]! }));
    add("mhm", `mhm, closed lips ${at}`, hum(seed + at));
    add("cough", `cough ${2 * at}`, cough(seed + 2 * at));
    add("cough", `cough ${2 * at + 1}`, cough(seed + 2 * at + 1));
  }
  return sounds;
}

/** Words that are whole turns. */
const SHORT_WORDS = "Yes. No. Stop. Hi. Zero. One. Two. Three. Four. Five. Six. Seven. Eight. Nine.".split(" ");
/** Other noises of a kind. */
const NOISES = 10;

/** What a caller may let hear while the agent is silent: those sounds, the shortest turns there are, and more that is none. */
export async function quietSounds(callers: Callers = "known"): Promise<CallerSound[]> {
  const { voices, seed } = REPERTOIRES[callers];
  const sounds = await callerSounds(callers);
  const add = (kind: CallerSound["kind"], name: string, pcm: Pcm) =>
    sounds.push({ kind, name, pcm, voicedOnsetMs: voicedOnset(pcm) });
  for (const voice of voices)
    for (const text of SHORT_WORDS) add("word", `${text} ${voice}`, await speak(text, { voice }));
  for (let at = 0; at < NOISES; at++) {
    add("clearing", `clearing ${at}`, clearing(seed + at));
    add("keyboard", `keyboard ${at}`, keyboard(seed + at));
    add("door", `door ${at}`, door(seed + at));
  }
  for (const [at, { pcm, name, voicedOnsetMs }] of sounds.filter(({ kind }) => kind === "sentence").entries()) {
    const before = concatenate([cough(seed + at), silence(GAPS_MS[at % GAPS_MS.length]!)]);
    const whole = { pcm: concatenate([before, pcm]), voicedOnsetMs: before.length / SAMPLES_PER_MS + voicedOnsetMs };
    sounds.push({ kind: "cough-sentence", name: `cough, ${name}`, ...whole });
  }
  return sounds;
}

/** Between a cough and a sentence: in one breath, within a turn's last silence, and as a turn of its own. */
const GAPS_MS: readonly Milli[] = [40, 150, 400, 700];
