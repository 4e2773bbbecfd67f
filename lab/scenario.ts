/**
 * A scenario: a network, an agent's speed and the script of a conversation, in one file. It is run by the seed, in virtual
 * time, and scored by what was said and heard at both ends.
 */
import { createDelays, createRandom } from "@sluice/engines";
import { networkProfile } from "@sluice/netem";
import { VirtualTime } from "./call/virtual-time.ts";
import { type CallRecord, placeVirtualCall, type VirtualCall } from "./call.ts";
import { afterTold, CALLER, INFERENCE } from "./profiles/inference.ts";
import { type CallScore, type SaidTurn, scoreCall } from "./score.ts";
import { concatenate, silence } from "./speech.ts";
import { createToneAgent } from "./tone-speech/engines.ts";
import { speakTones } from "./tone-speech/voice.ts";

/** One thing that happens in a conversation. */
export type Step =
  /** The caller says this; each "…" is a hesitation of a length that people's have, or of `hesitationMs`. */
  | { readonly say: string; readonly hesitationMs?: number }
  /** The caller waits until the agent has answered. */
  | { readonly listen: true }
  /** The caller says this into the answer, so long after it began. */
  | { readonly interrupt: string; readonly afterMs: number }
  /** A burst of noise, so long after the answer began. */
  | { readonly coughMs: number; readonly afterMs: number }
  /** The network becomes another one, by another address or port where told. */
  | { readonly network: string; readonly by?: "address" | "port" }
  /** Nothing comes through, to the ear alone or both ways, for so long. */
  | { readonly blackoutMs: number; readonly way: "down" | "both" }
  | { readonly waitMs: number };

/** A scenario, as its file exports it. */
export interface Scenario {
  readonly name: string;
  readonly about: string;
  /** A profile of `@sluice/netem`. */
  readonly network: string;
  readonly inference: keyof typeof INFERENCE;
  readonly script: readonly Step[];
  /** Settings of the session. */
  readonly session?: Readonly<Record<string, unknown>>;
  /** What was not as it must be, in words; nothing: all well. */
  readonly check?: (score: CallScore) => readonly (string | false)[];
}

/** How a scenario is run. */
export interface RunOptions {
  readonly seed: number;
  readonly pipe?: "webrtc" | "legacy";
  /** Another network than the scenario's own. */
  readonly network?: ReturnType<typeof networkProfile>;
}

/** A run, scored. */
export interface ScenarioRun {
  readonly scenario: string;
  readonly seed: number;
  readonly score: CallScore;
  readonly failures: readonly string[];
  readonly record: CallRecord;
}

const ANSWER_WITHIN_MS = 20_000;
const VOICE_LEVEL = 0.004;

/** What the agent says, one after another. */
const REPLIES = [
  "yes, we can go to town today, and then I will tell you all about it.",
  "well, that is good news. we want to see the house in the street by the road, and so do you.",
  "please say it again, because I think we want some more time for this.",
  "no, not now. the people want to find the right place first, and the way is long.",
  "I know this story very well, it is about a man and his two friend who look for water.",
];

/** Runs `scenario` once. The same seed gives the same call, to the sample. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioRun> {
  const { seed } = options;
  const time = new VirtualTime();
  const random = createRandom(seed ^ 0x9e3779b9);
  const hesitate = createDelays(CALLER.hesitation, random);
  let replies = Math.floor(random() * REPLIES.length);
  const speech = createToneAgent({
    profile: afterTold(INFERENCE[scenario.inference]),
    seed,
    reply: () => REPLIES[replies++ % REPLIES.length]!,
    sleep: time.sleep,
  });
  let network = options.network ?? networkProfile(scenario.network);
  const said: SaidTurn[] = [];
  const coughs: number[] = [];
  const record = await placeVirtualCall(
    {
      seed,
      time,
      speech,
      network,
      session: { audio: { input: { transcription: { model: "lab" } } }, ...scenario.session },
      ...(options.pipe === undefined ? {} : { pipe: options.pipe }),
    },
    async (call) => {
      await time.sleep(300);
      for (const step of scenario.script) {
        if ("say" in step) said.push(await say(call, step.say, () => step.hesitationMs ?? hesitate(), false));
        else if ("listen" in step) await listen(call);
        else if ("waitMs" in step) await time.sleep(step.waitMs);
        else if ("blackoutMs" in step) {
          const dark = { blackhole: true };
          call.become({ ...network, down: dark, ...(step.way === "both" ? { up: dark } : {}) });
          await time.sleep(step.blackoutMs);
          call.become(network);
        } else if ("network" in step) {
          if (options.network === undefined) network = networkProfile(step.network);
          call.become(network);
          if (step.by === "address") call.changePath();
          if (step.by === "port") call.rebind();
        } else {
          await begins(call);
          await time.sleep(step.afterMs);
          if ("interrupt" in step) said.push(await say(call, step.interrupt, hesitate, true));
          else coughs.push(call.phone.say(cough(step.coughMs, random)));
        }
      }
      await time.sleep(400);
    },
  );
  const score = scoreCall(record, said, coughs);
  const failures = (scenario.check?.(score) ?? []).filter((failure) => failure !== false);
  return { scenario: scenario.name, seed, score, failures, record };
}

/** Says `text`, and waits until it is said. */
async function say(call: VirtualCall, text: string, hesitate: () => number, interrupts: boolean): Promise<SaidTurn> {
  const parts: Int16Array[] = [];
  const words: SaidTurn["words"][number][] = [];
  let atMs = 0;
  for (const [place, part] of text.split("…").entries()) {
    if (place > 0) {
      const ms = Math.round(hesitate() / 20) * 20;
      parts.push(silence(ms));
      atMs += ms;
    }
    const speech = speakTones(part);
    words.push(...speech.words.map((word) => ({ text: word.text, startMs: atMs + word.startMs })));
    parts.push(speech.pcm);
    atMs += speech.pcm.length / 24;
  }
  const startMs = call.phone.say(concatenate(parts));
  await call.time.sleep(startMs - call.time.now() + atMs);
  return { startMs, endMs: startMs + atMs, words, interrupts };
}

/** Waits until the agent can be heard. */
async function begins(call: VirtualCall): Promise<void> {
  const late = call.time.now() + ANSWER_WITHIN_MS;
  while (call.phone.earLevel() < VOICE_LEVEL && call.time.now() < late) await call.time.sleep(20);
}

/** Waits until the answer to what was said last is over. */
async function listen(call: VirtualCall): Promise<void> {
  const from = call.time.now();
  const count = (type: string) => call.events.filter(({ event }) => event.type === type).length;
  const over = () => count("output_audio_buffer.stopped") + count("output_audio_buffer.cleared");
  const [created, ended] = [count("response.created"), over()];
  // What plays already is not the answer, unless the answer began before the caller had even finished.
  const begun = created > ended;
  while (call.time.now() < from + ANSWER_WITHIN_MS) {
    await call.time.sleep(20);
    if ((begun || count("response.created") > created) && over() >= count("response.created")) break;
  }
  await call.time.sleep(300);
}

/** A cough: noise that swells and fades, loud as voice. */
function cough(ms: number, random: () => number): Int16Array {
  return Int16Array.from({ length: Math.round(ms * 24) }, (_, at) => {
    const envelope = Math.sin((Math.PI * at) / (ms * 24)) ** 0.5;
    return Math.round((random() - 0.5) * 12_000 * envelope);
  });
}
