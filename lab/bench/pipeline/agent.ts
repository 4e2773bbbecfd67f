/** Two agents in virtual time: Sluice's own cascade, decided by the classes that decide it in production, and a fixed one. */
import { Answer, type AnswerCommand, cutsOf, type Pcm, type Pipeline, type SpeechEvent } from "@sluice/conversation";
import type { Turn } from "./turn.ts";
import type { Appointment, VirtualClock } from "./virtual-clock.ts";
import type { VirtualVoice } from "./voice.ts";

/** What an agent gives, and when. */
export interface Listener {
  onEvent(event: SpeechEvent): void;
  onEnd(): void;
}

/** An agent of one call, as the call's shell sees it. */
export interface Agent {
  /** The caller's words so far, and what this turn's engines will take. */
  begin(turn: Turn): void;
  /** The turn is probably over: `words` so far, the last of which ended `sinceSpeechMs` ago. */
  prepare(words: string, sinceSpeechMs: number): void;
  unprepare(): void;
  respond(words: string, listener: Listener): void;
  abort(): void;
}

/** What agents are made of. */
export interface AgentOptions {
  readonly clock: VirtualClock;
  readonly voice: VirtualVoice;
  readonly pipeline: Pipeline;
  /** Whether there is a second model. */
  readonly hedges: boolean;
  /** Counts what recognition was asked for. */
  readonly onRecognise: () => void;
  /** Counts what the first model was asked for. */
  readonly onGenerate: () => void;
}

/** Sluice's: `Answer` decides, this carries out, as `cascade-reply.ts` does with real engines. */
export class SluiceAgent implements Agent {
  readonly #options: AgentOptions;
  readonly #runs = new Map<number, Run>();
  #turn: Turn | undefined;
  #answer: Answer | undefined;
  #listener: Listener | undefined;
  #adopted: number | undefined;
  #words: Appointment | undefined;
  #partial: Appointment | undefined;
  #timer: Appointment | undefined;
  #prepared = false;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  begin(turn: Turn): void {
    this.#turn = turn;
  }

  prepare(words: string, sinceSpeechMs: number): void {
    this.#close();
    this.#open(words, sinceSpeechMs);
    this.#prepared = true;
  }

  unprepare(): void {
    if (!this.#prepared) return;
    this.#options.pipeline.hearing.handleMiss(1);
    this.#close();
  }

  respond(words: string, listener: Listener): void {
    // What was said in the pause is all that was said: a caller who goes on takes the preparation back.
    if (!this.#prepared) this.#open(words, undefined);
    this.#prepared = false;
    this.#options.pipeline.hearing.handleHit();
    this.#listener = listener;
    this.#answer!.handleCommitted(this.#options.clock.now);
    this.#settle();
  }

  abort(): void {
    this.#close();
  }

  /** Recognition is told that the utterance is over; its words ask the model. */
  #open(words: string, sinceSpeechMs: number | undefined): void {
    const { clock, pipeline, hedges, onRecognise } = this.#options;
    const { forecasts, eager, hedge, hedgeAt, hearing } = pipeline;
    this.#answer = new Answer({
      model: forecasts.of("llm"),
      voice: forecasts.of("tts"),
      ears: forecasts.of("stt"),
      sinceSpeechMs,
      eager,
      ...(hedges && { hedge, hedgeAt, second: forecasts.of("second llm") }),
    });
    onRecognise();
    hearing.handleSpent(1);
    const turn = this.#turn!;
    if (turn.secondSttMs) onRecognise();
    const firstMs = turn.sttMs(sinceSpeechMs ?? Infinity);
    const tookMs = Math.min(firstMs, turn.secondSttMs?.(sinceSpeechMs ?? Infinity) ?? Infinity);
    const partialMs = sinceSpeechMs === undefined ? undefined : this.#turn!.partialMs();
    if (partialMs !== undefined && sinceSpeechMs !== undefined) {
      const answer = this.#answer;
      // Until then a partial transcript lacks the last word.
      answer.handlePartial(clock.now, words.split(" ").slice(0, -1).join(" "));
      this.#partial = clock.after(partialMs - sinceSpeechMs, () => {
        answer.handlePartial(clock.now, words);
        this.#settle();
      });
    }
    this.#words = clock.after(tookMs, () => {
      forecasts.of("stt").record(clock.now, "sttFinal", tookMs);
      this.#answer!.handleWords(clock.now, words);
      this.#settle();
    });
  }

  #close(): void {
    if (this.#words) this.#words.cancelled = true;
    if (this.#partial) this.#partial.cancelled = true;
    if (this.#timer) this.#timer.cancelled = true;
    this.#answer?.handleClosed(this.#options.clock.now);
    for (const run of this.#runs.values()) run.stop();
    this.#runs.clear();
    this.#answer = undefined;
    this.#listener = undefined;
    this.#adopted = undefined;
    this.#prepared = false;
  }

  #settle(): void {
    const answer = this.#answer;
    if (!answer) return;
    const { clock } = this.#options;
    for (let command = answer.nextCommand(clock.now); command; command = answer.nextCommand(clock.now)) {
      this.#carryOut(answer, command);
      if (this.#answer !== answer) return;
    }
    if (this.#timer) this.#timer.cancelled = true;
    const at = answer.pollTimeout();
    this.#timer = at === undefined ? undefined : clock.after(Math.ceil(at - clock.now), () => this.#settle());
  }

  #carryOut(answer: Answer, command: AnswerCommand): void {
    const run = this.#runs.get(command.run);
    switch (command.kind) {
      case "generate":
        this.#generate(answer, command.run, command.second);
        return;
      case "abandon":
        run?.stop();
        this.#runs.delete(command.run);
        return;
      case "speak":
        if (run) this.#speak(answer, run, command);
        return;
      case "adopt":
        this.#adopted = command.run;
        for (const pcm of run?.held.splice(0) ?? []) this.#listener?.onEvent({ kind: "audio", pcm });
        return;
      case "done": {
        const listener = this.#listener;
        this.#close();
        listener?.onEnd();
      }
    }
  }

  #generate(answer: Answer, id: number, second: boolean): void {
    const turn = this.#turn!;
    const run = new Run();
    this.#runs.set(id, run);
    if (!second) this.#options.onGenerate();
    const words = turn.reply.match(/\s*\S+/g) ?? [];
    const say = (at: number) => {
      const word = words[at];
      const { now } = this.#options.clock;
      if (word === undefined) answer.handleTextEnd(now, id);
      else answer.handleText(now, id, word);
      this.#settle();
      if (word !== undefined && run.alive) {
        run.pending = this.#options.clock.after(at + 1 < words.length ? turn.wordMs() : 0, () => say(at + 1));
      }
    };
    run.pending = this.#options.clock.after(second ? turn.secondFirstTokenMs() : turn.firstTokenMs(), () => say(0));
  }

  /** Clauses are made side by side and given in order. */
  #speak(answer: Answer, run: Run, { clause, written }: Extract<AnswerCommand, { kind: "speak" }>): void {
    const { clock, voice } = this.#options;
    const speech = run.queue(clause);
    const drain = () => {
      for (const pcm of run.ready()) {
        if (this.#adopted !== undefined && this.#runs.get(this.#adopted) === run) {
          this.#listener?.onEvent({ kind: "audio", pcm });
        } else run.held.push(pcm);
      }
    };
    const stop = voice.speak(
      this.#turn!,
      written,
      (pcm) => {
        answer.handleSpeech(clock.now, clause, pcm.length / 24);
        speech.pieces.push(pcm);
        drain();
      },
      () => {
        speech.ended = true;
        drain();
        answer.handleClauseEnd(clock.now, clause);
        this.#settle();
      },
    );
    run.stops.push(stop);
  }
}

