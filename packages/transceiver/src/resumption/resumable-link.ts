/**
 * A conversation's pipe that outlives its connections (docs/resumption.md): stands between the conversation and whichever
 * link carries it now, counts events both ways, keeps what the client has not acknowledged and the speech that the ear has
 * not had, and gives both to the next link. For clients that did not ask it is the link itself. Sans-IO.
 */
import {
  type EarlyAudio,
  type HeardPlace,
  type Link,
  type LinkCapabilities,
  type LinkListener,
  type Milli,
  type OrderedAudio,
  type Pcm,
  SAMPLES_PER_MS,
  type Utterance,
} from "@sluice/conversation";
import { isCounted, parseResumption, ReceiptCounter, ReplayWindow, type ResumeEvent } from "@sluice/realtime";

/** What a resumable link needs of its surroundings. */
export interface ResumableLinkOptions {
  /** How long the conversation is kept without a connection. */
  readonly graceMs: Milli;
  /** A new `event_…` id. */
  readonly createEventId: () => string;
  /** A new token that opens one connection; the one before is void. */
  readonly issueToken: () => string;
  /** Whether the client asked for it by now. */
  readonly isWanted: () => boolean;
  /** The connection is gone: call {@link ResumableLink.expire} after the grace, unless it is attached before. */
  readonly onDetached: () => void;
  readonly onAttached: () => void;
  /**
   * Something counted was said, either way: a snapshot of before is out of date. `settles`: an item or a response began or
   * ended with it.
   */
  readonly onChanged?: ((settles: boolean) => void) | undefined;
  /** Whether snapshots outlive this process now, so that what the client sent is acknowledged only once one has it. */
  readonly isKept?: (() => boolean) | undefined;
  /** What a transceiver that is gone saved of the link; default: it begins. */
  readonly taken?: LinkSnapshot | undefined;
  /** The client of a conversation that was taken over is back, and said where the ear was. */
  readonly onTaken?: ((now: Milli, heard: HeardPlace | undefined) => void) | undefined;
}

/** What another transceiver needs of a link to go on with it. */
export interface LinkSnapshot {
  /** The client's counted events that came. */
  readonly received: number;
  /** The server's counted events that the client had acknowledged, and those behind them, unless they are too many. */
  readonly acknowledged: number;
  readonly events: readonly string[];
  /** From where the client is to send its audio again, on its own clock; `null` where it has none. */
  readonly audioFromMs: Milli | null;
}

/** Speech that the ear has not had. */
interface Kept {
  readonly utterance: Utterance;
  pieces: Pcm[];
  /** Where in the utterance `pieces` begins. */
  fromMs: Milli;
  ended: boolean;
}

/** A link that another may replace. */
interface Before {
  readonly link: Link;
  /** What came from it and what was meant for it meanwhile. */
  readonly held: (() => void)[];
  readonly isOtherClock: boolean;
}

/** Utterances kept; a response has one or a few. */
const MAX_KEPT = 16;
/** UTF-16 units of unacknowledged events in a snapshot; where there are more, the conversation's state stands in. */
const MAX_SAVED_EVENTS = 64 * 1024;
/** The client's events that may wait for a snapshot to be acknowledged; it keeps 2,000. */
const MAX_UNKEPT = 512;
/** Events with which something begins or ends. */
const SETTLING = [
  "conversation.item.added",
  "conversation.item.done",
  "conversation.item.deleted",
  "conversation.item.truncated",
  "conversation.item.input_audio_transcription.completed",
  "response.created",
  "response.done",
  "session.updated",
];

/** A pipe that outlives its connections. */
export class ResumableLink implements Link {
  readonly #options: ResumableLinkOptions;
  readonly #kept = new Map<string, Kept>(); // by item, oldest first
  readonly #receipts: ReceiptCounter;
  #taken: LinkSnapshot | undefined; // until the client is back
  #replay: ReplayWindow | undefined; // present: the client asked
  #listener: LinkListener | undefined;
  #link: Link;
  #isAttached = true;
  #before: Before | undefined; // a link whose client offers another and may yet think better of it
  #awaitsResume = false; // a new link is here, and its client has not said yet what it has
  #closed = false;
  #offsetMs: Milli = 0; // from the link's clock of the caller's audio to the conversation's
  #isOtherClock = false; // what comes next is on a clock that nothing has come on yet
  #audioEndMs: Milli = 0; // in the conversation's

