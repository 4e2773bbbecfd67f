/** One call of the pipes bench: its turns over one lane, what strikes it in the middle of both, and what came of it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Browser } from "playwright-core";
import type { EarRecording } from "../../ear.ts";
import { type Condition, DELAY_MS, type Pipe, TURNS } from "./conditions.ts";
import type { HeardCall } from "./messages.ts";
import type { Lane } from "./network.ts";
import { type CallerPage, openPage } from "./page.ts";
import {
  type Gap,
  hearPrompt,
  hearWords,
  type Intact,
  longestGap,
  mouthToEarMs,
  scoreAnswer,
  scorePrompt,
} from "./score.ts";
import { lengthMs, speakPrompt } from "./script.ts";

/** What a call brought, not judged yet: judging takes a processor that calls need. */
export interface CallTake {
  readonly name: string;
  readonly pipe: Pipe;
  readonly condition: Condition;
  /** `undefined`: it never came up. */
  readonly setupMs: number | undefined;
  readonly recording: EarRecording | undefined;
  readonly note: string | undefined;
}

/** A call, judged. */
export interface CallScore {
  readonly pipe: Pipe;
  readonly condition: Condition;
  readonly setupRtts: number | undefined;
  readonly prompt: Intact;
  readonly answer: Intact;
  readonly mouthToEarMs: readonly number[];
  /** The longest within any answer; `undefined`: nothing of any was heard. */
  readonly gap: Gap | undefined;
  readonly note: string | undefined;
}

const STRIKE_MS = 2000;
/** The longest that an answer is waited for beyond its own length. */
const PATIENCE_MS = 9000;
/** Between an answer's end and the next prompt. */
const PAUSE_MS = 400;
let calls = 0;

/** Calls and talks; never throws for what a bad network does. */
export async function placeCall(
  browser: Browser,
  place: string,
  lane: Lane,
  pipe: Pipe,
  condition: Condition,
): Promise<CallTake> {
  const { impairments } = condition;
  lane.become({ delayMs: 0 });
  const which = pipe === "legacy" ? "legacy" : "product";
  const url = lane.urls[which];
  const name = `call-${++calls}`;
  const caller = await openPage(browser, { place, url, pipe, name });
  lane.become(impairments);
  let setupMs: number | undefined;
  let recording: EarRecording | undefined;
  let note: string | undefined;
  try {
    setupMs = await caller.connect();
    await sleep(1000); // a call that came up has a moment of quiet
    const strike = () => condition.strike?.(lane.proxy, impairments);
    for (const turn of TURNS) note = (await talk(caller, turn, turn === TURNS[0] ? strike : () => {})) ?? note;
    recording = await caller.recording();
  } catch (error) {
    note = error instanceof Error ? error.message.split("\n")[0]! : String(error);
  }
  lane.become({ delayMs: 0 });
  await caller.close().catch(() => undefined);
  return { name, pipe, condition, setupMs, recording, note };
}

/** One turn; gives what went wrong, if anything. */
async function talk(caller: CallerPage, { prompt, answer }: (typeof TURNS)[number], strike: () => void) {
  const before = (await caller.report()).events.length;
  const news = async (type: string) =>
    (await caller.report()).events.slice(before).filter((event) => event.type === type).length;
  await caller.say(speakPrompt(prompt));
  const spokenMs = lengthMs(prompt.length);
  const isLong = spokenMs > STRIKE_MS;
  if (isLong) {
    await sleep(STRIKE_MS);
    strike();
  }
  await sleep(spokenMs - (isLong ? STRIKE_MS : 0));
  const patience = performance.now() + PATIENCE_MS;
  while ((await news("output_audio_buffer.started")) === 0) {
    if (performance.now() > patience) return "an answer did not come";
    await sleep(50);
  }
  const answerMs = lengthMs(answer.length);
  if (isLong) {
    await sleep(STRIKE_MS);
    strike();
  }
  // Words may still be at the ear when the server believes that they are out.
  const end = performance.now() + answerMs + PATIENCE_MS - (isLong ? STRIKE_MS : 0);
  await sleep(answerMs - (isLong ? STRIKE_MS : 0));
  const over = async () => (await news("output_audio_buffer.stopped")) + (await news("output_audio_buffer.cleared"));
  while ((await over()) < (await news("output_audio_buffer.started"))) {
    if (performance.now() > end) return "an answer did not end";
    await sleep(50);
  }
  await sleep(PAUSE_MS);
  return undefined;
}

/** Judges a call by what the page recorded and the server heard. */
export function judgeCall(take: CallTake, heardCalls: readonly HeardCall[]): CallScore {
  const { pipe, condition, setupMs, recording, note } = take;
  const rtt = 2 * (condition.impairments.delayMs ?? DELAY_MS);
  // One that resumed is heard over two connections.
  const own = heardCalls.filter(({ name }) => name === take.name);
  const heard = own.map((call) => ({ pieces: call.pieces, words: hearPrompt(call.pieces) }));
  const [said, ear] = recording ? [hearWords(recording.mouth), hearWords(recording.ear)] : [[], []];
  const prompt = sum(
    TURNS.map(({ prompt }) =>
      best(
        heard.map(({ pieces, words }) => scorePrompt(prompt, pieces, words)),
        prompt,
      ),
    ),
  );
  const answer = sum(TURNS.map(({ answer }) => scoreAnswer(answer, recording?.ear ?? new Int16Array(0), ear)));
  const delays = TURNS.flatMap((turn) => mouthToEarMs(turn, said, ear) ?? []);
  const gaps = TURNS.flatMap((turn) => (recording && longestGap(turn.answer, recording.ear, ear)) ?? []);
  const gap = gaps.sort((a, b) => b.ms - a.ms)[0];
  return { pipe, condition, setupRtts: setupMs && setupMs / rtt, prompt, answer, mouthToEarMs: delays, gap, note };
}

function best(scores: readonly Intact[], prompt: readonly string[]): Intact {
  const nothing = { frames: Math.floor(lengthMs(prompt.length) / 20), intact: 0 };
  return scores.reduce((one, other) => (other.intact > one.intact ? other : one), nothing);
}

function sum(parts: readonly Intact[]): Intact {
  return parts.reduce((a, b) => ({ frames: a.frames + b.frames, intact: a.intact + b.intact }), {
    frames: 0,
    intact: 0,
  });
}
