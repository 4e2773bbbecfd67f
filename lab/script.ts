/**
 * Performs the script of a scenario, whichever call it is: what is said and when comes from the seed, the rest from what the
 * caller hears. The same performer speaks in virtual time and in a real Chromium.
 */
import { createDelays, createRandom } from "@sluice/engines";
import { type NetworkProfile, networkProfile } from "@sluice/netem";
import type { CallEvent } from "./call.ts";
import { cough, hum } from "./noises.ts";
import { CALLER } from "./profiles/inference.ts";
import type { SaidTurn } from "./score.ts";
import { concatenate, silence } from "./speech.ts";
import { speakTones } from "./tone-speech/voice.ts";

const NOISES = { cough, mhm: hum };

/** One thing that happens in a conversation. */
export type Step =
  /** The caller says this; each "…" is a hesitation of a length that people's have, or of `hesitationMs`. */
  | { readonly say: string; readonly hesitationMs?: number }
  /** The caller waits until the agent has answered. */
  | { readonly listen: true }
  /** The caller says this into the answer, so long after it began. */
  | { readonly interrupt: string; readonly afterMs: number }
  /** The caller coughs or hums a "mhm", so long after the answer began. */
  | { readonly noise: keyof typeof NOISES; readonly afterMs: number }
  /** The network becomes another one, by another address or port where told. */
  | { readonly network: string; readonly by?: "address" | "port" }
  /** Nothing comes through, to the ear alone or both ways, for so long. */
  | { readonly blackoutMs: number; readonly way: "down" | "both" }
  | { readonly waitMs: number };

/** A call as its caller has it: a voice, an ear, a clock and a network. */
export interface CallInHand {
  /** Milliseconds, on the clock of the events. */
  now(): number;
  sleep(ms: number): Promise<void>;
  /** What the server sent so far. */
  readonly events: readonly CallEvent[];
  /** Says samples (24 kHz); when the first of them leaves the mouth. */
  say(pcm: Int16Array): Promise<number>;
  /** Says them `afterMs` after the agent is heard, which is waited for for `withinMs`. */
  sayInto(pcm: Int16Array, afterMs: number, withinMs: number): Promise<number>;
  /** Changes the network under the call. */
  become(network: NetworkProfile): void;
  /** Gives the caller another port, as a NAT does that forgot it. */
  rebind(): void;
  /** Gives the caller another address, as from Wi-Fi to cellular. */
  changePath(): void;
}

/** What the caller did. */
export interface Performed {
  readonly said: readonly SaidTurn[];
  /** When it coughed or hummed. */
  readonly coughs: readonly number[];
}

/** How a script is performed. */
export interface ScriptOptions {
  readonly seed: number;
  /** The network that the call begins on. */
  readonly network: NetworkProfile;
  /** Whether `network` stays, whatever the script says. */
  readonly isFixed: boolean;
}

const ANSWER_WITHIN_MS = 20_000;
/** Before the first word, and after the last. */
const BEFORE_MS = 300;
const AFTER_MS = 400;

/** What the agent says, one after another. */
const REPLIES = [
  "yes, we can go to town today, and then I will tell you all about it.",
  "well, that is good news. we want to see the house in the street by the road, and so do you.",
  "please say it again, because I think we want some more time for this.",
  "no, not now. the people want to find the right place first, and the way is long.",
  "I know this story very well, it is about a man and his two friend who look for water.",
];

/** A script whose chances are drawn from `seed`: what the agent will reply, and how the caller goes through it. */
export function createScript(script: readonly Step[], { seed, network: first, isFixed }: ScriptOptions) {
  const random = createRandom(seed ^ 0x9e3779b9);
  const hesitate = createDelays(CALLER.hesitation, random);
  let replies = Math.floor(random() * REPLIES.length);
  const perform = async (call: CallInHand): Promise<Performed> => {
    let network = first;
    const said: SaidTurn[] = [];
    const coughs: number[] = [];
    await call.sleep(BEFORE_MS);
    for (const step of script) {
      if ("say" in step) {
        const { pcm, words } = speakWith(step.say, () => step.hesitationMs ?? hesitate());
        said.push(await finish(call, await call.say(pcm), pcm, words, false));
      } else if ("listen" in step) await listen(call);
      else if ("waitMs" in step) await call.sleep(step.waitMs);
      else if ("blackoutMs" in step) {
        const dark = { blackhole: true };
        call.become({ ...network, down: dark, ...(step.way === "both" ? { up: dark } : {}) });
        await call.sleep(step.blackoutMs);
        call.become(network);
      } else if ("network" in step) {
        if (!isFixed) network = networkProfile(step.network);
        call.become(network);
        if (step.by === "address") call.changePath();
        if (step.by === "port") call.rebind();
      } else if ("interrupt" in step) {
        const { pcm, words } = speakWith(step.interrupt, hesitate);
        said.push(await finish(call, await call.sayInto(pcm, step.afterMs, ANSWER_WITHIN_MS), pcm, words, true));
      } else {
        const pcm = NOISES[step.noise](Math.floor(random() * 2 ** 31));
        coughs.push(await call.sayInto(pcm, step.afterMs, ANSWER_WITHIN_MS));
      }
    }
    await call.sleep(AFTER_MS);
    return { said, coughs };
  };
  return { reply: () => REPLIES[replies++ % REPLIES.length]!, perform };
}

/** Tone words with a pause at each "…", and where the words are. */
function speakWith(text: string, hesitate: () => number) {
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
  return { pcm: concatenate(parts), words };
}

/** Waits until what began at `startMs` is said. */
async function finish(
  call: CallInHand,
  startMs: number,
  pcm: Int16Array,
  words: SaidTurn["words"],
  interrupts: boolean,
): Promise<SaidTurn> {
  const endMs = startMs + pcm.length / 24;
  await call.sleep(endMs - call.now());
  return { startMs, endMs, words, interrupts };
}

/** Waits until the answer to what was said last is over. */
async function listen(call: CallInHand): Promise<void> {
  const from = call.now();
  const count = (type: string) => call.events.filter(({ event }) => event.type === type).length;
  const over = () => count("output_audio_buffer.stopped") + count("output_audio_buffer.cleared");
  const [created, ended] = [count("response.created"), over()];
  // What plays already is not the answer, unless the answer began before the caller had even finished.
  const begun = created > ended;
  while (call.now() < from + ANSWER_WITHIN_MS) {
    await call.sleep(20);
    if ((begun || count("response.created") > created) && over() >= count("response.created")) break;
  }
  await call.sleep(300);
}
