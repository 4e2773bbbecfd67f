/** A call in virtual time: the real `Conversation`, a caller who hesitates, an agent, an ear. */
import {
  Conversation,
  type ConversationCommand,
  type Forecast,
  type LinkCapabilities,
  type Utterance,
  type VoiceWindow,
} from "@sluice/conversation";
import { createSession } from "@sluice/realtime";
import type { Agent } from "./agent.ts";
import type { Spoken, Turn } from "./turn.ts";
import type { Appointment, VirtualClock } from "./virtual-clock.ts";
import { Ear } from "./voice.ts";

/** What became of a turn. */
export interface TurnResult {
  /** From the caller's last voiced sample to the first sample of the answer. */
  readonly waitMs: number;
  /** The agent took the turn before the caller had finished. */
  readonly cutIn: boolean;
  /** The answer fell silent in the middle. */
  readonly gaps: number;
}

/** What a call is made with. */
export interface CallOptions {
  readonly clock: VirtualClock;
  readonly agent: Agent;
  readonly turns: readonly Turn[];
  readonly prepares: boolean;
  readonly pauseMs: (() => number) | undefined;
  readonly forecast: Forecast | undefined;
  /** Held back before the first sample, whatever is known. */
  readonly fixedLeadMs: number;
  readonly silenceMs: number;
  readonly onResult: (result: TurnResult) => void;
}

const WINDOW_MS = 32;
const VOICE = [-18, -18, -18, -18];
const QUIET = [-72, -72, -72, -72];
const AUDIO = new Int16Array(WINDOW_MS * 24);
const PIPE: LinkCapabilities = {
  playout: "server",
  leadMs: 0,
  audioInEvents: false,
  reset: false,
  playoutReports: false,
};

/** One call. */
export class VirtualCall {
  readonly #options: CallOptions;
  readonly #conversation: Conversation;
  readonly #ears = new Map<string, Ear>();
  #ids = 0;
  #mediaMs = 0;
  #turn = -1;
  #piece = 0; // of the turn, that is being spoken or was last
  #pieceEndMs = 0; // where it ends in the caller's audio
  #hangoverEndMs = 0;
  #voicedEndAt = 0;
  #finished = false; // the caller has said all of the turn
  #cutIn = false;
  #responseId = ""; // of the newest answer
  #timer: Appointment | undefined;
  #timerAt = Infinity;
  #ticking = false;

