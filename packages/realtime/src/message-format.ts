/**
 * Audio in binary messages of a WebSocket (docs/websocket.md): the frames of docs/webtransport.md, where one message
 * stands for a piece of a stream. For browsers and servers alike. Decoders never throw: `undefined` is no such message.
 */
import {
  type AudioFrame,
  encodeFrame,
  encodeUtteranceStart,
  FrameDecoder,
  KindDecoder,
  streamKinds,
  UtteranceDecoder,
  type UtteranceHeader,
} from "./stream-format.ts";
import { encodeVarint } from "./varint.ts";

/** The subprotocol by which both sides agree on audio in binary messages. */
export const AUDIO_SUBPROTOCOL = "sluice-opus.v1";

/** What a binary message begins with: the kinds of streams, and what a stream does by itself. */
export const messageKinds = { ...streamKinds, more: 3, finished: 4, reset: 5 } as const;

/** What a server says in one binary message. */
export type AudioMessage =
  /** Speech that follows is this utterance's. */
  | { readonly kind: "utterance"; readonly header: UtteranceHeader }
  /** More of the utterance that began last. */
  | { readonly kind: "more"; readonly frames: readonly AudioFrame[] }
  /** It is complete. */
  | { readonly kind: "finished" }
  /** It is void, whatever of it was not heard. */
  | { readonly kind: "reset" };

/** Client: frames of the caller. */
export function encodeTalkMessage(frames: readonly AudioFrame[]): Uint8Array {
  return join(messageKinds.talkspurt, frames);
}

/** Server: the caller's frames in a message. Packets are views. */
export function decodeTalkMessage(message: Uint8Array): AudioFrame[] | undefined {
  const start = new KindDecoder().push(message);
  return start?.kind === messageKinds.talkspurt ? decodeFrames(start.rest) : undefined;
}

/** Server: one message. */
export function encodeAudioMessage(message: AudioMessage): Uint8Array {
  switch (message.kind) {
    case "utterance":
      return encodeUtteranceStart(message.header);
    case "more":
      return join(messageKinds.more, message.frames);
    default:
      return encodeVarint(messageKinds[message.kind]);
  }
}

/** Client: what a server's message says. Packets are views. */
export function decodeAudioMessage(message: Uint8Array): AudioMessage | undefined {
  const start = new KindDecoder().push(message);
  switch (start?.kind) {
    case messageKinds.utterance: {
      const header = new UtteranceDecoder().push(start.rest)?.header;
      return header && { kind: "utterance", header };
    }
    case messageKinds.more: {
      const frames = decodeFrames(start.rest);
      return frames && { kind: "more", frames };
    }
    case messageKinds.finished:
      return { kind: "finished" };
    case messageKinds.reset:
      return { kind: "reset" };
    default:
      return undefined;
  }
}

function decodeFrames(bytes: Uint8Array): AudioFrame[] | undefined {
  const decoder = new FrameDecoder();
  const frames = decoder.push(bytes);
  return decoder.isBetween ? frames : undefined; // a message holds whole frames
}

function join(kind: number, frames: readonly AudioFrame[]): Uint8Array {
  const parts = [encodeVarint(kind), ...frames.map(encodeFrame)];
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
