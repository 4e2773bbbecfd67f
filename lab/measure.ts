/** What `npm run lab` measures by itself, in virtual time: scenarios, words against loss, and the instrument. */
import { globSync } from "node:fs";
import { basename, join } from "node:path";
import { Link, networkProfile } from "@sluice/netem";
import { loadOpus } from "@sluice/transceiver";
import { type JudgedRun, runScenario, type Scenario } from "./scenario.ts";
import { type CallScore, summarise } from "./score.ts";
import { concatenate, silence } from "./speech.ts";
import { hearTones } from "./tone-speech/listen.ts";
import { speakTones } from "./tone-speech/voice.ts";

/** The scenarios there are, by name. */
export async function loadScenarios(): Promise<Map<string, Scenario>> {
  const found = new Map<string, Scenario>();
  for (const file of globSync("*.ts", {
    cwd: join(import.meta.dirname, "scenarios"),
    exclude: ["*.test.ts", "fleet.ts"],
  }).sort()) {
    const module = (await import(join(import.meta.dirname, "scenarios", file))) as { scenario?: Scenario };
    if (module.scenario) found.set(basename(file, ".ts"), module.scenario);
  }
  return found;
}

/** One scenario, many times. */
export interface ScenarioFigures {
  readonly name: string;
  readonly about: string;
  readonly network: string;
  readonly inference: string;
  readonly figures: ReturnType<typeof summarise>;
  /** Every turn's mouth to ear, for the distribution. */
  readonly mouth_to_ear_ms: readonly number[];
  /** Median of each stage of a turn. */
  readonly stages: Readonly<Record<string, number>>;
  readonly failures: readonly { readonly seed: number; readonly what: readonly string[] }[];
}

/** Runs `scenario` with the seeds from `firstSeed` on: in virtual time, or as `run` does. */
export async function measureScenario(
  scenario: Scenario,
  runs: number,
  firstSeed = 1,
  onRun: (run: JudgedRun) => void = () => {},
  run: (scenario: Scenario, options: { readonly seed: number }) => Promise<JudgedRun> = runScenario,
): Promise<ScenarioFigures> {
  const scores: CallScore[] = [];
  const failures: { seed: number; what: readonly string[] }[] = [];
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const judged = await run(scenario, { seed });
    scores.push(judged.score);
    if (judged.failures.length > 0) failures.push({ seed, what: judged.failures });
    onRun(judged);
  }
  const turns = scores.flatMap((score) => score.turns);
  const names = [...new Set(turns.flatMap(({ stages }) => Object.keys(stages)))];
  return {
    name: scenario.name,
    about: scenario.about,
    network: scenario.network,
    inference: scenario.inference,
    figures: summarise(scores),
    mouth_to_ear_ms: turns.flatMap(({ mouthToEarMs }) =>
      mouthToEarMs === undefined ? [] : [Math.round(mouthToEarMs)],
    ),
    stages: Object.fromEntries(
      names.map((name) => [name, median(turns.flatMap(({ stages }) => (name in stages ? [stages[name]!] : [])))]),
    ),
    failures,
  };
}

/** Words lost in each direction at a loss. */
export interface LossFigures {
  readonly pipe: string;
  readonly loss: number;
  readonly calls: number;
  readonly prompt_wer: number;
  readonly answer_wer: number;
  /** Share of the prompt's words that arrived. */
  readonly prompt_intact: number;
  readonly mouth_to_ear_ms_p50: number;
  readonly gap_ms_p95: number;
}

const CHAT: Scenario = {
  name: "chat",
  about: "two turns, for words against loss",
  network: "clear",
  inference: "fast",
  script: [
    { say: "please tell me what you know about the house by the water and the people there" },
    { listen: true },
    { say: "I would like to go there today, can you help me find the right road" },
    { listen: true },
  ],
};

/** Independent losses that are tried. */
export const LOSSES = [0, 0.02, 0.05, 0.1, 0.2] as const;

