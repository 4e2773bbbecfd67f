/** The parsers of a call: media, session descriptions and Realtime events. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseClientEvent } from "@sluice/realtime";
import { decodeRecords } from "../../packages/transceiver/src/webrtc/dtls-record.ts";
import { decodeRed, encodeRed } from "../../packages/transceiver/src/webrtc/red.ts";
import { decodeRtcp } from "../../packages/transceiver/src/webrtc/rtcp.ts";
import { decodeRtp, encodeRtp } from "../../packages/transceiver/src/webrtc/rtp.ts";
import { parseOffer } from "../../packages/transceiver/src/webrtc/sdp.ts";
import { type FuzzTarget, textTarget, tolerating } from "./target.ts";

const fixtures = join(import.meta.dirname, "../../packages/transceiver/src/webrtc/fixtures");
const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const payload = new Uint8Array(20).fill(7);

/** The parsers of `@sluice/transceiver` and `@sluice/realtime`. */
export const mediaTargets: readonly FuzzTarget[] = [
  {
    name: "RTP",
    seeds: [
      encodeRtp({ payloadType: 111, sequenceNumber: 1, timestamp: 960, ssrc: 5, marker: true, payload }),
      hex("926f0001000003c000000005 0000000100000002 bede0001 10ff0000 aabbccdd"), // CSRCs and a one-byte extension
      hex("b06f0001000003c000000005 10000001 0101ff00 aabbcc04 00000004"), // a two-byte extension and padding
    ],
    maxSize: 96,
    parse: decodeRtp,
  },
  {
    name: "RTCP",
    seeds: [
      hex("80c80006 00000005 e0000000 00000000 00000000 00000001 00000002"), // sender report
      hex("81c90007 00000005 00000006 00000000 00000001 00000000 00000000 00000000"), // receiver report
      hex("81ca0003 00000005 01036162 63000000"), // source description
      hex("81cd0003 00000005 00000006 00010003"), // generic NACK
      hex("81cb0001 00000005"), // goodbye
      hex(
        "81c90007 00000005 00000006 00000000 00000001 00000000 00000000 00000000 81ca0003 00000005 01036162 63000000",
      ),
    ],
    maxSize: 160,
    parse: decodeRtcp,
  },
  {
    name: "RED",
    seeds: [
      encodeRed({
        redundant: [{ payloadType: 111, timestampOffset: 960, payload }],
        primary: { payloadType: 111, payload },
      }),
      encodeRed({ redundant: [], primary: { payloadType: 111, payload } }),
    ],
    maxSize: 96,
    parse: decodeRed,
  },
  {
    name: "DTLS records",
    seeds: [
      hex("16feff 0000 000000000000 0010 01000004 0000 000000 000004 aabbccdd"),
      hex("15fefd 0001 000000000001 0012 000100000000000100112233445566778899"),
      hex("14fefd 0000 000000000002 0001 01 16fefd 0001 000000000000 0008 0102030405060708"),
    ],
    maxSize: 96,
    parse: decodeRecords,
  },
  textTarget(
    "SDP",
    ["chromium-data-only.sdp", "werift.sdp"].map((name) => readFileSync(join(fixtures, name), "utf8")),
    tolerating("SdpError", parseOffer),
    512,
  ),
  textTarget(
    "client events",
    [
      '{"type":"session.update","session":{"type":"realtime","audio":{"input":{"turn_detection":null}}}}',
      '{"type":"input_audio_buffer.append","audio":"AAAA"}',
      '{"type":"conversation.item.create","item":{"type":"message","role":"user","content":[{"type":"input_text","text":"a"}]}}',
      '{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":100}',
      '{"type":"response.create","response":{"output_modalities":["audio"]}}',
      '{"type":"sluice.playout.report","item_id":"a","started_ms":1,"position_ms":2,"at_ms":3}',
    ],
    parseClientEvent,
    160,
  ),
];
