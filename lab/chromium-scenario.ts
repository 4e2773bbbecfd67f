/**
 * A scenario for real: the script by a page of a real Chromium, the network by the proxy, the agent's speed by the scripted
 * engines, and the judge of virtual time. The seed gives the same script, the same agent and the same fate to the packet of
 * each number; when packets come is this machine's affair, so a call is repeated in kind and not to the sample.
 */
import { networkProfile } from "@sluice/netem";
import { placeRealCall, type RealCallRecord, type RealPipe } from "./chromium-call.ts";
import { afterTold, INFERENCE } from "./profiles/inference.ts";
import { type JudgedRun, judgeRun, type Scenario, sessionOf } from "./scenario.ts";
import { type SaidTurn, scoreCall } from "./score.ts";
import { createScript, type Performed } from "./script.ts";
import { createToneAgent } from "./tone-speech/engines.ts";
import { type HeardWord, hearTones } from "./tone-speech/listen.ts";

/** How a scenario is run for real. */
export interface RealRunOptions {
  readonly seed: number;
  /** Default `webrtc`. */
  readonly pipe?: RealPipe | undefined;
}

/** A run in Chromium. */
export interface RealRun extends JudgedRun {
  readonly pipe: RealPipe;
  readonly record: RealCallRecord;
}

/** A page's word on when it spoke is this near to the sound of it. */
const SPOKEN_NEAR_MS = 300;

/** Runs `scenario` once in a Chromium of its own. */
export async function runForReal(scenario: Scenario, { seed, pipe = "webrtc" }: RealRunOptions): Promise<RealRun> {
  const network = networkProfile(scenario.network);
  const { reply, perform } = createScript(scenario.script, { seed, network, isFixed: false });
  const speech = createToneAgent({ profile: afterTold(INFERENCE[scenario.inference]), seed, reply });
  let performed: Performed = { said: [], coughs: [] };
  const record = await placeRealCall({ seed, network, speech, session: sessionOf(scenario), pipe }, async (call) => {
    performed = await perform(call);
  });
  const said = placeAtMouth(performed.said, record);
  return { ...judgeRun(scenario, seed, scoreCall(record, said, performed.coughs)), pipe, record };
}

/** Turns where the recording of the microphone has them, to the sample. */
function placeAtMouth(said: readonly SaidTurn[], { mouth, sampleRate, mouthStartedAt }: RealCallRecord): SaidTurn[] {
  const heard = hearTones(mouth, { sampleRate });
  return said.map((turn) => {
    const moved = offsetOf(turn, heard, mouthStartedAt);
    if (moved === undefined) throw new Error(`the microphone said nothing of "${turn.words[0]?.text}…"`);
    return { ...turn, startMs: turn.startMs + moved, endMs: turn.endMs + moved };
  });
}

function offsetOf({ startMs, words }: SaidTurn, heard: readonly HeardWord[], startedAt: number): number | undefined {
  for (const word of words) {
    const expected = startMs + word.startMs - startedAt;
    const found = heard.find((one) => one.text === word.text && Math.abs(one.startMs - expected) < SPOKEN_NEAR_MS);
    if (found) return found.startMs - expected;
  }
  return undefined;
}
