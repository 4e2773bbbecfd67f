/**
 * When a turn is over: a fixed silence of 500 ms against `semantic_vad`, with an engine's words and by sound alone, over
 * 96 utterances with and without a pause for thought (eSpeak NG; `lab/pauses.ts`), in virtual time with the real Silero
 * VAD. Words come 300 ms after they were said, as of a streaming engine. `false_cutin_share`: turns that ended in the pause.
 */
import { type Milli, ProsodyMeter, type VoiceWindow, windowLevels } from "@sluice/conversation";
import { createSileroVad } from "@sluice/engines";
import { Listener, type ListenerOptions } from "../../packages/conversation/src/listener.ts";
import { type PausedSentence, pausedSentences } from "../pauses.ts";
import { quantile } from "../quantile.ts";
import { resample } from "../speech.ts";
import type { Bench } from "./run.ts";

const WINDOW = 512;
const WORDS_AFTER_MS = 300;
const base = { threshold: 0.5, prefixMs: 300, silenceMs: 500 };

interface Policy {
  readonly name: string;
  readonly options: ListenerOptions;
  readonly words: boolean;
}

const POLICIES: readonly Policy[] = [
  { name: "fixed", options: base, words: false },
  { name: "words_auto", options: { ...base, eagerness: "auto" }, words: true },
  { name: "words_high", options: { ...base, eagerness: "high" }, words: true },
  { name: "words_low", options: { ...base, eagerness: "low" }, words: true },
  { name: "sound_auto", options: { ...base, eagerness: "auto" }, words: false },
  { name: "sound_high", options: { ...base, eagerness: "high" }, words: false },
];

/** Runs the bench; `--seed 1` draws the pauses. */
export const run: Bench = async ({ flags }) => {
  const sentences = await pausedSentences(Number(flags.seed ?? 1));
  const vad = await createSileroVad();
  const heard: [PausedSentence, VoiceWindow[]][] = [];
  for (const sentence of sentences) {
    const stream = vad.open();
    const meter = new ProsodyMeter(16_000);
    const samples = resample(sentence.pcm, 24_000, 16_000);
    const windows: VoiceWindow[] = [];
    for (let at = 0; at + WINDOW <= samples.length; at += WINDOW) {
      const window = Float32Array.from(samples.subarray(at, at + WINDOW), (sample) => sample / 32_768);
      const probability = await stream.detect(window);
      const [levels, prosody] = [windowLevels(window, 4), meter.measure(window)];
      windows.push({ mediaMs: at / 16, durationMs: 32, probability, levels, prosody });
    }
    stream.close();
    heard.push([sentence, windows]);
  }
  await vad.close();
  const rows = POLICIES.map((policy) => judge(policy, heard));
  const metrics = rows.flatMap(({ policy, false_cutin_share, wait_ms_p50, wait_ms_p95 }) => [
    [`false_cutin_share_${policy}`, false_cutin_share],
    [`wait_ms_p50_${policy}`, wait_ms_p50],
    [`wait_ms_p95_${policy}`, wait_ms_p95],
  ]);
  return { metrics: Object.fromEntries(metrics), rows };
};

function judge(policy: Policy, heard: readonly [PausedSentence, readonly VoiceWindow[]][]) {
  const cutIns: string[] = [];
  const waits: Milli[] = [];
  let pauses = 0;
  for (const [sentence, windows] of heard) {
    const stops = listen(policy, sentence, windows);
    const { pause, endMs } = sentence;
    if (pause) pauses += 1;
    if (pause && stops.some((at) => at > pause.fromMs && at < pause.toMs)) cutIns.push(`${pause.before} |`);
    const end = stops.find((at) => at >= endMs);
    if (end !== undefined) waits.push(end - endMs);
  }
  const share = cutIns.length / pauses;
  const [p50, p95] = [quantile(waits, 0.5), quantile(waits, 0.95)];
  console.log(
    `${policy.name}: ${cutIns.length} of ${pauses} pauses cut, wait ${p50.toFixed(0)} / ${p95.toFixed(0)} ms`,
  );
  return {
    policy: policy.name,
    false_cutin_share: share,
    wait_ms_p50: p50,
    wait_ms_p95: p95,
    ends: waits.length,
    cutIns,
  };
}

/** When turns ended, on the caller's own clock. */
function listen(
  { options, words }: Policy,
  { pause, text, endMs }: PausedSentence,
  windows: readonly VoiceWindow[],
): Milli[] {
  let ids = 0;
  const listener = new Listener(options, () => `item_${ids++}`, true);
  const stops: Milli[] = [];
  const told = [
    ...(pause ? [{ at: pause.fromMs + WORDS_AFTER_MS, text: pause.before }] : []),
    ...(pause ? [{ at: pause.toMs + WORDS_AFTER_MS, text: `${pause.before} and` }] : []), // a word of what follows
    { at: endMs + WORDS_AFTER_MS, text },
  ];
  const drain = (now: Milli) => {
    for (let event = listener.nextEvent(); event; event = listener.nextEvent())
      if (event.kind === "stopped") stops.push(now);
  };
  for (const window of windows) {
    const now = window.mediaMs + window.durationMs;
    for (let due = listener.pollTimeout(); due !== undefined && due <= now; due = listener.pollTimeout()) {
      listener.handleTimeout(due);
      drain(due);
    }
    while (words && told[0] && told[0].at <= now) {
      listener.handleWords(listener.itemId ?? "", told.shift()!.text);
      drain(now);
    }
    listener.handleVoice(now, window);
    drain(now);
  }
  return stops;
}
