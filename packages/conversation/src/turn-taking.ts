/**
 * Whose turn it is. The listener finds utterances in the caller's voice; voice that may be none (over the agent, or a cough in
 * the silence) it holds back until the floor has judged it, and what stays in doubt is for the words to decide. Never reads
 * a clock.
 */
import type { Session } from "@sluice/realtime";
import type { AgentVoice } from "./agent-voice.ts";
import type { Milli } from "./audio.ts";
import type { VoiceWindow } from "./endpointer.ts";
import type { SttEvent } from "./engines.ts";
import { Floor, type FloorCommand, type FloorDecision } from "./floor.ts";
import type { Listener, ListenerEvent, ListenerOptions } from "./listener.ts";
import type { Outbox } from "./outbox.ts";
import { PAUSE_MS } from "./preparation.ts";
import { answersTurns, floorOptions, listenerOptions } from "./settings.ts";

/** What the engines of a conversation can do about its turns. */
export interface TurnTakingOptions {
  /** The engine wants speech while it is spoken (`hear`, `heard`). Default false. */
  readonly listens?: boolean;
  /** There is a turn detector to ask about pauses (`judge`). Default false. */
  readonly detectsEnds?: boolean;
  /** The engine can prepare an answer before the turn is over. Default false. */
  readonly prepares?: boolean;
  /** Silence after which it is asked to, as every utterance begins. Default 96 ms. */
  readonly pauseMs?: (() => Milli) | undefined;
}

/** An answer that the caller has heard for less than this was not waited for: voice then goes on with the caller's turn. */
const CONTINUES_MS = 1000;
/** How long a recogniser is waited for whose words decide whether a sound was a turn. */
const DOUBT_MS = 2000;

/** The turns of one conversation. All that its `listener` says is read here. */
export class TurnTaking {
  readonly #options: TurnTakingOptions;
  readonly #outbox: Outbox;
  readonly #listener: Listener;
  readonly #voice: AgentVoice;
  readonly #floor = new Floor(undefined);
  #settings: ListenerOptions | undefined; // the session's
  #answers = false; // turns are, unasked
  #doubt: { readonly decision: FloorDecision; readonly until: Milli } | undefined; // a recogniser has the last word

  constructor(options: TurnTakingOptions, outbox: Outbox, listener: Listener, voice: AgentVoice) {
    this.#options = options;
    this.#outbox = outbox;
    this.#listener = listener;
    this.#voice = voice;
  }

  configure(session: Session): void {
    this.#settings = listenerOptions(session);
    this.#answers = answersTurns(session);
    this.#listener.configure(this.#listenerOptions());
    this.#floor.configure(floorOptions(session));
  }

  /** Whether an answer is to be prepared while the turn may not be over yet. */
  get preparesAnswers(): boolean {
    return this.#options.prepares === true && this.#answers;
  }

  /** The voice detector's word on a window of audio; `agentSpeaks`: it has, or is about to have, the floor. */
  handleVoice(now: Milli, heard: VoiceWindow, agentSpeaks: boolean): void {
    // Who has the floor keeps it: what comes back of an agent that was cut changes nothing any more.
    const judged = agentSpeaks || !this.#listener.announced;
    const isEcho = this.#voice.isEcho(now, heard, this.#floor.softened, judged);
    const window = isEcho ? withoutVoice(heard) : heard;
    // The first voice may be a cough: clients stop their sound at `speech_started`, so it waits for the decision.
    this.#listener.contested = agentSpeaks ? this.#floor.contestable : this.#floor.dismisses;
    this.#listener.handleVoice(now, window);
    if (this.#listener.contested ? !this.#listener.announced : this.#listener.holds) {
      const continues = this.#voice.answerHeardMs(now) < CONTINUES_MS;
      this.#floor.handleWindow(now, window, agentSpeaks, this.#listener.holds, continues);
    }
  }

