/**
 * The agent's side of the sound: what of each utterance is out and what was heard, and from it where the time of every
 * turn went. Never reads a clock.
 */
import type { Milli, Pcm } from "./audio.ts";
import { durationMs } from "./audio.ts";
import type { EarPlace } from "./echo.ts";
import type { Began, EngineMark } from "./engines.ts";
import type { FrameCounts } from "./input-buffer.ts";
import { type LedgerEntry, PlayoutLedger, type PlayoutReport } from "./ledger.ts";
import type { Utterance } from "./link.ts";
import type { CallerUtterance } from "./listener.ts";
import type { SavedUtterance } from "./snapshot.ts";
import { formatTimeline, type TurnInstants, type TurnTimeline } from "./timeline.ts";

/** A turn of the conversation, from the caller's last word to the answer's first sample. */
export interface TurnReport {
  /** Counts from 1. */
  readonly turn: number;
  readonly inputItemId: string;
  readonly utterance: Utterance;
  readonly timeline: TurnTimeline;
  readonly silenceMs: Milli;
  /** How long the caller spoke. */
  readonly voicedMs: Milli;
  readonly frames: FrameCounts;
  /** An acknowledgement was the first sound, and the answer's own was made this much later. */
  readonly acknowledgedMs?: Milli;
}

/** What playout wants said. */
export type PlayoutEvent =
  | {
      readonly kind: "started";
      readonly utterance: Utterance;
      readonly rtpTimestamp: number | undefined;
      readonly at: Milli;
    }
  | { readonly kind: "began"; readonly responseId: string; readonly began: Began }
  | { readonly kind: "ledger"; readonly utterance: Utterance; readonly entry: LedgerEntry }
  | { readonly kind: "turn"; readonly report: TurnReport }
  /** The client's sound stopped there, which is not where it was thought to. */
  | { readonly kind: "stopped"; readonly utterance: Utterance; readonly heardMs: Milli }
  | { readonly kind: "ended"; readonly utterance: Utterance };

/** An utterance that was cut, and how much of it was heard. */
export interface CutUtterance {
  readonly utterance: Utterance;
  readonly heardMs: Milli;
  /** A first packet was out. */
  readonly started: boolean;
}

/** How long a turn waits for the client's own measurement before the pipe's clock stands in. */
const REPORT_WAIT_MS = 600;
const LEDGER_EVERY_MS = 250;
/** A client's report of its end of speech must be this near to the arrival of that speech to be the same one. */
const MOUTH_BEFORE_ARRIVAL_MS = 1500;
const MOUTH_AFTER_ARRIVAL_MS = 60;
/** Utterances still reported on after they ended: a client's last words on them come late. */
const KEPT_UTTERANCES = 16;

interface Turn {
  readonly number: number;
  readonly caller: CallerUtterance;
  readonly instants: TurnInstants;
  acknowledged: boolean;
  answeredAt: Milli | undefined;
}

interface Track {
  readonly utterance: Utterance;
  readonly ledger: PlayoutLedger;
  readonly turn: Turn | undefined;
  reportBy: Milli | undefined; // when the egress clock stands in; undefined: nothing sent yet, or settled
  complete: boolean; // sent to its end
  out: boolean; // that end was reached where we know it, or it was cut
  ledgerAt: Milli;
}

/** Follows every utterance from its first sample to the ear. */
export class Playout {
  readonly #events: PlayoutEvent[] = [];
  readonly #tracks: Track[] = [];
  readonly #turns = new Map<string, Turn>(); // by response id, until its first audio
  readonly #heldByClient: boolean;
  #clientReports = false;
  #turnCount = 0;
  #mouthAt: Milli | undefined;
  readonly #gone: string[] = []; // items that were played by a transceiver that died

  /** `heldByClient`: what is sent is not yet heard; the client plays it in its own time. Default false. */
  constructor(heldByClient = false) {
    this.#heldByClient = heldByClient;
  }

  /** Whether the client measures at the ear; if so a turn waits a little for its word. */
  set clientReports(value: boolean) {
    this.#clientReports = value;
  }

