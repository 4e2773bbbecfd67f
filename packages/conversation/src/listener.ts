/** The caller's side of a conversation: from audio and voice probabilities to committed utterances. Never reads a clock. */
import type { Milli, Pcm } from "./audio.ts";
import { Endpointer, type VoiceWindow } from "./endpointer.ts";
import { type FrameCounts, InputBuffer } from "./input-buffer.ts";
import type { OrderedAudio } from "./link.ts";
import { type Eagerness, TurnEnd } from "./turn-end.ts";

/** How turns are found in the caller's audio; `undefined`: the client says when. */
export interface ListenerOptions {
  readonly threshold: number;
  readonly prefixMs: Milli;
  /** What ends a turn; with `eagerness` only where nothing is known of the pause. */
  readonly silenceMs: Milli;
  /** Each pause is judged by itself (`semantic_vad`). Default: not. */
  readonly eagerness?: Eagerness;
  /** BCP 47 language of the caller. */
  readonly language?: string | undefined;
  /** Silence after which an answer may be prepared. Default: never. */
  readonly pauseMs?: Milli | undefined;
}

/** What the caller said in one go, and when. */
export interface CallerUtterance {
  readonly itemId: string;
  readonly pcm: Pcm;
  /** Bounds of the voice in `pcm`. */
  readonly voicedStartMs: Milli;
  readonly voicedEndMs: Milli;
  readonly frames: FrameCounts;
  /** When the last voiced sample reached us. */
  readonly arrivedAt: Milli;
  /** The silence that was waited for on purpose. */
  readonly silenceMs: Milli;
}

/** What became of the caller's audio. `…Ms` are places in the caller's audio since the session began. */
export type ListenerEvent =
  | { readonly kind: "started"; readonly itemId: string; readonly audioStartMs: Milli }
  /** The next audio of an utterance under way, from its start. */
  | { readonly kind: "speech"; readonly itemId: string; readonly pcm: Pcm }
  /** The utterance is probably over; and goes on after all. */
  | { readonly kind: "paused"; readonly itemId: string; readonly silenceMs: Milli }
  | { readonly kind: "resumed"; readonly itemId: string }
  | { readonly kind: "stopped"; readonly itemId: string; readonly audioEndMs: Milli }
  /** What was held back is over, and nobody released it: it waits for {@link Listener.confirm} or {@link Listener.dismiss}. */
  | { readonly kind: "doubted"; readonly itemId: string }
  /** It was nothing to speak of: `speech` under this id is void. `joined`: it is the beginning of the next utterance. */
  | { readonly kind: "dismissed"; readonly itemId: string; readonly joined: boolean }
  | { readonly kind: "committed"; readonly utterance: CallerUtterance }
  | { readonly kind: "overflow"; readonly lostMs: Milli };

/** Audio held for a push-to-talk client, and the longest utterance. */
const LONGEST_UTTERANCE_MS = 300_000;
/** How long a committed turn waits for audio that is still being repaired. */
const REPAIR_WAIT_MS = 200;
/** Arrival times kept: enough for the longest silence a client may ask for. */
const ARRIVALS = 1024;

/** What was held back to its end. */
interface Doubted {
  readonly itemId: string;
  readonly startMs: Milli;
  readonly voicedStartMs: Milli;
  readonly voicedEndMs: Milli;
  readonly silenceMs: Milli;
}

interface PendingCommit {
  readonly itemId: string;
  readonly startMs: Milli;
  readonly endMs: Milli;
  readonly voicedStartMs: Milli;
  readonly voicedEndMs: Milli;
  readonly silenceMs: Milli;
  readonly deadline: Milli;
}

/** Listens to one caller. */
export class Listener {
  readonly #createItemId: () => string;
  readonly #tellsSpeech: boolean;
  readonly #endpointer: Endpointer;
  readonly #turnEnd = new TurnEnd();
  readonly #buffer = new InputBuffer(LONGEST_UTTERANCE_MS);
  readonly #events: ListenerEvent[] = [];
  readonly #arrivals: { endMs: Milli; at: Milli }[] = [];
  #options: ListenerOptions | undefined;
  #itemId: string | undefined;
  #voicedFromMs: Milli = 0; // where its voice does, at the earliest
  #startMs: Milli = 0; // where the utterance under way begins, prefix included
  #committedMs: Milli = 0; // audio before this belongs to earlier utterances
  #pending: PendingCommit | undefined;
  #overflowMs: Milli = 0;
  #silenceMs: Milli;
  #held = false; // the utterance under way is not announced yet
  #heldPauseMs: Milli | undefined; // the pause that it makes
  #doubted: Doubted | undefined;
  #words: { readonly itemId: string; readonly text: string } | undefined;

