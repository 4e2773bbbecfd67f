/** Sentences with a pause in the middle and an end, by eSpeak NG, always the same: what a judge of pauses is judged by. */
import { type Milli, type Pcm, SAMPLES_PER_MS } from "@sluice/conversation";
import { createEspeak } from "@sluice/engines";
import { createRandom } from "@sluice/netem";
import { concatenate, silence } from "./speech.ts";

/** One utterance. `pause` is where the caller thinks before going on; what is said before it, as text. */
export interface PausedSentence {
  readonly pcm: Pcm;
  readonly text: string;
  readonly pause: { readonly fromMs: Milli; readonly toMs: Milli; readonly before: string } | undefined;
  /** Where the last word ends. */
  readonly endMs: Milli;
}

// `|`: where people stop to think. In the middle of a phrase, after a connecting word, or after a comma.
const SENTENCES = [
  "I would like to book a flight to | Berlin next Friday.",
  "My phone number is 0 1 7 6 | 4 4 2 9 8.",
  "Can you tell me how | I get to the station?",
  "I was wondering if | you could help me with my order.",
  "We have been waiting since | about three o'clock.",
  "The problem is that, | well, the door does not close.",
  "Please send it to my | office address.",
  "I think um | we should meet on Tuesday.",
  "It started yesterday and | it got worse today.",
  "Could you change the date to | the second of May?",
  "There are four of us, | two adults and two children.",
  "I need a room with | a view of the sea.",
  "What happens when | I cancel the contract?",
  "He said he would come but | nobody has seen him.",
  "I want the blue one, | not the red one.",
  "Do you have something for | a headache?",
  "What time do you open?",
  "Yes, that is right.",
  "I would like to speak to a person.",
  "Thank you very much, that was all.",
  "My name is Susan Miller.",
  "No, I do not have an account.",
  "Tell me a story about the sea.",
  "How much does it cost?",
];
const VOICES = ["alloy", "coral", "ash", "marin"];

/** All of them in four voices; pauses last 300 to 1400 ms, by `seed`. */
export async function pausedSentences(seed = 1): Promise<PausedSentence[]> {
  const random = createRandom(seed);
  const espeak = await createEspeak();
  if (!espeak) throw new Error("this needs @echogarden/espeak-ng-emscripten: run npm ci with optional packages");
  const made: PausedSentence[] = [];
  for (const voice of VOICES) {
    for (const sentence of SENTENCES) {
      const [before = "", after] = sentence.split("| ");
      const text = sentence.replace("| ", "");
      const pieces: Pcm[] = [];
      let cutMs: Milli | undefined;
      let spoken = "";
      for await (const event of espeak.speak(once(text), { voice }, new AbortController().signal)) {
        if (event.kind === "audio") pieces.push(event.pcm);
        else {
          if (after !== undefined && cutMs === undefined && spoken.length >= before.trimEnd().length)
            cutMs = event.startMs;
          spoken += event.text;
        }
      }
      const pcm = trimEnd(concatenate(pieces));
      const pauseMs = 300 + 1100 * random() ** 1.5;
      made.push(cutMs === undefined ? whole(pcm, text) : paused(pcm, text, before.trim(), cutMs, pauseMs));
    }
  }
  await espeak.close();
  return made;
}

const LEAD_MS = 600;
const TAIL_MS = 5000;

function whole(pcm: Pcm, text: string): PausedSentence {
  return {
    pcm: concatenate([silence(LEAD_MS), pcm, silence(TAIL_MS)]),
    text,
    pause: undefined,
    endMs: LEAD_MS + pcm.length / SAMPLES_PER_MS,
  };
}

function paused(pcm: Pcm, text: string, before: string, cutMs: Milli, pauseMs: Milli): PausedSentence {
  const at = Math.round(cutMs * SAMPLES_PER_MS);
  const [head, tail] = [pcm.slice(0, at), pcm.slice(at)];
  const fade = 4 * SAMPLES_PER_MS; // no click where the voice is cut
  for (let i = 0; i < fade; i++) {
    head[head.length - 1 - i]! *= i / fade;
    tail[i]! *= i / fade;
  }
  const fromMs = LEAD_MS + trimEnd(head).length / SAMPLES_PER_MS;
  const toMs = LEAD_MS + head.length / SAMPLES_PER_MS + pauseMs;
  return {
    pcm: concatenate([silence(LEAD_MS), head, silence(pauseMs), tail, silence(TAIL_MS)]),
    text,
    pause: { fromMs, toMs, before },
    endMs: toMs + tail.length / SAMPLES_PER_MS,
  };
}

/** Without the silence at the end. */
function trimEnd(pcm: Pcm): Pcm {
  const last = pcm.findLastIndex((sample) => Math.abs(sample) > 100);
  return pcm.slice(0, last + 1);
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