  constructor(options: CallOptions) {
    this.#options = options;
    const detection = {
      type: "server_vad",
      threshold: 0.5,
      prefix_padding_ms: 300,
      silence_duration_ms: options.silenceMs,
    };
    const session = createSession({
      id: "sess_1",
      model: "virtual",
      expiresAt: 2_000_000_000,
      defaults: { audio: { input: { turn_detection: { ...detection } } } } as never,
    });
    this.#conversation = new Conversation({
      session,
      capabilities: PIPE,
      listens: true,
      prepares: options.prepares,
      pauseMs: options.pauseMs,
      forecast: options.forecast,
      createId: (prefix) => `${prefix}_${++this.#ids}`,
      expiresAt: Infinity,
      expiresAfterMinutes: 60,
      maxItems: 20,
      maxAudioMs: 1000,
    });
    this.#nextTurn();
  }

  #nextTurn(): void {
    const { clock, turns, agent } = this.#options;
    const index = this.#turn + 1;
    const turn = turns[index];
    if (!turn) {
      if (this.#timer) this.#timer.cancelled = true;
      return;
    }
    clock.after(turn.gapMs, () => {
      this.#turn = index;
      this.#cutIn = false;
      agent.begin(turn);
      this.#piece = -1;
      this.#speakOn();
      if (!this.#ticking) this.#tick();
    });
  }

  get #spoken(): readonly Spoken[] {
    return this.#options.turns[this.#turn]!.spoken;
  }

  #speakOn(): void {
    this.#piece += 1;
    const piece = this.#spoken[this.#piece]!;
    this.#pieceEndMs = this.#mediaMs + piece.voicedMs;
    this.#hangoverEndMs = this.#pieceEndMs + this.#options.turns[this.#turn]!.hangoverMs();
    this.#voicedEndAt = this.#options.clock.now + piece.voicedMs;
    this.#finished = this.#piece === this.#spoken.length - 1;
    if (!this.#finished) this.#options.clock.after(piece.voicedMs + piece.pauseMs, () => this.#speakOn());
  }

  /** One window of the microphone, when its last sample is here. */
  #tick(): void {
    this.#ticking = true;
    this.#options.clock.after(WINDOW_MS, () => {
      const startMs = this.#mediaMs;
      this.#mediaMs += WINDOW_MS;
      const { now } = this.#options.clock;
      this.#conversation.handleArrival(now, this.#mediaMs);
      this.#conversation.handleAudio(now, { pcm: AUDIO, mediaMs: startMs, origin: "received" });
      this.#conversation.handleVoice(now, this.#window(startMs));
      this.#settle();
      // After an answer began nothing is left to decide until the caller speaks again.
      const quiet = this.#finished && startMs > this.#pieceEndMs + this.#options.silenceMs + 500;
      if (quiet)
        this.#ticking = false; // the microphone runs on; silence is passed over
      else this.#tick();
    });
  }

  #window(startMs: number): VoiceWindow {
    if (this.#isBreak(startMs)) return { mediaMs: startMs, durationMs: WINDOW_MS, probability: 0.9, levels: QUIET };
    const voicedMs = this.#pieceEndMs - startMs; // of this window, what is before the end of the voice
    const voiced = voicedMs >= WINDOW_MS / 2;
    const probable = voiced || startMs + WINDOW_MS / 2 < this.#hangoverEndMs;
    const levels =
      voicedMs >= WINDOW_MS ? VOICE : voicedMs <= 0 ? QUIET : VOICE.map((_, part) => (voicedMs > part * 8 ? -18 : -72));
    return { mediaMs: startMs, durationMs: WINDOW_MS, probability: probable ? 0.9 : 0.02, levels };
  }

  /** In a break the detector still says voice, as it lags; the level does not. */
  #isBreak(startMs: number): boolean {
    const piece = this.#spoken[this.#piece]!;
    const at = startMs - (this.#pieceEndMs - piece.voicedMs);
    return piece.breaks.some(({ atMs, ms }) => at >= atMs && at + WINDOW_MS <= atMs + ms + WINDOW_MS / 2);
  }

  #settle(): void {
    const conversation = this.#conversation;
    for (let command = conversation.nextCommand(); command; command = conversation.nextCommand())
      this.#carryOut(command);
    const at = conversation.pollTimeout();
    if (at === undefined || at === this.#timerAt) return;
    if (this.#timer) this.#timer.cancelled = true;
    this.#timerAt = at;
    if (at === Infinity) return;
    this.#timer = this.#options.clock.after(at - this.#options.clock.now, () => {
      this.#timerAt = Infinity;
      this.#conversation.handleTimeout(this.#options.clock.now);
      this.#settle();
    });
  }

  #carryOut(command: ConversationCommand): void {
    const { agent } = this.#options;
    switch (command.kind) {
      case "prepare":
        agent.prepare(this.#words(), command.request.sinceSpeechMs ?? 0);
        return;
      case "unprepare":
        agent.unprepare();
        return;
      case "respond":
        this.#respond(command.responseId);
        return;
      case "abort":
        agent.abort();
        return;
      case "play":
        this.#play(command.utterance, command.pcm);
        return;
      case "endUtterance":
        this.#endUtterance(command.utterance);
        return;
      case "flush":
        this.#ears.clear();
        return;
      default:
    }
  }

  /** What has been said by now. */
  #words(): string {
    return this.#spoken[this.#piece]!.words;
  }

  #respond(responseId: string): void {
    this.#responseId = responseId;
    if (!this.#finished) this.#cutIn = true;
    this.#options.agent.respond(this.#words(), {
      onEvent: (event) => {
        this.#conversation.handleEngine(this.#options.clock.now, responseId, event);
        this.#settle();
      },
      onEnd: () => {
        this.#conversation.handleEngineEnded(this.#options.clock.now, responseId);
        this.#settle();
      },
    });
  }

  #play(utterance: Utterance, pcm: Int16Array): void {
    const { clock, fixedLeadMs } = this.#options;
    let ear = this.#ears.get(utterance.responseId);
    if (!ear) {
      ear = new Ear(fixedLeadMs);
      this.#ears.set(utterance.responseId, ear);
      clock.after(fixedLeadMs, () => {
        this.#conversation.handleSent(clock.now, utterance, 20, undefined);
        this.#settle();
      });
    }
    ear.play(clock.now, pcm);
  }

  /** An answer was heard to its end: the turn's, unless the caller goes on, or is being answered anew. */
  #conclude(responseId: string, ear: Ear): void {
    const { clock, silenceMs, onResult } = this.#options;
    if (!this.#finished || responseId !== this.#responseId) return;
    const startedAt = ear.startedAt ?? clock.now;
    // What was said over an answer may be a turn of its own, or a hum: that is known a moment later.
    const judgedMs = startedAt < this.#voicedEndAt ? this.#voicedEndAt + silenceMs + 1000 - clock.now : 0;
    if (judgedMs > 0) return void clock.after(judgedMs, () => this.#conclude(responseId, ear));
    onResult({ waitMs: Math.max(0, startedAt - this.#voicedEndAt), cutIn: this.#cutIn, gaps: ear.gaps });
    this.#nextTurn();
  }

  #endUtterance(utterance: Utterance): void {
    const { clock } = this.#options;
    const ear = this.#ears.get(utterance.responseId);
    if (!ear?.startedAt) return;
    clock.after(ear.endsAt - clock.now, () => {
      if (!this.#ears.delete(utterance.responseId)) return; // it was interrupted
      this.#conversation.handleUtteranceEnded(clock.now, utterance);
      this.#settle();
      this.#conclude(utterance.responseId, ear);
    });
  }
}
