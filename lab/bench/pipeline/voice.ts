/** A voice in virtual time, and the ear that listens to what it makes. */
import type { Pcm } from "@sluice/conversation";
import type { Turn } from "./turn.ts";
import type { Appointment, VirtualClock } from "./virtual-clock.ts";

/** Speech made of one character. */
const MS_PER_CHARACTER = 65;
const SAMPLES_PER_MS = 24;

/** Makes the speech of clauses, several at a time. */
export class VirtualVoice {
  readonly #clock: VirtualClock;
  readonly #pieceMs: number;
  readonly #sharesMachine: boolean;
  #speaking = 0;

  /** `sharesMachine`: two clauses at a time are made half as fast each. */
  constructor(clock: VirtualClock, pieceMs: number, sharesMachine: boolean) {
    this.#clock = clock;
    this.#pieceMs = pieceMs;
    this.#sharesMachine = sharesMachine;
  }

  /** Speaks `text`; the answer stops it. */
  speak(turn: Turn, text: string, onAudio: (pcm: Pcm) => void, onEnd: () => void): () => void {
    let leftMs = Math.max(100, text.trim().length * MS_PER_CHARACTER);
    let next: Appointment;
    let done = false;
    this.#speaking += 1;
    const finish = () => {
      if (done) return;
      done = true;
      this.#speaking -= 1;
    };
    const piece = () => {
      const ms = Math.min(this.#pieceMs, leftMs);
      leftMs -= ms;
      onAudio(new Int16Array(ms * SAMPLES_PER_MS));
      if (leftMs > 0) next = this.#clock.after(turn.pieceMs() * (this.#sharesMachine ? this.#speaking : 1), piece);
      else {
        finish();
        onEnd();
      }
    };
    next = this.#clock.after(turn.firstAudioMs(), piece);
    return () => {
      next.cancelled = true;
      finish();
    };
  }
}

/** A silence that is longer than a frame is a gap. */
const GAP_MS = 20;

/** Plays one utterance in real time, from its first piece on, or a while after it. */
export class Ear {
  readonly #leadMs: number;
  #startedAt: number | undefined;
  #playedTo = 0; // when what is here will have been played
  /** Silences in the middle of it. */
  gaps = 0;

  /** `leadMs`: how long after the first piece it begins. */
  constructor(leadMs: number) {
    this.#leadMs = leadMs;
  }

  /** When its first sample was heard. */
  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  /** When its last sample will have been heard. */
  get endsAt(): number {
    return this.#playedTo;
  }

  play(now: number, pcm: Pcm): void {
    if (this.#startedAt === undefined) this.#startedAt = this.#playedTo = now + this.#leadMs;
    if (now - this.#playedTo > GAP_MS) this.gaps += 1;
    this.#playedTo = Math.max(this.#playedTo, now) + pcm.length / SAMPLES_PER_MS;
  }
}