  /** An engine that listens understood a little more of an utterance. */
  handleWords(now: Milli, itemId: string, event: SttEvent): void {
    this.#listener.handleWords(itemId, event.text);
    if (this.#listener.holds && this.#listener.words !== undefined) {
      this.#floor.handleWords(now, this.#listener.words);
    }
    if (this.#listener.doubted === itemId) this.#settleDoubt(now, event.text, event.kind === "final");
  }

  /** There will be no words of it. */
  handleHearingFailed(itemId: string): void {
    if (this.#listener.doubted === itemId) this.#dismiss();
  }

  /**
   * A voice is over that nobody has called a turn: with a silent agent, a recogniser that hears words in it does. Answers
   * whether one is to say all that it has heard.
   */
  handleDoubted(now: Milli, agentSpeaks: boolean): boolean {
    const decision = this.#floor.dismissed;
    this.#floor.reset();
    if (agentSpeaks && this.#floor.contestable) this.#listener.dismiss();
    else if (!decision) this.#listener.confirm(now);
    else {
      this.#doubt = { decision, until: now + DOUBT_MS };
      if (!this.#options.listens) this.#dismiss();
      else if (this.#listener.words !== undefined) this.#settleDoubt(now, this.#listener.words, false);
      return this.#options.listens === true;
    }
    return false;
  }

  /** Asks the turn detector about the pause that the caller makes. */
  judge(itemId: string, silenceMs: Milli): void {
    if (!this.#judges) return;
    const input = { audio: this.#listener.spoken, transcript: this.#listener.words, silenceMs };
    this.#outbox.push({ kind: "judge", itemId, input });
  }

  /** The caller's turn was ended or thrown away by the client. */
  reset(): void {
    this.#floor.reset();
  }

  handleTimeout(now: Milli): void {
    this.#floor.handleTimeout(now);
    this.#listener.handleTimeout(now);
    if (this.#doubt && now >= this.#doubt.until) this.#dismiss();
  }

  pollTimeout(): Milli | undefined {
    const first = Math.min(
      this.#listener.pollTimeout() ?? Infinity,
      this.#floor.pollTimeout() ?? Infinity,
      this.#doubt?.until ?? Infinity,
    );
    return first === Infinity ? undefined : first;
  }

  /** What the floor has decided. When it is to be the caller's, what was held back follows at once, by {@link nextEvent}. */
  nextDecision(): FloorCommand | undefined {
    const command = this.#floor.nextCommand();
    if (command?.kind === "take") this.#listener.release(command.onsetMs);
    return command;
  }

  /** What became of the caller's audio. */
  nextEvent(): ListenerEvent | undefined {
    const event = this.#listener.nextEvent();
    if (event?.kind === "started" && this.preparesAnswers && this.#options.pauseMs) {
      this.#listener.configure(this.#listenerOptions()); // pauses are as long as is known by now
    } else if (event?.kind === "stopped") {
      this.#floor.reset(); // what was decided in this turn says nothing of the next voice
    } else if (event?.kind === "dismissed") {
      this.#doubt = undefined;
      if (!event.joined) this.#floor.reset();
    }
    return event;
  }

  get #judges(): boolean {
    return this.#options.detectsEnds === true && this.#settings?.eagerness !== undefined;
  }

  #listenerOptions(): ListenerOptions | undefined {
    const judges = this.#judges;
    if (!this.#settings || !(this.preparesAnswers || judges)) return this.#settings;
    // A turn detector is asked in the same pause, and has learnt from longer ones.
    return { ...this.#settings, pauseMs: judges ? PAUSE_MS : (this.#options.pauseMs?.() ?? PAUSE_MS) };
  }

  #settleDoubt(now: Milli, words: string, final: boolean): void {
    if (words.trim() !== "") {
      this.#doubt = undefined;
      this.#listener.confirm(now);
    } else if (final) this.#dismiss();
  }

  /** It was no turn. */
  #dismiss(): void {
    const doubt = this.#doubt;
    this.#doubt = undefined;
    this.#listener.dismiss();
    if (doubt) this.#outbox.decide(doubt.decision);
  }
}

/** The agent's own voice is none of the caller's. */
function withoutVoice({ mediaMs, durationMs, levels }: VoiceWindow): VoiceWindow {
  return { mediaMs, durationMs, levels, probability: 0 };
}
