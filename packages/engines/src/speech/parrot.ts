/**
 * The built-in agent: it repeats what it heard in the caller's own voice, and then says how long it heard and how soon
 * it began, by the playout ledger. It needs no key and no model, and makes the whole stack audible.
 */
import {
  type Began,
  type ContextItem,
  type ContextPart,
  durationMs,
  type Milli,
  type Pcm,
  SAMPLES_PER_MS,
  type SpeechEvent,
  type SpeechRequest,
  type SpeechSession,
  type SpeechToSpeech,
  type TextToSpeech,
} from "@sluice/conversation";
import { Channel, orAborted } from "../channel.ts";
import { echoOf } from "./echo.ts";

/** Settings of {@link createParrot}. */
export interface ParrotOptions {
  /** Speaks the sentences; without it the parrot only echoes, and says so in its description. */
  readonly tts: TextToSpeech | undefined;
  /** How long a sentence waits for its number once the echo is generated, in milliseconds; default 3000. */
  readonly beganWithinMs?: Milli;
}

/** What the parrot's transcript says for speech that nobody transcribed. */
export const OWN_WORDS = "(your own words)";

const HELP = "I am the built-in parrot: say something, and I will repeat it in your own voice.";
const NOTHING_HEARD = "Sorry, I did not catch that. Please say it once more.";
const CHUNK_MS = 100;

/** The agent that runs when no other engine is configured. */
export function createParrot({ tts, beganWithinMs = 3000 }: ParrotOptions): SpeechToSpeech {
  return {
    description: tts
      ? "The built-in parrot repeats what you say in your own voice, then tells how long it heard you and how soon it began."
      : "The built-in parrot repeats what you say in your own voice; it cannot speak sentences of its own, because the " +
        "optional eSpeak NG is not installed.",
    open(opened: AbortSignal): SpeechSession {
      const closed = new AbortController();
      return {
        respond: (request, signal) =>
          respond({ tts, beganWithinMs }, request, AbortSignal.any([opened, closed.signal, signal])),
        close: () => closed.abort(),
      };
    },
  };
}

/** What there is to answer, read off the last item. */
type Heard =
  | { readonly kind: "speech"; readonly echo: Pcm; readonly voicedMs: Milli; readonly transcript: string | undefined }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "nothing" };

async function* respond(
  { tts, beganWithinMs }: Required<ParrotOptions>,
  request: SpeechRequest,
  signal: AbortSignal,
): AsyncGenerator<SpeechEvent> {
  if (signal.aborted) return;
  const heard = listen(request.items);
  if (request.modality === "text") {
    yield { kind: "text", delta: written(heard) };
    return;
  }
  if (heard.kind !== "speech") {
    yield* say(tts, heard.kind === "text" ? `You wrote: ${heard.text} ${HELP}` : NOTHING_HEARD, request, signal);
    return;
  }
  const echoed = new AbortController();
  // Synthesised while the echo plays, from the moment its number is known: no pause arises between the two.
  const remark = makeRemark(tts, request, heard.voicedMs, AbortSignal.any([signal, echoed.signal]));
  try {
    yield { kind: "transcript", delta: `${heard.transcript?.trim() || OWN_WORDS} ` };
    for (let at = 0; at < heard.echo.length && !signal.aborted; at += CHUNK_MS * SAMPLES_PER_MS)
      yield { kind: "audio", pcm: heard.echo.subarray(at, at + CHUNK_MS * SAMPLES_PER_MS) };
    remark.hurry(beganWithinMs);
    yield* remark.events;
  } finally {
    echoed.abort();
  }
}

/** The caller's newest item: speech before text, as an item has both only when the text describes the speech. */
function listen(items: readonly ContextItem[]): Heard {
  const item = items.findLast((candidate) => candidate.role === "user");
  if (item?.role !== "user") return { kind: "nothing" };
  const speech = item.parts.findLast((part) => part.kind === "audio");
  if (speech) return listenTo(speech);
  const text = item.parts.flatMap((part) => (part.kind === "text" ? [part.text.trim()] : [])).join(" ");
  return text === "" ? { kind: "nothing" } : { kind: "text", text: /[.!?]$/.test(text) ? text : `${text}.` };
}

function listenTo({ pcm, transcript, voicedStartMs, voicedEndMs }: ContextPart & { kind: "audio" }): Heard {
  const echo = pcm && echoOf(pcm, voicedStartMs, voicedEndMs);
  if (!echo) return { kind: "nothing" };
  return { kind: "speech", echo, voicedMs: Math.min(voicedEndMs, durationMs(pcm)) - voicedStartMs, transcript };
}

function written(heard: Heard): string {
  if (heard.kind === "nothing") return NOTHING_HEARD;
  if (heard.kind === "text") return `You wrote: ${heard.text} ${HELP}`;
  return `${heard.transcript?.trim() || OWN_WORDS} ${remarkText(heard.voicedMs, undefined)}`;
}

function remarkText(voicedMs: Milli, began: Began | undefined): string {
  const length = (Math.max(100, voicedMs) / 1000).toFixed(1);
  const heard = `I heard you for ${length} ${length === "1.0" ? "second" : "seconds"}`;
  if (began?.afterSpeechMs === undefined) return `${heard}.`;
  const after = Math.max(0, Math.round(began.afterSpeechMs));
  const verb = began.clock === "client" ? "you heard me" : "began"; // only the client knows of the ear
  return `${heard}, and ${verb} ${after} ${after === 1 ? "millisecond" : "milliseconds"} after you stopped.`;
}

/** The sentence after an echo, made as soon as `request.began` tells its number. */
function makeRemark(tts: TextToSpeech | undefined, request: SpeechRequest, voicedMs: Milli, signal: AbortSignal) {
  const events = new Channel<SpeechEvent>();
  const late = Promise.withResolvers<undefined>();
  let timer: NodeJS.Timeout | undefined;
  const make = async () => {
    const began = await orAborted(Promise.race([request.began.catch(() => undefined), late.promise]), signal);
    clearTimeout(timer);
    if (signal.aborted) return;
    for await (const event of say(tts, remarkText(voicedMs, began), request, signal)) events.push(event);
  };
  make().then(
    () => events.end(),
    (error: unknown) => events.end(error),
  );
  signal.addEventListener(
    "abort",
    () => {
      clearTimeout(timer);
      events.end();
    },
    { once: true },
  );
  return {
    events,
    /** From now on the number has this long to come; the sentence does without it then. */
    hurry(ms: Milli): void {
      if (!signal.aborted) timer = setTimeout(() => late.resolve(undefined), ms);
    },
  };
}

/** Speaks `text` and gives its words as they are spoken; nothing without a synthesiser. */
async function* say(
  tts: TextToSpeech | undefined,
  text: string,
  { voice, speed }: SpeechRequest,
  signal: AbortSignal,
): AsyncGenerator<SpeechEvent> {
  if (!tts) return;
  // Its sentences are English, whatever the caller's language is.
  const options = { voice, ...(speed === undefined ? {} : { speed }) };
  for await (const event of tts.speak(once(text), options, signal))
    yield event.kind === "audio" ? event : { kind: "transcript", delta: event.text };
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