/** What a request to the model has come to. */
class Run {
  readonly held: Pcm[] = [];
  readonly stops: (() => void)[] = [];
  readonly #clauses: { readonly id: number; readonly pieces: Pcm[]; ended: boolean }[] = [];
  pending: Appointment | undefined;
  alive = true;

  queue(id: number) {
    const clause = { id, pieces: [], ended: false };
    this.#clauses.push(clause);
    return clause as { readonly pieces: Pcm[]; ended: boolean };
  }

  /** Speech whose turn it is. */
  ready(): Pcm[] {
    const ready: Pcm[] = [];
    for (let head = this.#clauses[0]; head; head = this.#clauses[0]) {
      ready.push(...head.pieces.splice(0));
      if (!head.ended) break;
      this.#clauses.shift();
    }
    return ready;
  }

  stop(): void {
    this.alive = false;
    if (this.pending) this.pending.cancelled = true;
    for (const stop of this.stops) stop();
  }
}

/** The usual: all in a row, whole sentences, nothing before the turn is over; two sentences made at a time. */
export class FixedAgent implements Agent {
  readonly #options: AgentOptions;
  #turn: Turn | undefined;
  #run: Run | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  begin(turn: Turn): void {
    this.#turn = turn;
  }

  prepare(): void {}

  unprepare(): void {}

  respond(_words: string, listener: Listener): void {
    const { clock, onRecognise } = this.#options;
    const turn = this.#turn!;
    const run = new Run();
    this.#run = run;
    onRecognise();
    const words = turn.reply.match(/\s*\S+/g) ?? [];
    let held = "";
    let written = false;
    let speaking = 0;
    const waiting: string[] = [];
    const next = () => {
      while (speaking < 2 && waiting.length > 0) {
        speaking += 1;
        const speech = run.queue(0);
        const drain = () => {
          for (const pcm of run.ready()) listener.onEvent({ kind: "audio", pcm });
        };
        const stop = this.#options.voice.speak(
          turn,
          waiting.shift()!,
          (pcm) => {
            speech.pieces.push(pcm);
            drain();
          },
          () => {
            speaking -= 1;
            speech.ended = true;
            drain();
            next();
          },
        );
        run.stops.push(stop);
      }
      if (written && speaking === 0 && waiting.length === 0) listener.onEnd();
    };
    const say = (at: number) => {
      const word = words[at];
      held += word ?? "";
      const cut = cutsOf(held, word === undefined).find(({ kind }) => kind === "sentence")?.end;
      const end = word === undefined ? held.length : cut;
      if (end) waiting.push(held.slice(0, end));
      if (end) held = held.slice(end);
      written = word === undefined;
      next();
      if (word !== undefined) run.pending = clock.after(at + 1 < words.length ? turn.wordMs() : 0, () => say(at + 1));
    };
    run.pending = clock.after(turn.sttMs(Infinity) + turn.firstTokenMs(), () => say(0));
  }

  abort(): void {
    this.#run?.stop();
    this.#run = undefined;
  }
}
