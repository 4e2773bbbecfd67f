/** Carries out what an {@link Answer} decides: asks models, speaks clauses, and gives out in order what counts. */
import {
  Answer,
  type AnswerCommand,
  type AnswerOptions,
  durationMs,
  type LanguageModel,
  type LlmRequest,
  type SpeechEvent,
} from "@sluice/conversation";
import { Channel, LEFT, untilAborted } from "../channel.ts";
import type { Speakable } from "./cascade-speakable.ts";
import type { Voice } from "./cascade-voice.ts";

/** What a reply is made of. */
export interface ReplyOptions extends AnswerOptions {
  readonly llm: LanguageModel;
  /** Asked when the first is late, or fails before its first word. */
  readonly secondLlm: LanguageModel | undefined;
  /** What to ask for `words`; `undefined`: as it stands. */
  readonly ask: (words: string | undefined) => LlmRequest;
  readonly createVoice: () => { readonly voice: Voice; readonly speakable: Speakable };
  readonly signal: AbortSignal;
}

interface Run {
  readonly abort: AbortController;
  readonly signal: AbortSignal;
  /** All that it gives, in order; read once it counts. */
  readonly events: Channel<SpeechEvent>;
  /** Its clauses, each as it is spoken. */
  readonly clauses: Channel<Channel<SpeechEvent>>;
  readonly spoken: Promise<void>;
  readonly voice: Voice;
  readonly speakable: Speakable;
  /** A clause was taken. */
  begun: boolean;
  /** Settles when the model has said all; with its error. */
  read: Promise<unknown>;
}

/** A reply that may have begun before it is wanted. */
export class Reply {
  readonly #options: ReplyOptions;
  readonly #answer: Answer;
  readonly #runs = new Map<number, Run>();
  readonly #output = new Channel<SpeechEvent>();
  readonly #scope: AbortController;
  #adopted: Run | undefined;
  #timer: NodeJS.Timeout | undefined;
  #turning = false;

