/** The voice of a cascade: each clause spoken, its words told where they sound, and another voice when this one fails. */
import { isSpoken, type SpeechEvent, type TextToSpeech, type TtsEvent, type TtsOptions } from "@sluice/conversation";
import { EngineError } from "../http/engine-error.ts";

/** A clause as it is written, and as it is said. */
export interface Clause {
  readonly written: string;
  readonly spoken: string;
}

/** Speaks the clauses of one reply. */
export class Voice {
  readonly #fallback: (failure: unknown) => Promise<TextToSpeech | undefined>;
  readonly #options: TtsOptions;
  #tts: TextToSpeech | undefined; // absent once it failed: a reply keeps the voice that it was given then

  /** `fallback` is told why the voice failed; `undefined`: there was none. */
  constructor(
    tts: TextToSpeech | undefined,
    fallback: (failure: unknown) => Promise<TextToSpeech | undefined>,
    options: TtsOptions,
  ) {
    this.#tts = tts;
    this.#fallback = fallback;
    this.#options = options;
  }

  /** The clause as sound and transcript. */
  async *speak(clause: Clause, signal: AbortSignal): AsyncGenerator<SpeechEvent> {
    if (!isSpoken(clause.spoken)) {
      yield { kind: "transcript", delta: clause.written };
      return;
    }
    let failure: unknown;
    const own = this.#tts;
    if (own) {
      let sounded = false;
      try {
        for await (const event of this.#utter(own, clause, signal)) {
          sounded ||= event.kind === "audio";
          yield event;
        }
        return;
      } catch (error) {
        if (sounded || signal.aborted) throw error;
        failure = error;
      }
    }
    const other = await this.#fallback(failure);
    if (signal.aborted) return;
    if (!other) throw failure ?? noVoice();
    if (this.#tts === own) this.#tts = undefined;
    yield* this.#utter(other, clause, signal);
  }

  async *#utter(tts: TextToSpeech, clause: Clause, signal: AbortSignal): AsyncGenerator<SpeechEvent> {
    const words = new Words(clause);
    let sounded = false;
    for await (const event of tts.speak(once(clause.spoken), this.#options, signal)) {
      const delta = words.take(event);
      // Not before there is sound: what fails is said again by another voice.
      if (event.kind === "audio") {
        sounded = true;
        if (words.due !== "") yield { kind: "transcript", delta: words.give() };
        yield event;
      } else if (delta && sounded) yield { kind: "transcript", delta: words.give() };
    }
    if (signal.aborted) return;
    if (!sounded) throw silent();
    words.end();
    if (words.due !== "") yield { kind: "transcript", delta: words.give() };
  }
}

/** What the transcript is to say next: word by word where the voice tells its words, else the clause with its first sound. */
class Words {
  readonly #written: string;
  readonly #asWritten: boolean;
  #at = 0;
  /** Not given yet. */
  due = "";

  constructor({ written, spoken }: Clause) {
    this.#written = written;
    this.#asWritten = written.trim() === spoken;
  }

  /** Whether something became due. */
  take(event: TtsEvent): boolean {
    const rest = this.#written.slice(this.#at);
    if (rest === "") return false;
    const before = this.due;
    if (event.kind === "word" && this.#asWritten) {
      const lead = rest.length - rest.trimStart().length;
      const size = this.#at === 0 ? lead + event.text.length : event.text.length;
      if (rest.slice(0, size).endsWith(event.text)) this.#advance(size);
    } else if (event.kind === "audio" && this.#at === 0) this.#advance(rest.length);
    return this.due !== before;
  }

  /** Nothing more will be said: the rest is due. */
  end(): void {
    this.#advance(this.#written.length - this.#at);
  }

  give(): string {
    const given = this.due;
    this.due = "";
    return given;
  }

  #advance(size: number): void {
    this.due += this.#written.slice(this.#at, this.#at + size);
    this.#at += size;
  }
}

function silent(): EngineError {
  return new EngineError({ stage: "tts", kind: "empty", message: "the speech synthesis ended without a sound" });
}

function noVoice(): EngineError {
  const message = "there is no speech synthesis: none is configured, and the optional eSpeak NG is not installed";
  return new EngineError({ stage: "tts", kind: "unreachable", message });
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
