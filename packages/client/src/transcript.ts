/** The conversation as text, kept up to date from the server's events. Pure. */
import type { Item, ServerEvent } from "@sluice/realtime";

/** One message of the conversation. */
export interface TranscriptEntry {
  readonly id: string;
  readonly role: "user" | "assistant" | "system";
  /** Whether it was spoken; its text is then a transcript. */
  readonly spoken: boolean;
  /** Empty while nothing is known of it. */
  readonly text: string;
  /** Nothing will be added to the text. */
  readonly complete: boolean;
  /** Set when the answer was cut: how much of its speech was heard. */
  readonly heardMs: number | undefined;
}

const MAX_ENTRIES = 1_000;

/** Builds the entries; the oldest are dropped above a thousand. */
export class Transcript {
  readonly #entries = new Map<string, TranscriptEntry>();

  /** The messages, oldest first. */
  get entries(): readonly TranscriptEntry[] {
    return [...this.#entries.values()];
  }

  /** Takes any server event; returns the entry that changed, if one did. */
  handleEvent(event: ServerEvent): TranscriptEntry | undefined {
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        return this.#change(event.item_id, { role: "user", spoken: true });
      case "conversation.item.added":
      case "conversation.item.done":
        return this.#takeItem(event.item, event.type === "conversation.item.done");
      case "conversation.item.input_audio_transcription.delta":
        return this.#append(event.item_id, event.delta);
      case "conversation.item.input_audio_transcription.completed":
        return this.#change(event.item_id, { text: event.transcript, complete: true });
      case "response.output_audio_transcript.delta":
        return this.#append(event.item_id, event.delta, { spoken: true });
      case "response.output_text.delta":
        return this.#append(event.item_id, event.delta);
      case "response.output_audio_transcript.done":
        return this.#change(event.item_id, { text: event.transcript, spoken: true });
      case "response.output_text.done":
        return this.#change(event.item_id, { text: event.text });
      case "conversation.item.truncated":
        return this.#change(event.item_id, { heardMs: event.audio_end_ms, complete: true });
      case "conversation.item.deleted":
        this.#entries.delete(event.item_id);
        return undefined;
      default:
        return undefined;
    }
  }

  #takeItem(item: Item, done: boolean): TranscriptEntry | undefined {
    if (item.type !== "message") return undefined;
    const spoken = item.content.some((part) => part.type === "input_audio" || part.type === "output_audio");
    const text = item.content
      .map((part) => ("text" in part ? part.text : "transcript" in part ? (part.transcript ?? "") : ""))
      .join("");
    const known = this.#entries.get(item.id);
    return this.#change(item.id, {
      role: item.role,
      spoken: spoken || known?.spoken || false,
      // An item's own text may trail the deltas that came before it.
      text: text || known?.text || "",
      complete: done || known?.complete || false,
    });
  }

  #append(id: string, delta: string, patch: Partial<TranscriptEntry> = {}): TranscriptEntry {
    return this.#change(id, { ...patch, text: (this.#entries.get(id)?.text ?? "") + delta });
  }

  #change(id: string, patch: Partial<TranscriptEntry>): TranscriptEntry {
    const known = this.#entries.get(id) ?? {
      id,
      role: "assistant" as const,
      spoken: false,
      text: "",
      complete: false,
      heardMs: undefined,
    };
    const entry = { ...known, ...patch };
    this.#entries.set(id, entry);
    if (this.#entries.size > MAX_ENTRIES) this.#entries.delete(this.#entries.keys().next().value!);
    return entry;
  }
}
