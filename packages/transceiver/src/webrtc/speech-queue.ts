/** What waits to be spoken: PCM by utterance, oldest first, handed out in frames. Bounded; holds no time. */
import { type Pcm, SAMPLES_PER_MS, type Utterance } from "@sluice/conversation";

/** Speech of one utterance on its way out. */
interface QueuedUtterance {
  readonly utterance: Utterance;
  readonly chunks: Pcm[];
  /** Samples of `chunks[0]` already taken. */
  taken: number;
  queued: number;
  sent: number;
  ended: boolean;
  /** RTP timestamp of the first sample, once it is out. */
  firstTimestamp: number | undefined;
}

/** What {@link SpeechQueue.take} put into a frame. */
export interface TakenSpeech {
  readonly utterance: Utterance;
  /** Samples of speech in the frame; the rest is silence. */
  readonly samples: number;
  /** Of this utterance so far, this frame included. */
  readonly sentSamples: number;
  /** RTP timestamp of the utterance's first sample. */
  readonly firstTimestamp: number;
  /** More of the utterance should have been here: the frame ends in a gap. */
  readonly starved: boolean;
}

/** Utterances that may wait; a response has one or a few. */
const MAX_UTTERANCES = 64;

/** The queue of one listener. */
export class SpeechQueue {
  readonly #maxSamples: number;
  #utterances: QueuedUtterance[] = [];
  #queued = 0;
  /** Samples refused because the queue was full. */
  droppedSamples = 0;

  constructor(maxMs: number) {
    this.#maxSamples = maxMs * SAMPLES_PER_MS;
  }

  /** Samples waiting. */
  get queuedSamples(): number {
    return this.#queued;
  }

  /** Appends to an utterance that waits, or begins the next. */
  append(utterance: Utterance, pcm: Pcm): void {
    const entry = this.#find(utterance) ?? this.#open(utterance);
    if (entry === undefined || entry.ended || this.#queued + pcm.length > this.#maxSamples) {
      this.droppedSamples += pcm.length;
      return;
    }
    if (pcm.length === 0) return;
    entry.chunks.push(pcm);
    entry.queued += pcm.length;
    this.#queued += pcm.length;
  }

  end(utterance: Utterance): void {
    const entry = this.#find(utterance) ?? this.#open(utterance);
    if (entry !== undefined) entry.ended = true;
  }

  /** Whether a frame of `size` samples, or the last of an utterance, can go out, or an end can be reported. */
  isReady(size: number): boolean {
    const head = this.#utterances[0];
    return head !== undefined && (head.queued >= size || this.#isComplete(head));
  }

  /** Removes and returns the utterances at the head that are out to their end. */
  takeEnded(): Utterance[] {
    const ended: Utterance[] = [];
    for (let head = this.#utterances[0]; head !== undefined; head = this.#utterances[0]) {
      if (head.queued > 0 || !this.#isComplete(head)) break;
      ended.push(head.utterance);
      this.#utterances.shift();
    }
    return ended;
  }

  /** Fills `frame` from the head utterance, with silence after it; `undefined` without a sample of speech. */
  take(frame: Pcm, timestamp: number): TakenSpeech | undefined {
    const head = this.#utterances[0];
    if (head === undefined || head.queued === 0) return undefined;
    let filled = 0;
    while (filled < frame.length && head.queued > 0) {
      const chunk = head.chunks[0]!;
      const count = Math.min(frame.length - filled, chunk.length - head.taken);
      frame.set(chunk.subarray(head.taken, head.taken + count), filled);
      filled += count;
      head.queued -= count;
      head.taken += count;
      if (head.taken === chunk.length) {
        head.chunks.shift();
        head.taken = 0;
      }
    }
    frame.fill(0, filled);
    this.#queued -= filled;
    head.sent += filled;
    head.firstTimestamp ??= timestamp;
    return {
      utterance: head.utterance,
      samples: filled,
      sentSamples: head.sent,
      firstTimestamp: head.firstTimestamp,
      starved: filled < frame.length && !this.#isComplete(head),
    };
  }

  clear(): void {
    this.#utterances = [];
    this.#queued = 0;
  }

  /** Once the next one waits, too: else a forgotten end would silence the line for good. */
  #isComplete(head: QueuedUtterance): boolean {
    return head.ended || this.#utterances.length > 1;
  }

  #find(utterance: Utterance): QueuedUtterance | undefined {
    return this.#utterances.findLast(
      (entry) =>
        entry.utterance === utterance ||
        (entry.utterance.itemId === utterance.itemId &&
          entry.utterance.contentIndex === utterance.contentIndex &&
          entry.utterance.responseId === utterance.responseId),
    );
  }

  #open(utterance: Utterance): QueuedUtterance | undefined {
    if (this.#utterances.length >= MAX_UTTERANCES) return undefined;
    const entry = { utterance, chunks: [], taken: 0, queued: 0, sent: 0, ended: false, firstTimestamp: undefined };
    this.#utterances.push(entry);
    return entry;
  }
}