  constructor(link: Link, options: ResumableLinkOptions) {
    this.#link = link;
    this.#options = options;
    const { taken } = options;
    this.#receipts = new ReceiptCounter(taken?.received);
    if (!taken) return;
    this.#taken = taken;
    this.#replay = ReplayWindow.restore(taken);
    this.#isAttached = false;
  }

  /** Of the link that carries it now, or did last. */
  get capabilities(): LinkCapabilities {
    const current = () => this.#link.capabilities;
    return {
      get playout() {
        return current().playout;
      },
      get leadMs() {
        return current().leadMs;
      },
      get audioInEvents() {
        return current().audioInEvents;
      },
      get reset() {
        return current().reset;
      },
      get playoutReports() {
        return current().playoutReports;
      },
    };
  }

  /** Begins: `listener` is the conversation; the result is to hear the first link. */
  start(listener: LinkListener): LinkListener {
    this.#listener = listener;
    return this.#hear(this.#link, (now) => listener.onOpen(now));
  }

  /** Goes on with a conversation that was taken over: the result is to hear the link that it was made with. */
  goOn(listener: LinkListener): LinkListener {
    this.#listener = listener;
    return this.offer(this.#link);
  }

  /** What another transceiver needs to go on; `openFromMs`: of the caller's audio, where what is still open begins. */
  snapshot(openFromMs: Milli): LinkSnapshot | undefined {
    if (!this.#replay || this.#replay.overflowed) return undefined;
    const audioFromMs = carriesFrames(this.#link) ? Math.max(0, openFromMs - this.#offsetMs) : null;
    return { received: this.#receipts.received, ...this.#replay.save(MAX_SAVED_EVENTS), audioFromMs };
  }

  /** A snapshot with the client's first `received` events outlives this process: the client need not keep them. */
  handleKept(received: number): void {
    if (!this.#isLive || received <= this.#receipts.received - this.#receipts.unacknowledged) return;
    this.#tell({ ...this.#receipts.acknowledge(received) });
  }

  /** Another transceiver has the conversation. */
  handleTakenAway(now: Milli): void {
    const reason = "another server goes on with the conversation";
    this.#before?.link.close(reason);
    if (this.#isAttached) this.#link.close(reason);
    this.#end(now, reason);
  }

  /** Another connection of the same client; the result is to hear it. It carries the conversation once it is open. */
  offer(link: Link): LinkListener {
    return this.#hear(link, () => this.#attach(link));
  }

  /** The grace is over. */
  expire(now: Milli): void {
    if (!this.#isAttached) this.#end(now, "the connection was lost and did not come back");
  }

  sendEvent(event: { readonly type: string }): void {
    if (this.#replay) {
      const json = JSON.stringify(event);
      if (isCounted(json)) {
        this.#replay.push(json);
        this.#options.onChanged?.(SETTLING.includes(event.type));
      }
    }
    this.#deliver((link) => link.sendEvent(event));
  }

  play(utterance: Utterance, pcm: Pcm): void {
    if (this.#replay) this.#keep(utterance).pieces.push(pcm);
    this.#deliver((link) => link.play(utterance, pcm));
  }

  endUtterance(utterance: Utterance): void {
    if (this.#replay) this.#keep(utterance).ended = true;
    this.#deliver((link) => link.endUtterance(utterance));
  }

  flush(): void {
    this.#kept.clear();
    this.#deliver((link) => link.flush());
  }

  duck(gain: number, rampMs: Milli): void {
    this.#deliver((link) => link.duck(gain, rampMs));
  }

  heard(itemId: string, positionMs: Milli): void {
    this.#forget(itemId, positionMs);
    this.#deliver((link) => link.heard?.(itemId, positionMs));
  }

  close(reason: string): void {
    this.#closed = true;
    this.#before?.link.close(reason);
    if (this.#isAttached) this.#link.close(reason);
  }

  /** To the link that is live; to one that may come back to life it waits. */
  #deliver(output: (link: Link) => void): void {
    const before = this.#before;
    if (this.#isLive) output(this.#link);
    else if (before) before.held.push(() => output(before.link));
  }

  /** Events and speech go out as they come; otherwise they wait for the client's word on what it has. */
  get #isLive(): boolean {
    return this.#isAttached && !this.#awaitsResume;
  }

  #hear(link: Link, onOpen: (now: Milli) => void): LinkListener {
    const isCurrent = () => this.#isAttached && this.#link === link && !this.#closed;
    // What comes over a link that another may replace counts only if it does not: else its client says it again there.
    const hear = (input: () => void) => {
      if (isCurrent()) input();
      else if (this.#before?.link === link && !this.#closed) this.#before.held.push(input);
    };
    return {
      onOpen: (now) => onOpen(now),
      onMessage: (now, text) => {
        hear(() => this.#receive(now, text));
      },
      onEarlyAudio: (now, audio) => {
        if (isCurrent()) this.#listener?.onEarlyAudio(now, this.#place(audio));
      },
      onOrderedAudio: (now, audio) => {
        hear(() => this.#hearOrdered(now, audio));
      },
      onSent: (now, utterance, sentMs, rtpTimestamp) => {
        hear(() => {
          // Where we pace the speech, what is out is heard, as far as anybody can say.
          if (!link.capabilities.reset) this.#forget(utterance.itemId, (utterance.startMs ?? 0) + sentMs);
          this.#listener?.onSent(now, utterance, sentMs, rtpTimestamp);
        });
      },
      onUtteranceEnded: (now, utterance) => {
        hear(() => {
          this.#kept.delete(utterance.itemId);
          this.#listener?.onUtteranceEnded(now, utterance);
        });
      },
      onClosed: (now, reason, lost) => {
        if (this.#before?.link === link) this.#before = undefined;
        if (this.#link === link && this.#before && !this.#closed) return this.#fallBack(this.#before);
        if (this.#link !== link || !this.#isAttached) return;
        if (lost !== true || this.#closed || !this.#replay || this.#replay.overflowed) return this.#end(now, reason);
        this.#isAttached = false;
        this.#options.onDetached();
      },
    };
  }

  #end(now: Milli, reason: string): void {
    const listener = this.#listener;
    this.#listener = undefined;
    this.#isAttached = false;
    this.#before = undefined;
    this.#kept.clear();
    listener?.onClosed(now, reason);
  }

  /** The client came back, over whatever works. */
  #attach(link: Link): void {
    if (!this.#listener || this.#closed || !this.#replay || this.#replay.overflowed) {
      link.close("the conversation is over");
      return;
    }
    const before = this.#link;
    const [wasAttached, awaited] = [this.#isAttached, this.#awaitsResume];
    const isOtherClock = this.#isOtherClock;
    const taken = this.#taken;
    const goesOn = taken
      ? taken.audioFromMs !== null && carriesFrames(link)
      : carriesFrames(before) && carriesFrames(link);
    const audio_ms = goesOn ? (taken?.audioFromMs ?? Math.max(0, this.#audioEndMs - this.#offsetMs)) : null;
    if (!goesOn || taken) this.#isOtherClock = true;
    this.#link = link;
    this.#isAttached = true;
    this.#awaitsResume = true;
    // A client that only doubted its old connection may hear of it again before it hears of this one, and drop this one.
    if (wasAttached && awaited) before.close("the conversation goes on over another connection");
    else if (wasAttached) this.#before = { link: before, held: [], isOtherClock };
    this.#options.onAttached();
    const { received } = this.#receipts;
    this.#tell({ type: "sluice.resumed", received, audio_ms, ...(taken && { taken_over: true }) });
  }

  /** The client wants the new link: the old one goes, with all that waited there. */
  #dismiss(): void {
    this.#before?.link.close("the conversation goes on over another connection");
    this.#before = undefined;
  }

  /** The client dropped the new link before it said what it had: the old one goes on, as if nothing had been. */
  #fallBack({ link, held, isOtherClock }: Before): void {
    this.#before = undefined;
    this.#isOtherClock = isOtherClock;
    this.#link = link;
    this.#awaitsResume = false;
    for (const step of held) step();
    this.#tellToken(); // the one that opened the new link is spent
  }

  #receive(now: Milli, text: string): void {
    const resumption = this.#replay && parseResumption(text);
    if (resumption?.type === "sluice.ack") {
      if (!this.#replay!.acknowledge(resumption.received)) this.#break(now);
    } else if (resumption?.type === "sluice.resume") {
      if (this.#awaitsResume) this.#resume(now, resumption);
    } else if (!this.#awaitsResume) {
      if (this.#replay && isCounted(text)) this.#count();
      this.#listener?.onMessage(now, text);
      if (!this.#replay && text.includes('"sluice"') && asksForResume(text) && this.#options.isWanted()) this.#begin();
    }
  }

  #count(): void {
    const isDue = this.#receipts.count();
    const isKept = this.#options.isKept?.() === true && this.#receipts.unacknowledged < MAX_UNKEPT;
    if (isDue && !isKept) this.#tell({ ...this.#receipts.acknowledge() });
    this.#options.onChanged?.(isDue);
  }

  /** Counting begins here, on both sides. */
  #begin(): void {
    this.#replay = new ReplayWindow();
    this.#tellToken();
    this.#options.onChanged?.(true);
  }

  #resume(now: Milli, { received, item_id, position_ms }: ResumeEvent): void {
    this.#dismiss();
    const replay = this.#replay!;
    const taken = this.#taken;
    if (taken) replay.rebase(received, taken.events.length);
    else if (!replay.acknowledge(received)) return this.#break(now);
    this.#taken = undefined;
    this.#tellToken();
    this.#awaitsResume = false;
    for (const json of replay.unacknowledged) this.#link.sendEvent(JSON.parse(json));
    if (taken) {
      const place = item_id !== undefined && position_ms !== undefined;
      return this.#options.onTaken?.(now, place ? { itemId: item_id, positionMs: position_ms } : undefined);
    }
    if (item_id !== undefined && position_ms !== undefined) this.#heardUntil(now, item_id, position_ms);
    for (const kept of this.#kept.values()) {
      const utterance = { ...kept.utterance, startMs: kept.fromMs };
      for (const pcm of kept.pieces) this.#link.play(utterance, pcm);
      if (kept.ended) this.#link.endUtterance(utterance);
    }
  }

  /** The client's word on where the ear is: what comes before is over. */
  #heardUntil(now: Milli, itemId: string, positionMs: Milli): void {
    if (!this.#kept.has(itemId)) return;
    for (const { utterance } of [...this.#kept.values()]) {
      if (utterance.itemId === itemId) break;
      this.#kept.delete(utterance.itemId);
      this.#listener?.onUtteranceEnded(now, utterance);
    }
    this.#forget(itemId, positionMs);
  }

  #break(now: Milli): void {
    this.#link.close("the client counts events that were never sent");
    this.#end(now, "the client counts events that were never sent");
  }

  #hearOrdered(now: Milli, audio: OrderedAudio): void {
    const { pcm, mediaMs, origin } = { ...audio, ...this.#place(audio) };
    this.#audioEndMs = Math.max(this.#audioEndMs, mediaMs + pcm.length / SAMPLES_PER_MS);
    this.#listener?.onOrderedAudio(now, { pcm, mediaMs, origin });
  }

  #place({ pcm, mediaMs }: EarlyAudio): EarlyAudio {
    if (this.#isOtherClock) this.#offsetMs = this.#audioEndMs - mediaMs;
    this.#isOtherClock = false;
    return { pcm, mediaMs: mediaMs + this.#offsetMs };
  }

  #keep(utterance: Utterance): Kept {
    const known = this.#kept.get(utterance.itemId);
    if (known) return known;
    const kept: Kept = { utterance, pieces: [], fromMs: 0, ended: false };
    this.#kept.set(utterance.itemId, kept);
    if (this.#kept.size > MAX_KEPT) this.#kept.delete(this.#kept.keys().next().value!);
    return kept;
  }

  /** What lies before `ms` of the item was heard. */
  #forget(itemId: string, ms: Milli): void {
    const kept = this.#kept.get(itemId);
    if (!kept) return;
    for (let first = kept.pieces[0]; first; first = kept.pieces[0]) {
      const samples = Math.round((ms - kept.fromMs) * SAMPLES_PER_MS);
      if (samples <= 0) return;
      if (samples < first.length) {
        kept.pieces[0] = first.subarray(samples);
        kept.fromMs += samples / SAMPLES_PER_MS;
        return;
      }
      kept.pieces.shift();
      kept.fromMs += first.length / SAMPLES_PER_MS;
    }
  }

  #tellToken(): void {
    this.#tell({ type: "sluice.resumable", token: this.#options.issueToken(), grace_ms: this.#options.graceMs });
  }

  #tell(event: { readonly type: string; readonly [field: string]: unknown }): void {
    const { type, ...fields } = event;
    this.#link.sendEvent({ type, event_id: this.#options.createEventId(), ...fields } as { readonly type: string });
  }
}

/** The caller's audio is on a clock of the client's own, which the next connection goes on with. */
function carriesFrames({ capabilities }: Link): boolean {
  return capabilities.reset && !capabilities.audioInEvents;
}

/** Whether this is the very event behind which counting begins: the client counts from there, too. */
function asksForResume(text: string): boolean {
  const event = JSON.parse(text) as { type?: unknown; session?: { sluice?: { resume?: unknown } } };
  return event.type === "session.update" && event.session?.sluice?.resume === true;
}
