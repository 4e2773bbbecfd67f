/** Two recognitions of the same speech, side by side: the first to have its words counts, and one that fails has no say. */
import type { Pcm, SpeechToText, SttEvent } from "@sluice/conversation";
import { Channel, LEFT, untilAborted } from "../channel.ts";

/**
 * Both hear every utterance, which costs two requests. Partial transcripts are those of `first`, and of `second` once that
 * failed. An utterance without words is one when both say so, or the other failed.
 */
export function raceRecognition(first: SpeechToText, second: SpeechToText): SpeechToText {
  return {
    async *transcribe(audio, options, signal): AsyncGenerator<SttEvent> {
      const left = new AbortController();
      const scope = AbortSignal.any([signal, left.signal]);
      const race = new Race();
      const lanes = [first, second].map(() => new Channel<Pcm>());
      void copy(untilAborted(audio, scope), lanes);
      for (const [place, stt] of [first, second].entries()) {
        void race.run(place, untilAborted(stt.transcribe(lanes[place]!, options, scope), scope));
      }
      try {
        yield* untilAborted(race.events, scope);
      } finally {
        left.abort(LEFT);
      }
    },
    warm: async (signal) => {
      await Promise.all([first.warm?.(signal), second.warm?.(signal)]);
    },
  };
}

async function copy(audio: AsyncIterable<Pcm>, lanes: readonly Channel<Pcm>[]): Promise<void> {
  try {
    for await (const pcm of audio) for (const lane of lanes) lane.push(pcm);
    for (const lane of lanes) lane.end();
  } catch (error) {
    for (const lane of lanes) lane.end(error);
  }
}

/** Who is out of it, and what the reader hears. */
class Race {
  readonly events = new Channel<SttEvent>();
  readonly #out: boolean[] = [false, false];
  #silent: SttEvent | undefined; // a final without words
  #error: unknown;

  /** Follows one of the two to its end; never rejects. */
  async run(place: number, source: AsyncIterable<SttEvent>): Promise<void> {
    try {
      for await (const event of source) this.#take(place, event);
      this.#leave(place, undefined);
    } catch (error) {
      this.#leave(place, error);
    }
  }

  #take(place: number, event: SttEvent): void {
    if (event.kind === "partial") {
      if (place === 0 || this.#out[0]) this.events.push(event);
    } else if (event.text.trim() === "") this.#silent ??= event;
    else this.#finish(event);
  }

  #leave(place: number, error: unknown): void {
    this.#out[place] = true;
    // The first one's reasons are those of what was asked for.
    if (error !== undefined && (place === 0 || this.#error === undefined)) this.#error = error;
    if (!this.#out.every(Boolean)) return;
    if (this.#silent) this.#finish(this.#silent);
    else this.events.end(this.#error);
  }

  #finish(event: SttEvent): void {
    this.events.push(event);
    this.events.end();
  }
}
