/** Partial transcripts from an engine that only takes whole utterances: it is asked again as the utterance grows. */
import { durationMs, type Milli, type Pcm, type SttEvent } from "@sluice/conversation";
import { Channel, LEFT, untilAborted } from "../channel.ts";
import { Scope } from "../scope.ts";

/** Transcribes the pieces of an utterance as a whole. */
export type Transcribe = (pieces: readonly Pcm[], signal: AbortSignal) => AsyncIterable<SttEvent>;

/** How often partials are made. */
export interface RollingOptions {
  /** Audio between two partials; 0: none before the end. */
  readonly everyMs: Milli;
  readonly signal: AbortSignal;
}

/** Longest utterance that is heard: 10 minutes, 29 MB. What comes later is not transcribed. */
const LONGEST_MS = 600_000;

/** Collects `audio` and transcribes it when it ended; in between, one request at a time, what there is so far. */
export async function* rolling(
  audio: AsyncIterable<Pcm>,
  transcribe: Transcribe,
  { everyMs, signal }: RollingOptions,
): AsyncGenerator<SttEvent> {
  const work = new Scope(signal);
  const scope = work.signal;
  const partials = new Partials(transcribe, scope, everyMs);
  const events = new Channel<SttEvent>();
  const hear = async () => {
    const pieces: Pcm[] = [];
    let heardMs = 0;
    for await (const piece of untilAborted(audio, scope)) {
      if (heardMs >= LONGEST_MS) continue;
      pieces.push(piece);
      heardMs += durationMs(piece);
      partials.grow(heardMs, () => [...pieces], events);
    }
    partials.stop();
    if (scope.aborted) return;
    for await (const event of transcribe(pieces, scope)) events.push(event);
  };
  hear().then(
    () => events.end(),
    (error: unknown) => events.end(error),
  );
  try {
    yield* untilAborted(events, scope);
  } finally {
    work.abort(LEFT);
  }
}

/** The partials of one utterance; when one cannot be had, the next one or the end will tell why. */
class Partials {
  readonly #transcribe: Transcribe;
  readonly #signal: AbortSignal;
  readonly #everyMs: Milli;
  readonly #stopped = new AbortController();
  #running = false;
  #askedMs: Milli = 0;
  #last = "";

  constructor(transcribe: Transcribe, signal: AbortSignal, everyMs: Milli) {
    this.#transcribe = transcribe;
    this.#signal = signal;
    this.#everyMs = everyMs;
  }

  /** The utterance has `heardMs` now. */
  grow(heardMs: Milli, pieces: () => readonly Pcm[], events: Channel<SttEvent>): void {
    if (this.#everyMs <= 0 || this.#running || heardMs - this.#askedMs < this.#everyMs) return;
    this.#askedMs = heardMs;
    this.#running = true;
    void this.#ask(pieces(), events).then(() => {
      this.#running = false;
    });
  }

  stop(): void {
    this.#stopped.abort(LEFT);
  }

  async #ask(pieces: readonly Pcm[], events: Channel<SttEvent>): Promise<void> {
    const { signal } = this.#stopped;
    await new Promise(setImmediate); // speech that is here as a whole needs no partial
    if (signal.aborted) return;
    try {
      for await (const event of this.#transcribe(pieces, AbortSignal.any([this.#signal, signal]))) {
        if (signal.aborted || event.kind !== "final" || event.text === "") continue;
        // The same twice, with more audio: it will hardly change any more.
        events.push({ kind: "partial", text: event.text, stable: event.text === this.#last });
        this.#last = event.text;
      }
    } catch {
      // A partial is a bonus.
    }
  }
}
