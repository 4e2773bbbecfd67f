/** A peer's client in a conversation with Sluice: a spoken turn through a network, and what of it arrived at both ends. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { concatenate, silence } from "../speech.ts";
import { wordErrors } from "../tone-speech/error-rate.ts";
import { wordsOf } from "../tone-speech/lexicon.ts";
import { transcribeTones } from "../tone-speech/listen.ts";
import { speakTones } from "../tone-speech/voice.ts";
import { encodeWav } from "../wav.ts";
import { type Command, node, runProgram, startServer } from "./process.ts";
import { postTo, serveOffers, throughNetwork } from "./signaling.ts";
import { ANSWER, LAST_EVENT, PROMPT, SESSION_UPDATE } from "./words.ts";

/** What became of a conversation. */
export interface ConversationFigures {
  /** The turn was taken, answered and heard to its end, and events went both ways. */
  readonly works: boolean;
  readonly setup_ms: number;
  /** Shares of words that were not understood: by Sluice, by the client. */
  readonly prompt_wer: number;
  readonly answer_wer: number;
  /** The words that the client heard. */
  readonly heard: string;
  readonly events: number;
  /** What the network lost, both ways, in packets. */
  readonly lost: number;
  readonly missing: readonly string[];
}

const LEAD_MS = 300;
const TRAILING_MS = 20_000;
const LIMIT_MS = 60_000;
/** How far away Sluice is, each way; in milliseconds. */
export const DELAY_MS = 10;
const EXPECTED = [
  "session.created",
  "session.updated",
  "input_audio_buffer.speech_started",
  "input_audio_buffer.speech_stopped",
  "conversation.item.input_audio_transcription.completed",
  "response.created",
  "response.done",
  LAST_EVENT,
] as const;

/** Sluice with the tone agent, for {@link converse}. */
export function startAgent() {
  return startServer(node(join(import.meta.dirname, "agent.ts")));
}

/** Lets the client of `command` talk to the Sluice that takes offers at `url`, through a network with `loss`, 10 ms away. */
export async function converse(
  command: Command,
  url: string,
  loss: number,
  seed: number,
): Promise<ConversationFigures> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-interop-"));
  const file = (name: string) => join(folder, name);
  const between = throughNetwork(postTo(url), seed, { delayMs: DELAY_MS, loss });
  const offers = await serveOffers(between.answer);
  try {
    // The client's microphone goes on after the words: a turn ends by silence that arrives.
    const pcm = concatenate([silence(LEAD_MS, 48_000), speakTones(PROMPT, 48_000).pcm, silence(TRAILING_MS, 48_000)]);
    writeFileSync(file("say.wav"), encodeWav({ sampleRate: 48_000, channels: 1, pcm }));
    writeFileSync(file("heard.raw"), "");
    const args = [offers.url, file("say.wav"), file("heard.raw"), file("events.jsonl")];
    const printed = await runProgram([...command, ...args, JSON.stringify(SESSION_UPDATE), LAST_EVENT], LIMIT_MS);
    const { setup_ms } = JSON.parse(printed.trim().split("\n").at(-1)!) as { setup_ms: number };
    const events = readFileSync(file("events.jsonl"), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => (JSON.parse(line) as { event: { type: string; transcript?: string } }).event);
    const transcript = events
      .flatMap(({ type, transcript = "" }) => (type === EXPECTED[4] ? [transcript] : []))
      .join(" ");
    const heard = readFileSync(file("heard.raw"));
    const ear = new Int16Array(heard.buffer.slice(heard.byteOffset, heard.byteOffset + (heard.length & ~1)));
    const missing = EXPECTED.filter((type) => !events.some((event) => event.type === type));
    const words = transcribeTones(ear, 48_000);
    const answer_wer = wordErrors(wordsOf(ANSWER), words.split(" ")).rate;
    return {
      works: missing.length === 0 && answer_wer < 1,
      setup_ms: Math.round(setup_ms),
      prompt_wer: wordErrors(wordsOf(PROMPT), wordsOf(transcript)).rate,
      answer_wer,
      heard: words,
      events: events.length,
      lost: between.lost(),
      missing,
    };
  } finally {
    offers.close();
    between.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
