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

const VOICES = ["alloy", "coral", "ash", "marin", "verse"];
const STOPS = ["Stop.", "Wait.", "No.", "Hold on."];
const SENTENCES = [
  "But what about the other one?",
  "Can you say that again?",
  "Hello there, how are you?",
  "My name is Mark and I have a question.",
  "I would like something else.",
];

/** All of them, always the same. */
export async function callerSounds(): Promise<CallerSound[]> {
  const sounds: CallerSound[] = [];
  const add = (kind: CallerSound["kind"], name: string, pcm: Pcm) =>
    sounds.push({ kind, name, pcm, voicedOnsetMs: voicedOnset(pcm) });
  for (const [at, voice] of VOICES.entries()) {
    for (const text of STOPS) add("stop", `${text} ${voice}`, await speak(text, { voice }));
    for (const text of SENTENCES) add("sentence", `${text} ${voice}`, await speak(text, { voice }));
    const variant = ["en-us", "en-us+f2", "en-us+m3", "en-us+f1", "en-us+m8"][at]!;
    add("mhm", `mhm, eSpeak NG, ${variant}`, await speakPhonemes("m-hm", { voice: variant, speed: 1 + at * 0.1 }));
    add("mhm", `mhm, closed lips ${at}`, hum(at + 1));
    add("cough", `cough ${2 * at}`, cough(2 * at + 1));
    add("cough", `cough ${2 * at + 1}`, cough(2 * at + 2));
  }
  return sounds;
}
