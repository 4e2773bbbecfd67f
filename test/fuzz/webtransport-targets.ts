/** The parsers of a conversation over WebTransport: its wire format, on both ends. */
import {
  decodeFrameDatagram,
  EventDecoder,
  encodeEvent,
  encodeFrame,
  encodeFrameDatagram,
  encodeTalkspurtStart,
  encodeUtteranceStart,
  KindDecoder,
  TalkspurtDecoder,
  UtteranceDecoder,
} from "@sluice/realtime";
import type { FuzzTarget } from "./target.ts";

const frame = { time: 960, packet: Uint8Array.of(0xf8, 1, 2, 3) };
const utterance = { response_id: "r", item_id: "i", output_index: 0, content_index: 0, start: 0 };
const join = (...parts: readonly Uint8Array[]) => Buffer.concat(parts);

/** Feeds `input` in two pieces, cut where its first byte says. */
function inPieces(input: Uint8Array, push: (piece: Uint8Array) => unknown): void {
  const at = (input[0] ?? 0) % (input.length + 1);
  push(input.subarray(0, at));
  push(input.subarray(at));
}

/** The parsers of docs/webtransport.md. */
export const webTransportTargets: readonly FuzzTarget[] = [
  {
    name: "event stream",
    seeds: [join(encodeEvent('{"type":"response.create"}'), encodeEvent("{}")), encodeEvent("é".repeat(40))],
    share: 0.5,
    parse: (input) => {
      const decoder = new EventDecoder();
      inPieces(input, (piece) => decoder.push(piece));
    },
  },
  {
    name: "talkspurt",
    seeds: [join(encodeTalkspurtStart(0), encodeFrame(frame), encodeFrame({ ...frame, packet: new Uint8Array(0) }))],
    maxSize: 96,
    share: 0.5,
    parse: (input) => {
      const kind = new KindDecoder();
      const decoder = new TalkspurtDecoder();
      inPieces(input, (piece) => decoder.push(kind.push(piece)?.rest ?? piece));
    },
  },
  {
    name: "utterance",
    seeds: [join(encodeUtteranceStart(utterance).subarray(1), encodeFrame(frame), encodeFrame(frame))],
    share: 0.25,
    parse: (input) => {
      const decoder = new UtteranceDecoder();
      inPieces(input, (piece) => decoder.push(piece));
    },
  },
  { name: "frame datagram", seeds: [encodeFrameDatagram(frame)], maxSize: 48, share: 0.5, parse: decodeFrameDatagram },
];
