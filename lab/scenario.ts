/**
 * A scenario: a network, an agent's speed and the script of a conversation, in one file. It is run by the seed, in virtual
 * time (here) or in a real Chromium (`chromium-scenario.ts`), and scored by what was said and heard at both ends.
 */
import { type NetworkProfile, networkProfile } from "@sluice/netem";
import { VirtualTime } from "./call/virtual-time.ts";
import { type CallRecord, placeVirtualCall, type VirtualCall } from "./call.ts";
import { afterTold, INFERENCE } from "./profiles/inference.ts";
import { type CallScore, scoreCall } from "./score.ts";
import { type CallInHand, createScript, type Performed, type Step } from "./script.ts";
import { createToneAgent } from "./tone-speech/engines.ts";

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

/** Pipes that there are in virtual time. */
export const VIRTUAL_PIPES = ["webrtc", "legacy"] as const;

/** One of {@link VIRTUAL_PIPES}. */
export type VirtualPipe = (typeof VIRTUAL_PIPES)[number];

/** How a scenario is run. */
export interface RunOptions {
  readonly seed: number;
  readonly pipe?: VirtualPipe;
  /** Another network than the scenario's own. */
  readonly network?: NetworkProfile;
}

/** A run, judged. */
export interface JudgedRun {
  readonly scenario: string;
  readonly seed: number;
  readonly score: CallScore;
  readonly failures: readonly string[];
}

/** A run in virtual time. */
export interface ScenarioRun extends JudgedRun {
  readonly record: CallRecord;
}

const VOICE_LEVEL = 0.004;

/** Runs `scenario` once. The same seed gives the same call, to the sample. */
export async function runScenario(scenario: Scenario, options: RunOptions): Promise<ScenarioRun> {
  const { seed, pipe } = options;
  const time = new VirtualTime();
  const network = options.network ?? networkProfile(scenario.network);
  const { reply, perform } = createScript(scenario.script, { seed, network, isFixed: options.network !== undefined });
  let performed: Performed = { said: [], coughs: [] };
  const record = await placeVirtualCall(
    {
      seed,
      time,
      speech: createToneAgent({ profile: afterTold(INFERENCE[scenario.inference]), seed, reply, sleep: time.sleep }),
      network,
      session: sessionOf(scenario),
      ...(pipe === undefined ? {} : { pipe }),
    },
    async (call) => {
      performed = await perform(inHand(call));
    },
  );
  return { ...judgeRun(scenario, seed, scoreCall(record, performed.said, performed.coughs)), record };
}

/** Settings of its session: recognition is asked for, since its words are counted. */
export function sessionOf({ session }: Scenario): Readonly<Record<string, unknown>> {
  return { audio: { input: { transcription: { model: "lab" } } }, ...session };
}

/** What the scenario says to a score. */
export function judgeRun(scenario: Scenario, seed: number, score: CallScore): JudgedRun {
  const failures = (scenario.check?.(score) ?? []).filter((failure) => failure !== false);
  return { scenario: scenario.name, seed, score, failures };
}

function inHand(call: VirtualCall): CallInHand {
  const { time, phone } = call;
  return {
    now: time.now,
    sleep: time.sleep,
    events: call.events,
    say: async (pcm) => phone.say(pcm),
    async sayInto(pcm, afterMs, withinMs) {
      const late = time.now() + withinMs;
      while (phone.earLevel() < VOICE_LEVEL && time.now() < late) await time.sleep(20);
      await time.sleep(afterMs);
      return phone.say(pcm);
    },
    become: call.become,
    rebind: call.rebind,
    changePath: call.changePath,
  };
}
