/** Which of eSpeak NG's voices a request means. */
import type { TtsOptions } from "@sluice/conversation";
import type { EspeakVoice } from "./espeak-worker.ts";

/** OpenAI's voice names, each as a distinct variant of eSpeak NG's own voice of the language. */
const VARIANTS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    alloy: "",
    ash: "m3",
    ballad: "m7",
    cedar: "m2",
    coral: "f2",
    echo: "m1",
    marin: "f1",
    sage: "f4",
    shimmer: "f3",
    verse: "m8",
  }),
);

/** The voice that eSpeak NG is to load: a name of its own, or OpenAI's as a variant of the language's voice. */
export function chooseVoice(voices: readonly EspeakVoice[], { voice, language }: TtsOptions): string {
  const wanted = voice ?? "";
  const variant = VARIANTS.get(wanted.toLowerCase());
  const [stem = "", suffix] = wanted.split("+");
  if (variant === undefined && stem !== "" && findVoice(voices, stem) !== undefined)
    return suffix === undefined || !/^\w{1,24}$/.test(suffix) ? stem : `${stem}+${suffix}`;
  const own = language === undefined ? "en-us" : (findLanguage(voices, language) ?? "en-us");
  return variant ? `${own}+${variant}` : own;
}

function findVoice(voices: readonly EspeakVoice[], wanted: string): EspeakVoice | undefined {
  const name = wanted.toLowerCase();
  return voices.find(
    (voice) =>
      voice.identifier.toLowerCase() === name ||
      voice.name.toLowerCase() === name ||
      voice.languages.some((language) => language.name === name),
  );
}

/** The longest prefix of a BCP 47 tag that eSpeak NG speaks: `pt-BR` before `pt`. */
function findLanguage(voices: readonly EspeakVoice[], tag: string): string | undefined {
  const parts = tag.toLowerCase().split("-");
  if (parts[0] === "zh") parts[0] = "cmn"; // eSpeak NG's name of Mandarin
  for (let size = parts.length; size > 0; size--) {
    const prefix = parts.slice(0, size).join("-");
    const found = voices.some((voice) => voice.languages.some((language) => language.name === prefix));
    if (found) return prefix;
  }
  return undefined;
}
