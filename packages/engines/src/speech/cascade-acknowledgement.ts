/** A short word for a long wait: spoken once, kept as sound, and given when an answer is late. */
import {
  concatenate,
  type Milli,
  type Pcm,
  type SpeechEvent,
  type TextToSpeech,
  type TtsOptions,
} from "@sluice/conversation";

/** Sounds kept by text and voice; what is longer than this is no acknowledgement. */
const MOST_SOUNDS = 64;
const LONGEST_SAMPLES = 3 * 24_000;

/** The acknowledgements of an agent, shared by its sessions. */
export class AcknowledgementSounds {
  readonly #sounds = new Map<string, Promise<Pcm | undefined>>();
  readonly #ready = new Map<string, Pcm>();

  /** The sound of `text`, if it is here; else it is made for the next time. */
  take(tts: TextToSpeech | undefined, text: string, options: TtsOptions): Pcm | undefined {
    const key = JSON.stringify([text, options]);
    if (tts && !this.#sounds.has(key)) {
      if (this.#sounds.size >= MOST_SOUNDS) this.#forgetOldest();
      const sound = speak(tts, text, options);
      this.#sounds.set(key, sound);
      void sound.then((pcm) => {
        if (pcm) this.#ready.set(key, pcm);
        else this.#sounds.delete(key); // tried again
      });
    }
    return this.#ready.get(key);
  }

  #forgetOldest(): void {
    const oldest = this.#sounds.keys().next();
    if (oldest.done === true) return;
    this.#sounds.delete(oldest.value);
    this.#ready.delete(oldest.value);
  }
}

async function speak(tts: TextToSpeech, text: string, options: TtsOptions): Promise<Pcm | undefined> {
  try {
    const pieces: Pcm[] = [];
    for await (const event of tts.speak(once(text), options, AbortSignal.timeout(30_000)))
      if (event.kind === "audio") pieces.push(event.pcm);
    const pcm = concatenate(pieces);
    return pcm.length > 0 && pcm.length <= LONGEST_SAMPLES ? pcm : undefined;
  } catch {
    return undefined; // whoever speaks the answer will say what is wrong
  }
}

/** Passes `events` on; when none of them sounds within `dueMs`, `sound` comes in between. */
export async function* acknowledged(
  events: AsyncIterable<SpeechEvent>,
  dueMs: Milli,
  sound: () => Pcm | undefined,
): AsyncGenerator<SpeechEvent> {
  const iterator = events[Symbol.asyncIterator]();
  let timer: NodeJS.Timeout | undefined;
  const due = new Promise<"due">((resolve) => {
    timer = setTimeout(() => resolve("due"), dueMs);
  });
  let waits = true;
  try {
    for (;;) {
      const pending = iterator.next();
      if (waits && (await Promise.race([pending, due])) === "due") {
        waits = false;
        const pcm = sound();
        if (pcm) yield { kind: "acknowledgement", pcm };
      }
      const next = await pending;
      if (next.done === true) return;
      if (next.value.kind === "audio" || next.value.kind === "text") waits = false;
      yield next.value;
    }
  } finally {
    clearTimeout(timer);
    iterator.return?.().then(undefined, () => {});
  }
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