  /** `tellsSpeech`: somebody wants utterances piece by piece (`speech`). Default false. */
  constructor(options: ListenerOptions | undefined, createItemId: () => string, tellsSpeech = false) {
    this.#options = options;
    this.#silenceMs = options?.silenceMs ?? 0;
    this.#tellsSpeech = tellsSpeech;
    this.#createItemId = createItemId;
    this.#endpointer = new Endpointer(options ?? { threshold: 0.5, silenceMs: 500 });
  }

  configure(options: ListenerOptions | undefined): void {
    this.#options = options;
    this.#silenceMs = options?.silenceMs ?? 0;
    if (options) return this.#endpointer.configure(options);
    this.#endpointer.reset();
    this.#dropDoubted();
    if (!this.#held || this.#itemId === undefined) return;
    const itemId = this.#itemId;
    this.#turnEnd.reset();
    this.#itemId = undefined;
    this.#held = false;
    this.#events.push({ kind: "dismissed", itemId, joined: false });
  }

  /** Whether voice probabilities are wanted. */
  get detectsTurns(): boolean {
    return this.#options !== undefined;
  }

  /** Whether voice that begins now is held back until {@link Listener.release}: it may be no turn. */
  contested = false;

  /** Whether there is voice under way that is held back. */
  get holds(): boolean {
    return this.#held;
  }

  /** Whether there is an utterance under way that was announced. */
  get announced(): boolean {
    return this.#itemId !== undefined && !this.#held;
  }

  /** What was held back is a turn, which began at `onsetMs`; `undefined`: all of it is. */
  release(onsetMs: Milli | undefined): void {
    if (!this.#held || this.#itemId === undefined) return;
    this.#held = false;
    if (onsetMs !== undefined) {
      this.#startMs = Math.max(this.#startMs, onsetMs - (this.#options?.prefixMs ?? 0));
      this.#voicedFromMs = onsetMs;
    }
    this.#events.push({ kind: "started", itemId: this.#itemId, audioStartMs: this.#startMs });
    const silenceMs = this.#heldPauseMs;
    this.#heldPauseMs = undefined;
    if (silenceMs !== undefined) this.#events.push({ kind: "paused", itemId: this.#itemId, silenceMs });
  }

  /** What was held back to its end is a turn after all. */
  confirm(now: Milli): void {
    const doubted = this.#doubted;
    if (!doubted) return;
    this.#doubted = undefined;
    this.#events.push({ kind: "started", itemId: doubted.itemId, audioStartMs: doubted.startMs });
    this.#end(now, doubted);
  }

  /** It is none: no later utterance begins with it. */
  dismiss(): void {
    const doubted = this.#doubted;
    if (!doubted) return;
    this.#doubted = undefined;
    this.#committedMs = Math.max(this.#committedMs, doubted.voicedEndMs);
    this.#events.push({ kind: "dismissed", itemId: doubted.itemId, joined: false });
  }

  /** What was held back to its end, and is not judged yet. */
  get doubted(): string | undefined {
    return this.#doubted?.itemId;
  }

  /** Whether the caller is speaking now. */
  get speaking(): boolean {
    return this.#endpointer.speaking;
  }

  /** Audio up to `endMs` of the caller's audio came off the wire at `now`. */
  handleArrival(now: Milli, endMs: Milli): void {
    if (endMs <= (this.#arrivals.at(-1)?.endMs ?? -1)) return;
    this.#arrivals.push({ endMs, at: now });
    if (this.#arrivals.length > ARRIVALS) this.#arrivals.shift();
  }

  handleVoice(now: Milli, window: VoiceWindow): void {
    if (!this.#options) return;
    if (this.speaking && this.#options.eagerness) {
      this.#turnEnd.handleWindow(window, window.probability >= this.#options.threshold);
      this.#judgePause();
    }
    this.#endpointer.handleWindow(now, window, this.#arrivals.at(-1)?.endMs);
    this.#drain(now);
  }

  /** A turn detector's probability that the utterance under way is over. */
  handleTurnEnd(now: Milli, itemId: string, probability: number): void {
    if (itemId !== this.#itemId) return;
    this.#turnEnd.handleModel(probability);
    this.#judgePause();
    this.handleTimeout(now);
  }

  /** The silence that the turn under way waits for. */
  get silenceMs(): Milli {
    return this.#silenceMs;
  }

  /** How long this pause has to be depends on what was said, and how. */
  #judgePause(): void {
    const options = this.#options;
    if (!options) return;
    const { eagerness, language } = options;
    this.#silenceMs = eagerness ? this.#turnEnd.silenceMs(eagerness, this.words, language) : options.silenceMs;
    if (eagerness) this.#endpointer.configure({ ...options, silenceMs: this.#silenceMs });
  }

  handleAudio(now: Milli, { pcm, mediaMs, origin }: OrderedAudio): void {
    this.#buffer.append(pcm, mediaMs, origin);
    const itemId = this.#tellsSpeech ? (this.#itemId ?? this.#pending?.itemId) : undefined;
    if (itemId !== undefined) this.#events.push({ kind: "speech", itemId, pcm });
    if (this.#options && !this.speaking && !this.#pending && !this.#doubted) {
      // Voice is noticed after it began: keep what the prefix may need, and the detector's own delay.
      this.#buffer.forgetBefore(this.#buffer.endMs - this.#options.prefixMs - 1000);
    }
    if (this.#buffer.droppedMs > this.#overflowMs) this.#reportOverflow();
    this.#finishCommit(now);
  }

  /** An engine that listens has understood this much of the utterance under way. */
  handleWords(itemId: string, text: string): void {
    if (itemId === this.#doubted?.itemId) this.#words = { itemId, text };
    if (itemId !== this.#itemId) return;
    this.#words = { itemId, text };
    this.#judgePause();
  }

  /** What an engine has understood of the utterance under way; `undefined` before it said anything. */
  get words(): string | undefined {
    const itemId = this.#itemId ?? this.#doubted?.itemId;
    return this.#words && this.#words.itemId === itemId ? this.#words.text : undefined;
  }

  handleTimeout(now: Milli): void {
    this.#endpointer.handleTimeout(now);
    this.#drain(now);
    this.#finishCommit(now);
  }

  pollTimeout(): Milli | undefined {
    const timeouts = [this.#options && this.#endpointer.pollTimeout(), this.#pending?.deadline];
    return timeouts.reduce(
      (first, one) => (one === undefined || (first !== undefined && first < one) ? first : one),
      undefined,
    );
  }

  nextEvent(): ListenerEvent | undefined {
    return this.#events.shift();
  }

  /** Where the caller's audio ends, since the session began. */
  get endMs(): Milli {
    return this.#buffer.endMs;
  }

  /** Where the audio begins that is in no utterance yet: of silence, only its last second. */
  get openFromMs(): Milli {
    const fromMs = this.#pending?.startMs ?? this.#doubted?.startMs ?? this.#uncommittedFrom();
    const between = this.#itemId === undefined && !this.#pending && !this.#doubted && !this.#endpointer.speaking;
    const quiet = this.#options && between;
    return quiet ? Math.max(fromMs, this.#buffer.endMs - 1000) : fromMs;
  }

  /** Audio that a commit would take now. */
  get bufferedMs(): Milli {
    return Math.max(0, this.#buffer.endMs - this.#uncommittedFrom());
  }

  /** The client ends the utterance. */
  commit(now: Milli): void {
    const startMs = this.#uncommittedFrom();
    const endMs = this.#buffer.endMs;
    const itemId = this.#itemId ?? this.#createItemId();
    this.#endpointer.reset();
    this.#dropDoubted();
    const slice = this.#buffer.slice(startMs, endMs);
    const voiced = voicedBounds(slice.pcm);
    this.#itemId = undefined;
    this.#held = false;
    this.#pending = {
      itemId,
      startMs,
      endMs,
      voicedStartMs: startMs + voiced.startMs,
      voicedEndMs: startMs + voiced.endMs,
      silenceMs: 0,
      deadline: now,
    };
    this.#finishCommit(now);
  }

  /** The audio of the utterance under way, as far as it is here. */
  get spoken(): Pcm {
    return this.#buffer.slice(this.#startMs, this.#buffer.endMs).pcm;
  }

  /** Id of the utterance under way. */
  get itemId(): string | undefined {
    return this.#itemId;
  }

  /** The client drops the utterance. */
  clear(): void {
    this.#endpointer.reset();
    this.#dropDoubted();
    this.#itemId = undefined;
    this.#held = false;
    this.#pending = undefined;
    this.#committedMs = this.#buffer.endMs;
    this.#buffer.clear();
  }

  #uncommittedFrom(): Milli {
    return this.#itemId === undefined ? this.#committedMs : this.#startMs;
  }

  #drain(now: Milli): void {
    for (let event = this.#endpointer.nextEvent(); event; event = this.#endpointer.nextEvent()) {
      if (event.kind === "started") this.#start(event.voicedStartMs);
      else if (event.kind !== "stopped") {
        if (this.announced) this.#events.push({ ...event, itemId: this.#itemId! });
        else this.#heldPauseMs = event.kind === "paused" ? event.silenceMs : undefined;
      } else this.#stop(now, event.voicedStartMs, event.voicedEndMs);
    }
  }

  #start(voicedStartMs: Milli): void {
    // What was doubted is not lost by what comes so soon after it.
    const joinedMs = this.#doubted?.startMs ?? Infinity;
    this.#dropDoubted();
    this.#startMs = Math.max(this.#committedMs, Math.min(joinedMs, voicedStartMs - (this.#options?.prefixMs ?? 0)), 0);
    this.#itemId = this.#createItemId();
    this.#held = this.contested;
    this.#heldPauseMs = undefined;
    this.#voicedFromMs = voicedStartMs;
    if (!this.#held) this.#events.push({ kind: "started", itemId: this.#itemId, audioStartMs: this.#startMs });
    if (!this.#tellsSpeech) return;
    const { pcm } = this.#buffer.slice(this.#startMs, this.#buffer.endMs);
    this.#events.push({ kind: "speech", itemId: this.#itemId, pcm });
  }

  /** It goes into what comes next. */
  #dropDoubted(): void {
    if (this.#doubted) this.#events.push({ kind: "dismissed", itemId: this.#doubted.itemId, joined: true });
    this.#doubted = undefined;
  }

  #stop(now: Milli, voicedFromMs: Milli, voicedEndMs: Milli): void {
    const itemId = this.#itemId;
    if (itemId === undefined) return;
    this.#itemId = undefined;
    const silenceMs = this.#silenceMs;
    this.#turnEnd.reset();
    const voicedStartMs = Math.max(voicedFromMs, this.#voicedFromMs);
    const utterance = { itemId, startMs: this.#startMs, voicedStartMs, voicedEndMs, silenceMs };
    if (!this.#held) return this.#end(now, utterance);
    this.#held = false;
    this.#doubted = utterance;
    this.#events.push({ kind: "doubted", itemId });
  }

  #end(now: Milli, utterance: Doubted): void {
    const endMs = utterance.voicedEndMs + utterance.silenceMs;
    this.#events.push({ kind: "stopped", itemId: utterance.itemId, audioEndMs: endMs });
    this.#pending = { ...utterance, endMs, deadline: now + REPAIR_WAIT_MS };
    this.#finishCommit(now);
  }

  /** Commits once the voice is here in order; the silence after it need not be waited for. */
  #finishCommit(now: Milli): void {
    const pending = this.#pending;
    if (!pending || (this.#buffer.endMs < pending.voicedEndMs && now < pending.deadline)) return;
    this.#pending = undefined;
    const { pcm, startMs, frames } = this.#buffer.slice(pending.startMs, pending.endMs);
    this.#committedMs = Math.min(pending.endMs, this.#buffer.endMs);
    this.#buffer.forgetBefore(this.#committedMs);
    const utterance: CallerUtterance = {
      itemId: pending.itemId,
      pcm,
      voicedStartMs: pending.voicedStartMs - startMs,
      voicedEndMs: pending.voicedEndMs - startMs,
      frames,
      arrivedAt: this.#arrivalOf(pending.voicedEndMs) ?? now,
      silenceMs: pending.silenceMs,
    };
    this.#events.push({ kind: "committed", utterance });
  }

  #arrivalOf(mediaMs: Milli): Milli | undefined {
    return this.#arrivals.find((arrival) => arrival.endMs >= mediaMs)?.at;
  }

  #reportOverflow(): void {
    // One report per second of loss: an event a frame would bury the client.
    if (this.#buffer.droppedMs - this.#overflowMs < 1000 && this.#overflowMs > 0) return;
    this.#events.push({ kind: "overflow", lostMs: this.#buffer.droppedMs });
    this.#overflowMs = this.#buffer.droppedMs;
  }
}

/** Where audio without a voice detector's verdict stands out of its own noise. */
export function voicedBounds(pcm: Pcm): { startMs: Milli; endMs: Milli } {
  const block = 240; // 10 ms
  const levels: number[] = [];
  for (let at = 0; at + block <= pcm.length; at += block) {
    let sum = 0;
    for (let i = at; i < at + block; i++) sum += pcm[i]! * pcm[i]!;
    levels.push(Math.sqrt(sum / block));
  }
  const floor = Math.max(...levels.map((level) => level / 40), 60);
  const first = levels.findIndex((level) => level > floor);
  if (first < 0) return { startMs: 0, endMs: pcm.length / 24 };
  return { startMs: first * 10, endMs: (levels.findLastIndex((level) => level > floor) + 1) * 10 };
}
