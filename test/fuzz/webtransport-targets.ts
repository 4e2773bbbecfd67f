/** The parsers of a conversation over WebTransport: its wire format, on both ends. */
import { randomBytes } from "node:crypto";
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
import { createKeyRing, generateKey } from "@sluice/routing";
import { CapsuleDecoder, encodeClose, encodeDrain } from "../../packages/transceiver/src/webtransport/capsule.ts";
import {
  decodeSettings,
  encodeControlStart,
  encodeFrame as encodeHttp3Frame,
  FrameDecoder as Http3FrameDecoder,
  ourSettings,
} from "../../packages/transceiver/src/webtransport/http3-frame.ts";
import { decodeFieldSection, encodeFieldSection } from "../../packages/transceiver/src/webtransport/qpack.ts";
import { SessionTokens } from "../../packages/transceiver/src/webtransport/session-token.ts";
import { type FuzzTarget, textTarget } from "./target.ts";

const frame = { time: 960, packet: Uint8Array.of(0xf8, 1, 2, 3) };
const utterance = { response_id: "r", item_id: "i", output_index: 0, content_index: 0, start: 0 };
const join = (...parts: readonly Uint8Array[]) => Buffer.concat(parts);

/** Feeds `input` in two pieces, cut where its first byte says. */
function inPieces(input: Uint8Array, push: (piece: Uint8Array) => unknown): void {
  const at = (input[0] ?? 0) % (input.length + 1);
  push(input.subarray(0, at));
  push(input.subarray(at));
}

const tokens = new SessionTokens(createKeyRing([generateKey(randomBytes)]), randomBytes);
const claims = { id: "wt_1", expiresAt: 5, settings: [], model: undefined, leadMs: 0, origin: undefined };
const keptFrames = new Map([
  [1, 200],
  [4, 100],
]);

/** The parsers of HTTP/3, and of docs/webtransport.md. */
export const webTransportTargets: readonly FuzzTarget[] = [
  {
    name: "event stream",
    seeds: [join(encodeEvent('{"type":"response.create"}'), encodeEvent("{}")), encodeEvent("é".repeat(40))],
    share: 0.25,
    parse: (input) => {
      const decoder = new EventDecoder();
      inPieces(input, (piece) => decoder.push(piece));
    },
  },
  {
    name: "talkspurt",
    seeds: [join(encodeTalkspurtStart(0), encodeFrame(frame), encodeFrame({ ...frame, packet: new Uint8Array(0) }))],
    maxSize: 96,
    share: 0.25,
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
  {
    name: "QPACK field section",
    seeds: [
      encodeFieldSection([
        { name: ":method", value: "CONNECT" },
        { name: ":path", value: "/v1/realtime/webtransport?token=x" },
        { name: "sec-webtransport-http3-draft02", value: "1" },
      ]),
      Buffer.from("00005186e3c2e5f23a6b2789a0abd3d72dbd3f", "hex"),
    ],
    maxSize: 160,
    share: 0.25,
    parse: decodeFieldSection,
  },
  {
    name: "HTTP/3 frames and capsules",
    seeds: [
      join(encodeControlStart(ourSettings).subarray(1), encodeHttp3Frame(0x21, new Uint8Array(3))),
      join(encodeHttp3Frame(1, new Uint8Array(8)), encodeDrain(), encodeClose(5, "draining")),
    ],
    maxSize: 128,
    share: 0.25,
    parse: (input) => {
      const frames = new Http3FrameDecoder(keptFrames);
      const capsules = new CapsuleDecoder();
      inPieces(input, (bytes) => {
        for (const piece of frames.push(bytes)) {
          if (piece.kind === "data") capsules.push(piece.data);
          else if (piece.kind === "frame") decodeSettings(piece.payload);
        }
      });
    },
  },
  textTarget("session token", [tokens.mint(claims)!], (text) => tokens.spend(9, text), 256, 0.02),
  { name: "frame datagram", seeds: [encodeFrameDatagram(frame)], maxSize: 48, share: 0.25, parse: decodeFrameDatagram },
];
