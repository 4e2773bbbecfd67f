/** How servers want to be told of an utterance over a socket, and how they tell of its words. */
import type { SttOptions } from "@sluice/conversation";
import type { SocketEvent } from "../http/socket.ts";

/** The dialects of streaming recognition. */
export type RealtimeSttDialect = "openai" | "speaches" | "vllm";

/** An event to send. */
export type OutgoingEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

/** What an event says; `undefined` for what is of no interest. */
export type Said =
  | { readonly kind: "delta"; readonly text: string }
  | { readonly kind: "final"; readonly text: string | undefined }
  | { readonly kind: "error" }
  | undefined;

/** One dialect. */
export interface Dialect {
  /** Samples per second of `input_audio_buffer.append`. */
  readonly sampleRate: number;
  query(model: string): Readonly<Record<string, string>>;
  begin(model: string, stt: SttOptions): readonly OutgoingEvent[];
  end(): readonly OutgoingEvent[];
  read(event: SocketEvent): Said;
}

/** The dialects by name. */
export const DIALECTS: Readonly<Record<RealtimeSttDialect, Dialect>> = {
  openai: {
    sampleRate: 24_000,
    query: () => ({ intent: "transcription" }),
    begin: (model, stt) => {
      const format = { type: "audio/pcm", rate: 24_000 };
      const input = { format, transcription: { model, ...hints(stt) }, turn_detection: null };
      return [{ type: "session.update", session: { type: "transcription", audio: { input } } }];
    },
    end: () => [{ type: "input_audio_buffer.commit" }],
    read: readTranscription,
  },
  speaches: {
    sampleRate: 24_000,
    query: (model) => ({ model, intent: "transcription" }),
    begin: (model, stt) => {
      const input_audio_transcription = { model, ...hints(stt) };
      return [
        {
          type: "session.update",
          session: { input_audio_format: "pcm16", input_audio_transcription, turn_detection: null },
        },
      ];
    },
    end: () => [{ type: "input_audio_buffer.commit" }],
    read: readTranscription,
  },
  vllm: {
    sampleRate: 16_000,
    query: () => ({}),
    begin: (model) => [
      { type: "session.update", model },
      { type: "input_audio_buffer.commit", final: false },
    ],
    end: () => [{ type: "input_audio_buffer.commit", final: true }],
    read: (event) => {
      switch (event.type) {
        case "transcription.delta":
          return delta(event.delta);
        case "transcription.done":
          return final(event.text);
        default:
          return event.type === "error" ? { kind: "error" } : undefined;
      }
    },
  },
};

function readTranscription(event: SocketEvent): Said {
  switch (event.type) {
    case "conversation.item.input_audio_transcription.delta":
      return delta(event.delta);
    case "conversation.item.input_audio_transcription.completed":
      return final(event.transcript);
    case "conversation.item.input_audio_transcription.failed":
    case "error":
      return { kind: "error" };
    default:
      return undefined;
  }
}

function delta(text: unknown): Said {
  return typeof text === "string" && text !== "" ? { kind: "delta", text } : undefined;
}

function final(text: unknown): Said {
  return { kind: "final", text: typeof text === "string" ? text : undefined };
}

function hints({ language, prompt }: SttOptions) {
  return {
    ...(language !== undefined && { language: language.split("-")[0]!.toLowerCase() }),
    ...(prompt !== undefined && { prompt }),
  };
}
