/** What a cascade hears: each utterance transcribed once, while it is spoken where that is possible. */
import {
  type ContextItem,
  type ContextPart,
  type Forecast,
  type Pcm,
  SAMPLES_PER_MS,
  type SpeechEvent,
  type SpeechToText,
  type Spending,
  type SttEvent,
  type SttOptions,
} from "@sluice/conversation";
import { Channel, orAborted } from "../channel.ts";
import { Scope } from "../scope.ts";
import { Hearing } from "./cascade-hearing.ts";
import { finalText } from "./cascade-transcript.ts";

/** Utterances of which the words are kept until the conversation knows them. */
const MAX_KEPT = 32;
/** Utterances of one response that are still to be transcribed, at most: those before were long answered. */
const MAX_AT_ONCE = 4;
/** Detection may be late and early: speech is cut out with this much around it. */
const MARGIN_MS = 250;

type Message = Extract<ContextItem, { readonly parts: readonly ContextPart[] }>;
type Speech = Extract<ContextPart, { readonly kind: "audio" }>;

/** The ears of one conversation; deaf without an engine. */
export class Ears {
  readonly #forecast: Forecast | undefined;
  readonly #spending: Spending | undefined;
  readonly #stt: SpeechToText | undefined;
  readonly #signal: AbortSignal;
  readonly #hearings = new Map<string, Hearing>();
  /** Words by item; `undefined` when they could not be had. */
  readonly #heard = new Map<string, Promise<string | undefined>>();

  /** Told what an utterance that is listened to sounds like so far. */
  onPartial: (itemId: string, words: string) => void = () => {};

  constructor(stt: SpeechToText | undefined, signal: AbortSignal, forecast?: Forecast, spending?: Spending) {
    this.#forecast = forecast;
    this.#spending = spending;
    this.#stt = stt;
    this.#signal = signal;
  }

  /** Transcribes an utterance while it is spoken. */
  listen(itemId: string, audio: AsyncIterable<Pcm>, options: SttOptions, signal: AbortSignal): AsyncIterable<SttEvent> {
    const events = new Channel<SttEvent>();
    if (!this.#stt) {
      events.end();
      return events;
    }
    const work = new Scope(this.#signal, signal);
    const scope = work.signal;
    const forget = () => this.#heard.delete(itemId);
    scope.addEventListener("abort", forget, { once: true });
    const hearing = new Hearing({
      stt: this.#stt,
      options,
      signal: scope,
      onEvent: (event) => events.push(event),
      onPartial: (words) => this.onPartial(itemId, words),
      onTook: (ms) => this.#forecast?.record(performance.now(), "sttFinal", ms),
      spending: this.#spending,
    });
    this.#hearings.set(itemId, hearing);
    const words = hearing.follow(audio);
    this.#keep(
      itemId,
      words.finally(() => {
        this.#hearings.delete(itemId);
        scope.removeEventListener("abort", forget);
        work.leave();
      }),
    );
    words.then(
      () => events.end(),
      (error: unknown) => events.end(scope.aborted ? undefined : error),
    );
    return events;
  }

  /** The utterance is probably over: its words as if it were, and what they probably are; `undefined` if nobody listens. */
  settle(itemId: string): { readonly words: Promise<string | undefined>; readonly partial: string } | undefined {
    const hearing = this.#hearings.get(itemId);
    return hearing && { words: hearing.settle(), partial: hearing.partial };
  }

  /** The utterance was not over. */
  resume(itemId: string): void {
    this.#hearings.get(itemId)?.resume();
  }

  /** The items with the words of the newest utterances in them; gives the words that the conversation does not know yet. */
  async *hear(
    items: readonly ContextItem[],
    language: string | undefined,
    signal: AbortSignal,
  ): AsyncGenerator<SpeechEvent, readonly ContextItem[]> {
    const unheard = items.filter(isUnheard).slice(-MAX_AT_ONCE);
    const words = new Map(unheard.map((item) => [item.id, this.#transcribe(item, language, signal)] as const));
    for (const promise of words.values()) promise.catch(() => {}); // the first failure is told, the others are not lost
    const known = new Map<string, string>();
    for (const [itemId, promise] of words) {
      const text = await promise;
      if (signal.aborted) return items;
      if (text === undefined) continue;
      known.set(itemId, text);
      yield { kind: "inputTranscript", itemId, text };
    }
    return items.map((item) => withWords(item, known.get(item.id)));
  }

  async #transcribe(item: Message, language: string | undefined, signal: AbortSignal): Promise<string | undefined> {
    const heard = await orAborted(this.#heard.get(item.id) ?? Promise.resolve(undefined), signal);
    if (heard !== undefined || signal.aborted) return heard;
    const speech = item.parts.find(isSpeech);
    if (!this.#stt || !speech?.pcm) return undefined;
    const options = language === undefined ? {} : { language };
    const text = await finalText(this.#stt.transcribe(once(voicedPart(speech, speech.pcm)), options, signal), () => {});
    if (!signal.aborted) this.#keep(item.id, Promise.resolve(text));
    return text;
  }

  #keep(itemId: string, text: Promise<string | undefined>): void {
    const kept = text.catch(() => undefined); // a second attempt is made from the whole utterance
    this.#heard.set(itemId, kept);
    const oldest = this.#heard.keys().next();
    if (this.#heard.size > MAX_KEPT && oldest.done !== true) this.#heard.delete(oldest.value);
  }
}

function isUnheard(item: ContextItem): item is Message {
  return item.role === "user" && item.parts.some(isSpeech);
}

function isSpeech(part: ContextPart): part is Speech {
  return part.kind === "audio" && part.transcript === undefined;
}

function withWords(item: ContextItem, transcript: string | undefined): ContextItem {
  if (transcript === undefined || item.role !== "user") return item;
  return { ...item, parts: item.parts.map((part) => (isSpeech(part) ? { ...part, transcript } : part)) };
}

/** The silence around speech makes recognition slower, and some engines invent words for it. */
function voicedPart({ voicedStartMs, voicedEndMs }: Speech, pcm: Pcm): Pcm {
  if (!(voicedEndMs > voicedStartMs)) return pcm;
  const start = Math.max(0, Math.round((voicedStartMs - MARGIN_MS) * SAMPLES_PER_MS));
  return pcm.subarray(start, Math.round((voicedEndMs + MARGIN_MS) * SAMPLES_PER_MS));
}

async function* once(pcm: Pcm): AsyncGenerator<Pcm> {
  yield pcm;
}