  constructor(options: ReplyOptions) {
    this.#options = options;
    this.#answer = new Answer(options);
    this.#scope = new AbortController();
    options.signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** What it gives, once the turn is over. */
  get events(): AsyncIterable<SpeechEvent> {
    return this.#output;
  }

  /** What the caller said, or probably did. */
  handlePartial(words: string): void {
    this.#answer.handlePartial(performance.now(), words);
    this.#settle();
  }

  /** What the caller said. */
  handleWords(words: string | undefined): void {
    this.#answer.handleWords(performance.now(), words);
    this.#settle();
  }

  /** This is to be answered. */
  commit(): void {
    this.#answer.handleCommitted(performance.now());
    this.#settle();
  }

  /** Nothing more of it is wanted. */
  close(): void {
    if (this.#scope.signal.aborted) return;
    this.#options.signal.removeEventListener("abort", this.#onAbort);
    this.#answer.handleClosed(performance.now());
    this.#scope.abort(LEFT);
    clearTimeout(this.#timer);
    this.#output.end();
    for (const run of this.#runs.values()) run.abort.abort(LEFT);
    this.#runs.clear();
  }

  readonly #onAbort = (): void => this.close();

  /** One input, then all commands, then the timer. */
  #settle(): void {
    if (this.#scope.signal.aborted) return;
    const now = performance.now();
    for (let command = this.#answer.nextCommand(now); command; command = this.#answer.nextCommand(now)) {
      this.#carryOut(command);
      if (this.#scope.signal.aborted) return;
    }
    clearTimeout(this.#timer);
    const at = this.#answer.pollTimeout();
    if (at !== undefined) this.#timer = setTimeout(() => this.#settle(), Math.max(0, Math.ceil(at - now)));
  }

  /**
   * Words that come in one go are taken in one go: clauses are cut from all that is there. A tick comes once every promise
   * of this moment has run, and before anything else of the process does; a turn of the event loop would be everybody's.
   */
  #settleSoon(): void {
    if (this.#turning) return;
    this.#turning = true;
    process.nextTick(() => {
      this.#turning = false;
      this.#settle();
    });
  }

  #carryOut(command: AnswerCommand): void {
    const run = this.#runs.get(command.run);
    switch (command.kind) {
      case "generate":
        this.#generate(command.run, command.words, command.second);
        return;
      case "abandon":
        this.#runs.delete(command.run);
        run?.abort.abort(LEFT);
        run?.clauses.end();
        return;
      case "speak":
        if (run) this.#speak(run, command.clause, command.written);
        return;
      case "adopt":
        if (run) this.#give(run);
        return;
      case "done":
        run?.clauses.end();
        // A model that breaks off has had its words said; then it has failed.
        if (run) void run.spoken.then(async () => run.events.end(await run.read));
    }
  }

  #generate(id: number, words: string | undefined, second: boolean): void {
    const { llm, secondLlm = llm, ask, createVoice } = this.#options;
    const abort = new AbortController();
    const { signal } = abort; // all that is in the map ends with the reply, all that leaves it then
    const events = new Channel<SpeechEvent>();
    const clauses = new Channel<Channel<SpeechEvent>>();
    const spoken = (async () => {
      for await (const clause of clauses) for await (const event of clause) events.push(event);
    })().catch((error: unknown) => events.end(error)); // when the voice fails, nothing is worth waiting for
    const run: Run = {
      abort,
      signal,
      events,
      clauses,
      spoken,
      begun: false,
      read: Promise.resolve(),
      ...createVoice(),
    };
    this.#runs.set(id, run);
    run.read = this.#read(id, run, second ? secondLlm : llm, ask(words)).then(
      () => {
        this.#answer.handleTextEnd(performance.now(), id);
        this.#settleSoon();
        return undefined;
      },
      (error: unknown) => {
        this.#answer.handleTextEnd(performance.now(), id, true);
        this.#settleSoon();
        return error;
      },
    );
  }

  async #read(id: number, run: Run, llm: LanguageModel, request: LlmRequest): Promise<void> {
    const { spoken = true } = this.#options;
    let begun = false;
    for await (const event of untilAborted(llm.generate(request, run.signal), run.signal)) {
      if (run.signal.aborted) return;
      if (!begun && (event.kind === "text" || event.kind === "toolCall")) {
        begun = true;
        run.events.push({ kind: "reached", mark: "token" });
      }
      switch (event.kind) {
        case "text":
          this.#answer.handleText(performance.now(), id, event.delta);
          if (!spoken) run.events.push(event);
          this.#settleSoon();
          break;
        case "toolCall":
          this.#answer.handleText(performance.now(), id);
          run.events.push(event);
          this.#settleSoon();
          break;
        case "usage":
          run.events.push(event);
          break;
        case "done":
          if (event.reason === "length") run.events.push({ kind: "cutShort", reason: "maxOutputTokens" });
          if (event.reason === "contentFilter") run.events.push({ kind: "cutShort", reason: "contentFilter" });
          // Only the usage may follow: the voice need not wait for it.
          this.#answer.handleTextEnd(performance.now(), id);
          this.#settleSoon();
      }
    }
  }

  #speak(run: Run, clause: number, written: string): void {
    if (!run.begun) {
      run.begun = true;
      run.events.push({ kind: "reached", mark: "clause" });
    }
    const output = new Channel<SpeechEvent>();
    run.clauses.push(output);
    const say = async () => {
      const spoken = run.speakable.take(written);
      for await (const event of untilAborted(run.voice.speak({ written, spoken }, run.signal), run.signal)) {
        if (event.kind === "audio") this.#answer.handleSpeech(performance.now(), clause, durationMs(event.pcm));
        output.push(event);
      }
    };
    say()
      .then(
        () => output.end(),
        (error: unknown) => output.end(error),
      )
      .then(() => {
        this.#answer.handleClauseEnd(performance.now(), clause);
        this.#settle();
      });
  }

  /** From now on it is this run that is heard; before it, none was. */
  #give(run: Run): void {
    this.#adopted = run;
    const pass = async () => {
      for await (const event of run.events) {
        if (this.#adopted !== run) return;
        this.#output.push(event);
      }
    };
    pass().then(
      () => {
        if (this.#adopted === run) this.#output.end();
      },
      (error: unknown) => {
        if (this.#adopted === run) this.#output.end(error);
      },
    );
  }
}
