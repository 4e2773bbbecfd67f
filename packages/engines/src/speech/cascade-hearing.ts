/**
 * One utterance while it is spoken. When it is probably over, recognition is told that it is, so that its last words cost no
 * time when it really is; when the caller goes on, it is begun anew from the whole, as half a sentence is heard worse.
 */
import type { Milli, Pcm, SpeechToText, Spending, SttEvent, SttOptions } from "@sluice/conversation";
import { Channel, LEFT, orAborted, untilAborted } from "../channel.ts";
import { Scope } from "../scope.ts";
import { finalText } from "./cascade-transcript.ts";

/** What a hearing is made with. */
export interface HearingOptions {
  readonly stt: SpeechToText;
  readonly options: SttOptions;
  readonly signal: AbortSignal;
  readonly onEvent: (event: SttEvent) => void;
  /** What it sounds like so far. */
  readonly onPartial: (words: string) => void;
  /** How long the words came after the end of the audio. */
  readonly onTook: (ms: Milli) => void;
  /** The account of those who were told too soon. */
  readonly spending?: Spending | undefined;
}

interface Attempt {
  readonly audio: Channel<Pcm>;
  readonly scope: Scope;
  readonly words: Promise<string | undefined>;
  endedAt: Milli | undefined;
}

/** Longest utterance that is kept to begin anew: 10 minutes, 29 MB, the recognition's own bound. */
const MOST_SAMPLES = 600 * 24_000;

/** Hears one utterance. */
export class Hearing {
  readonly #options: HearingOptions;
  readonly #pieces: Pcm[] = [];
  #samples = 0;
  #attempt: Attempt;
  #settled = false;
  /** The newest partial transcript; empty before there is one. */
  partial = "";

  constructor(options: HearingOptions) {
    this.#options = options;
    this.#attempt = this.#begin();
  }

  /** Hears `audio` to its end, and gives the words. */
  async follow(audio: AsyncIterable<Pcm>): Promise<string | undefined> {
    for await (const pcm of untilAborted(audio, this.#options.signal)) {
      if (this.#samples >= MOST_SAMPLES) continue;
      this.#samples += pcm.length;
      this.#pieces.push(pcm);
      if (!this.#settled) this.#attempt.audio.push(pcm);
    }
    const words = this.settle();
    if (!this.#options.signal.aborted) this.#options.spending?.handleHit();
    return words;
  }

  /** The words of what was said so far, as if that were all. What follows is silence, until {@link Hearing.resume}. */
  settle(): Promise<string | undefined> {
    if (!this.#settled) this.#options.spending?.handleSpent(1);
    this.#settled = true;
    this.#attempt.endedAt ??= performance.now();
    this.#attempt.audio.end();
    return this.#attempt.words;
  }

  /** There is more. */
  resume(): void {
    if (!this.#settled) return;
    this.#settled = false;
    this.#options.spending?.handleMiss(1);
    this.#attempt.scope.abort(LEFT);
    this.#attempt = this.#begin();
  }

  #begin(): Attempt {
    const { stt, options, signal, onEvent, onPartial, onTook } = this.#options;
    const audio = new Channel<Pcm>();
    for (const pcm of this.#pieces) audio.push(pcm);
    const work = new Scope(signal);
    const scope = work.signal;
    const attempt: Attempt = {
      audio,
      scope: work,
      endedAt: undefined,
      words: orAborted(
        finalText(stt.transcribe(audio, options, scope), (event) => {
          if (scope.aborted) return;
          if (event.kind === "partial") {
            this.partial = event.text;
            onPartial(event.text);
          } else if (attempt.endedAt !== undefined) onTook(performance.now() - attempt.endedAt);
          // The end of an attempt is the end of the utterance only if nothing follows; the reader of the last is told.
          if (event.kind === "partial" || this.#settled) onEvent(event);
        }),
        scope,
      ),
    };
    const leave = () => work.leave();
    attempt.words.then(leave, leave); // a failure is told to whom asks for the words
    return attempt;
  }
}