/** Runs the same chats over each pipe with each loss, 30 ms away. */
export async function measureLoss(calls: number): Promise<LossFigures[]> {
  const rows: LossFigures[] = [];
  for (const pipe of ["legacy", "webrtc"] as const) {
    for (const loss of LOSSES) {
      const way = { delayMs: 30, jitterMs: 3, loss };
      const network = { ...networkProfile("clear"), up: way, down: way };
      const scores: CallScore[] = [];
      for (let seed = 1; seed <= calls; seed++) scores.push((await runScenario(CHAT, { seed, pipe, network })).score);
      const { prompt_wer, answer_wer, mouth_to_ear_ms_p50, gap_ms_p95 } = summarise(scores);
      rows.push({
        pipe,
        loss,
        calls,
        prompt_wer,
        answer_wer,
        prompt_intact: 1 - prompt_wer,
        mouth_to_ear_ms_p50,
        gap_ms_p95,
      });
    }
  }
  return rows;
}

/** The instrument measured against itself: what was put in, and what came out. */
export interface InstrumentFigures {
  readonly delay_error_ms: number;
  readonly loss_error_percent: number;
  readonly gap_error_ms: number;
}

/** Puts known delays, losses and gaps in. */
export async function measureInstrument(): Promise<InstrumentFigures> {
  return {
    delay_error_ms: await delayError(),
    loss_error_percent: lossError(),
    gap_error_ms: await gapError(),
  };
}

/** Words that come a known time later, through Opus: how far off the delay is that is heard, the codec's own taken away. */
async function delayError(): Promise<number> {
  const opus = await loadOpus();
  const spoken = speakTones("we want to know how long the way is").pcm;
  const codec = await delayThroughOpus(opus, spoken, 0);
  let worst = 0;
  for (const delayMs of [3.5, 41, 137.25, 250, 611.5]) {
    const heard = await delayThroughOpus(opus, spoken, delayMs);
    for (const [at, word] of heard.entries()) worst = Math.max(worst, Math.abs(word - codec[at]! - delayMs));
  }
  return worst;
}

async function delayThroughOpus(opus: Awaited<ReturnType<typeof loadOpus>>, pcm: Int16Array, delayMs: number) {
  const whole = concatenate([silence(delayMs), pcm, silence(100)]);
  const [encoder, decoder] = [await opus.createEncoder({ mode: "voip", bitrate: 24_000 }), await opus.createDecoder()];
  const out: Int16Array[] = [];
  for (let at = 0; at < whole.length; at += 480) {
    const frame = new Int16Array(480);
    frame.set(whole.subarray(at, at + 480));
    out.push(decoder.decode(encoder.encode(frame)) ?? decoder.conceal(20));
  }
  encoder.free();
  decoder.free();
  return hearTones(concatenate(out)).map(({ startMs }) => startMs);
}

/** A link that loses a known share of 500,000 packets: how far off the share is that is counted at its end. */
function lossError(): number {
  const [share, packets] = [0.05, 500_000];
  const link = new Link<undefined>({ loss: share }, 11);
  const packet = new Uint8Array(1);
  let arrived = 0;
  for (let at = 0; at < packets; at++) {
    link.handlePacket(at, packet, undefined);
    if (link.nextArrival(at)) arrived += 1;
  }
  return Math.abs(1 - arrived / packets - share) * 100;
}

/** Answers whose path goes away for a known time: how far off the gap is that the ear has, in whole calls. */
async function gapError(): Promise<number> {
  let worst = 0;
  for (const blackoutMs of [210, 533, 1017, 1700]) {
    const script = [
      { say: "please go on" },
      { waitMs: 2000 },
      { blackoutMs, way: "down" as const },
      { listen: true as const },
    ];
    const scenario: Scenario = {
      name: "gap",
      about: "the path to the ear goes away",
      network: "clear",
      inference: "fast",
      script,
    };
    const { record } = await runScenario(scenario, { seed: 7 });
    worst = Math.max(worst, Math.abs(longestHole(record.received) - blackoutMs));
  }
  return worst;
}

/** The longest time between two packets that were played, in milliseconds. */
function longestHole(received: readonly boolean[]): number {
  let [longest, last] = [0, received.indexOf(true)];
  for (let at = last + 1; at < received.length; at++) {
    if (!received[at]) continue;
    longest = Math.max(longest, at - last - 1);
    last = at;
  }
  return longest * 20;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
