/** What an engine that listens is given of the caller's speech, and what clients are told of the words that it hears. */
import type { ServerEventDraft, Session } from "@sluice/realtime";
import { durationMs, type Pcm } from "./audio.ts";
import type { SttEvent } from "./engines.ts";
import type { CallerUtterance } from "./listener.ts";
import type { CallerAudio, Memory } from "./memory.ts";
import type { Outbox } from "./outbox.ts";
import { transcribes } from "./settings.ts";
import { type TranscriptEvent, type TranscriptFailure, Transcripts } from "./transcripts.ts";

/** The hearing of one conversation. */
export class Hearing {
  readonly #outbox: Outbox;
  readonly #memory: Memory;
  readonly #listens: boolean;
  readonly #transcripts = new Transcripts();
  #told = false; // clients are, of the words
  #onlyHears = false;
  #streamedId: string | undefined; // the utterance that the engine hears while it is spoken

  /** `listens`: the engine wants speech while it is spoken. */
  constructor(outbox: Outbox, memory: Memory, listens: boolean) {
    this.#outbox = outbox;
    this.#memory = memory;
    this.#listens = listens;
  }

  configure(session: Session): void {
    this.#told = transcribes(session);
    this.#onlyHears = session.type === "transcription";
  }

  /** The next audio of an utterance under way. */
  handleSpeech(itemId: string, pcm: Pcm): void {
    this.#streamedId = itemId;
    this.#outbox.push({ kind: "hear", itemId, pcm });
  }

  /** The utterance is whole. */
  handleCommitted({ itemId, pcm }: CallerUtterance): void {
    // Without turn detection nobody knew that this would be an utterance: it is heard now, as a whole.
    const unheard = this.#listens && this.#streamedId !== itemId && this.#told;
    if (unheard) this.#outbox.push({ kind: "hear", itemId, pcm });
    this.end(itemId, true);
    if (!this.#onlyHears || this.#listens) return;
    const message = "No speech recognition is configured on this server.";
    this.#transcripts.handleFailed(itemId, { code: "no_speech_recognition", message });
  }

  /** The engine hears no more of it. Not `complete`: there will be no such item. */
  end(itemId: string, complete: boolean): void {
    if (!complete) this.#transcripts.forget(itemId);
    if (this.#listens) this.#outbox.push({ kind: "heard", itemId, complete });
  }

  /** Speech is in the conversation, as this item. */
  handleAdded(itemId: string, { pcm }: CallerAudio): void {
    this.#transcripts.handleAdded(itemId, durationMs(pcm));
  }

  /** An engine understood a little more of it. */
  handleWords(itemId: string, event: SttEvent): void {
    this.#transcripts.handleHeard(itemId, event);
  }

  /** The caller goes on with it after all. */
  handleResumed(itemId: string): void {
    this.#transcripts.handleResumed(itemId);
  }

  /** The engine could not make it out. */
  handleFailed(itemId: string, failure: TranscriptFailure): void {
    this.#transcripts.handleFailed(itemId, failure);
  }

  /** Tells what has become known. `answering`: an answer under way may yet bring the words that could not be had before it. */
  settle(answering: boolean): void {
    if (!answering) this.#transcripts.settle();
    for (let event = this.#transcripts.nextEvent(); event; event = this.#transcripts.nextEvent()) {
      if (event.kind === "completed") this.#memory.transcribe(event.itemId, event.text);
      if (this.#told) this.#outbox.send(formatTranscript(event));
    }
  }
}

function formatTranscript(event: TranscriptEvent): ServerEventDraft {
  const place = { item_id: event.itemId, content_index: 0 };
  switch (event.kind) {
    case "delta":
      return { type: "conversation.item.input_audio_transcription.delta", ...place, delta: event.delta };
    case "completed": {
      const usage = { type: "duration" as const, seconds: Math.round(event.audioMs) / 1000 };
      const { text: transcript } = event;
      return { type: "conversation.item.input_audio_transcription.completed", ...place, transcript, usage };
    }
    case "failed": {
      const error = { type: "server_error", ...event.failure };
      return { type: "conversation.item.input_audio_transcription.failed", ...place, error };
    }
  }
}