  /** A response answers what the caller just said. */
  handleTurn(now: Milli, responseId: string, caller: CallerUtterance): void {
    const { arrivedAt, silenceMs } = caller;
    const instants: TurnInstants = {
      mouthAt: undefined,
      arrivedAt,
      silenceMs,
      committedAt: now,
      marks: {},
      firstAudioAt: undefined,
      leadAt: undefined,
      firstSentAt: undefined,
      heardAt: undefined,
    };
    this.#turns.set(responseId, {
      number: ++this.#turnCount,
      caller,
      instants,
      acknowledged: false,
      answeredAt: undefined,
    });
  }

  /** The engine is that far with its answer. */
  handleReached(now: Milli, responseId: string, mark: EngineMark): void {
    const turn = this.#turns.get(responseId);
    if (turn) turn.instants.marks[mark] ??= now;
  }

  /** The answer's own first sound, when an acknowledgement went before it. */
  handleAnswered(now: Milli, utterance: Utterance): void {
    const track = this.#track(utterance.itemId);
    const turn = track?.turn;
    if (!track || !turn?.acknowledged || turn.answeredAt !== undefined) return;
    turn.answeredAt = now;
    // The acknowledgement was reported as heard before: the turn is accounted for only now.
    if (track.reportBy === undefined && track.ledger.firstSentAt !== undefined) this.#settle(now, track);
  }

  /** The first sample of an utterance was held back until now. */
  handleReleased(now: Milli, utterance: Utterance): void {
    const turn = this.#track(utterance.itemId)?.turn;
    if (turn) turn.instants.leadAt = now;
  }

  /** The response ended without a sound: there is nothing to measure. */
  handleResponseEnded(responseId: string): void {
    this.#turns.delete(responseId);
  }

  handleGenerated(now: Milli, utterance: Utterance, pcm: Pcm, acknowledges = false): void {
    const track = this.#track(utterance.itemId) ?? this.#open(now, utterance);
    if (track.turn && acknowledges) track.turn.acknowledged = true;
    track.ledger.handleGenerated(durationMs(pcm));
  }

  handleSent(now: Milli, utterance: Utterance, sentMs: Milli, rtpTimestamp: number | undefined): void {
    const track = this.#track(utterance.itemId);
    if (!track || track.out) return;
    const first = track.ledger.firstSentAt === undefined;
    track.ledger.handleSent(now, sentMs);
    if (first) {
      if (track.turn) track.turn.instants.firstSentAt = now;
      this.#events.push({ kind: "started", utterance: track.utterance, rtpTimestamp, at: now });
      track.reportBy = this.#clientReports ? now + REPORT_WAIT_MS : now;
    }
    if (first || now - track.ledgerAt >= LEDGER_EVERY_MS) this.#reportLedger(now, track);
    this.handleTimeout(now);
  }

  handleUtteranceEnded(now: Milli, utterance: Utterance): void {
    const track = this.#track(utterance.itemId);
    if (!track || track.out) return;
    track.complete = true;
    if (!this.#heldByClient || now >= track.ledger.playedOutAt) this.#end(now, track);
  }

  #end(now: Milli, track: Track): void {
    track.out = true;
    this.#reportLedger(now, track);
    this.#events.push({ kind: "ended", utterance: track.utterance });
  }

  /** The client stopped this utterance by itself, where it says. */
  handleStopped(now: Milli, itemId: string): void {
    const track = this.#track(itemId);
    if (!track || track.out) return;
    track.out = true;
    track.ledger.handleStopped(now);
    this.#reportLedger(now, track);
  }

  /** What the ear has not had to its end, for {@link Playout.restore}. */
  save(now: Milli): readonly SavedUtterance[] {
    return this.#tracks
      .filter((track) => !track.out)
      .map(({ utterance, ledger, complete }) => {
        const { generatedMs, heardMs, sentMs } = ledger.entry(now);
        return { utterance, generatedMs, heardMs, whole: complete && sentMs >= generatedMs - 1 };
      });
  }

  /** Speech that a client holds whole, and was sent by a transceiver that is gone. */
  restore(now: Milli, { utterance, generatedMs }: SavedUtterance, heardMs: Milli): void {
    const track = this.#open(now, utterance);
    track.ledger.handleGenerated(generatedMs);
    track.ledger.handleSent(now - heardMs, generatedMs);
    track.complete = true;
  }

  /** Speech that a transceiver which is gone played, and nobody plays on: reports on it may still come. */
  handleGone(itemId: string): void {
    this.#gone.push(itemId);
    if (this.#gone.length > KEPT_UTTERANCES) this.#gone.shift();
  }

  /** The client's word on when the caller's speech ended. */
  handleSpeechReport(endedAt: Milli): void {
    this.#mouthAt = endedAt;
  }

  /** The client's word on what it has played. Answers whether the utterance is known. */
  handlePlayoutReport(now: Milli, itemId: string, report: PlayoutReport): boolean {
    const track = this.#track(itemId);
    if (!track) return this.#gone.includes(itemId);
    if (this.#heldByClient && track.out && track.ledger.handleStopReport(report)) {
      this.#reportLedger(now, track);
      this.#events.push({ kind: "stopped", utterance: track.utterance, heardMs: track.ledger.heardMs(now) });
    }
    track.ledger.handleReport(now, report);
    this.handleTimeout(now);
    if (track.reportBy !== undefined) this.#settle(now, track);
    return true;
  }

  /** Utterances that are not out to their end, oldest first. */
  get playing(): boolean {
    return this.#tracks.some((track) => !track.out);
  }

  /** Where the ear is by now; `undefined` when nothing sounds. */
  ear(now: Milli): EarPlace | undefined {
    const sounding = this.#tracks.find(({ out, ledger }) => !out && ledger.heardMs(now) > 0);
    return sounding && { itemId: sounding.utterance.itemId, positionMs: sounding.ledger.heardMs(now) };
  }

  /** How much the caller has heard of what plays, 0 when nothing does; Infinity where it does not answer a spoken turn. */
  answerHeardMs(now: Milli): Milli {
    let heardMs = 0;
    for (const { out, turn, ledger } of this.#tracks) {
      if (out || ledger.firstSentAt === undefined) continue;
      heardMs += turn ? ledger.heardMs(now) : Infinity;
    }
    return heardMs;
  }

  /** All buffers are emptied: closes every utterance that was not out. */
  cut(now: Milli): readonly CutUtterance[] {
    const cut = this.#tracks.filter((track) => !track.out);
    return cut.map((track) => {
      track.out = true;
      // What we sent and the client does not hold back will be heard, however long it travels.
      track.ledger.handleStopped(now, this.#heldByClient ? undefined : track.ledger.sentMs);
      if (track.reportBy !== undefined) this.#settle(now, track);
      this.#reportLedger(now, track);
      const started = track.ledger.firstSentAt !== undefined;
      return { utterance: track.utterance, heardMs: track.ledger.heardMs(now), started };
    });
  }

  handleTimeout(now: Milli): void {
    for (const track of this.#tracks) {
      if (track.reportBy !== undefined && now >= track.reportBy) this.#settle(now, track);
      if (track.complete && !track.out && now >= track.ledger.playedOutAt) this.#end(now, track);
    }
  }

  pollTimeout(): Milli | undefined {
    let first: Milli | undefined;
    for (const { reportBy, complete, out, ledger } of this.#tracks) {
      const due = Math.min(reportBy ?? Infinity, complete && !out ? ledger.playedOutAt : Infinity);
      if (due < (first ?? Infinity)) first = due;
    }
    return first;
  }

  nextEvent(): PlayoutEvent | undefined {
    return this.#events.shift();
  }

  #track(itemId: string): Track | undefined {
    return this.#tracks.find((track) => track.utterance.itemId === itemId);
  }

  #open(now: Milli, utterance: Utterance): Track {
    const turn = this.#turns.get(utterance.responseId);
    this.#turns.delete(utterance.responseId);
    if (turn) turn.instants.firstAudioAt = now;
    const ledger = new PlayoutLedger();
    const track: Track = { utterance, ledger, turn, reportBy: undefined, complete: false, out: false, ledgerAt: now };
    this.#tracks.push(track);
    while (this.#tracks.length > KEPT_UTTERANCES && this.#tracks[0]?.out) this.#tracks.shift();
    return track;
  }

  /** Fixes when the answer began, by the best clock there is, and accounts for the turn. */
  #settle(now: Milli, track: Track): void {
    track.reportBy = undefined;
    const began = track.ledger.began();
    if (!began) return;
    const report = track.turn && this.#measure(track.turn, track, began.clock === "client" ? began.at : undefined);
    const clock = report?.timeline.clock ?? began.clock;
    const afterSpeechMs = report?.timeline.totalMs;
    this.#events.push({ kind: "began", responseId: track.utterance.responseId, began: { afterSpeechMs, clock } });
    if (report && !(track.turn?.acknowledged && track.turn.answeredAt === undefined)) {
      this.#events.push({ kind: "turn", report });
    }
    this.#reportLedger(now, track);
  }

  #measure(
    { number, caller, instants, answeredAt }: Turn,
    track: Track,
    heardAt: Milli | undefined,
  ): TurnReport | undefined {
    const timeline = formatTimeline({ ...instants, heardAt, mouthAt: this.#plausibleMouthAt(caller.arrivedAt) });
    return (
      timeline && {
        turn: number,
        inputItemId: caller.itemId,
        utterance: track.utterance,
        timeline,
        silenceMs: caller.silenceMs,
        voicedMs: caller.voicedEndMs - caller.voicedStartMs,
        frames: caller.frames,
        ...(answeredAt !== undefined && { acknowledgedMs: answeredAt - (instants.firstAudioAt ?? answeredAt) }),
      }
    );
  }

  #plausibleMouthAt(arrivedAt: Milli): Milli | undefined {
    const mouthAt = this.#mouthAt;
    if (mouthAt === undefined) return undefined;
    const early = arrivedAt - mouthAt;
    return early >= -MOUTH_AFTER_ARRIVAL_MS && early <= MOUTH_BEFORE_ARRIVAL_MS ? mouthAt : undefined;
  }

  #reportLedger(now: Milli, track: Track): void {
    track.ledgerAt = now;
    this.#events.push({ kind: "ledger", utterance: track.utterance, entry: track.ledger.entry(now) });
  }
}
