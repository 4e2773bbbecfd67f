/** What a caller may let hear while the agent speaks: words that want the floor, and sounds that do not. */
import type { Milli, Pcm } from "@sluice/conversation";
import { cough, hum } from "./noises.ts";
import { voicedOnset } from "./scenarios/barge-in.ts";
import { speak, speakPhonemes } from "./speech.ts";

/** A sound and where its voice begins. */
export interface CallerSound {
  readonly kind: "stop" | "sentence" | "mhm" | "cough";
  readonly name: string;
  readonly pcm: Pcm;
  readonly voicedOnsetMs: Milli;
}

/** Whose sounds: `other` ones were not looked at when the numbers of `floor.ts` were chosen, and tell what those are worth. */
export type Callers = "known" | "other";

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
