/** The parsers of a call: media, session descriptions and Realtime events. */
import { parseClientEvent } from "@sluice/realtime";
import { encodeSctpPacket } from "../../packages/transceiver/src/sctp/packet.ts";
import { openGoodWire, Pair } from "../../packages/transceiver/src/sctp/testing.ts";
import { parseCallBody } from "../../packages/transceiver/src/signaling/body.ts";
import { decodeDataChannelOpen } from "../../packages/transceiver/src/webrtc/data-channel.ts";
import { DtlsGuard } from "../../packages/transceiver/src/webrtc/dtls-guard.ts";
import {
  decodeCertificate,
  decodeCertificateVerify,
  decodeClientHello,
  decodeClientKeyExchange,
  decodeHandshake,
} from "../../packages/transceiver/src/webrtc/dtls-handshake.ts";
import { decodeRed, encodeRed } from "../../packages/transceiver/src/webrtc/red.ts";
import { decodeRtcp } from "../../packages/transceiver/src/webrtc/rtcp.ts";
import { decodeRtp, encodeRtp } from "../../packages/transceiver/src/webrtc/rtp.ts";
import { parseOffer } from "../../packages/transceiver/src/webrtc/sdp.ts";
import { type FuzzTarget, textTarget, tolerating } from "./target.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const payload = new Uint8Array(20).fill(7);

/** An offer with all that one needs and nothing more: mutations then hit something that is read. */
const OFFER = [
  "v=0",
  "o=- 1 2 IN IP4 127.0.0.1",
  "s=-",
  "t=0 0",
  "a=group:BUNDLE 0",
  "m=audio 9 UDP/TLS/RTP/SAVPF 63 111",
  "a=ice-ufrag:v8eD",
  "a=ice-pwd:zqY+Xxd23AlCEXlHr49XUCWP",
  `a=fingerprint:sha-256 ${Array(32).fill("A1").join(":")}`,
  "a=mid:0",
  "a=rtcp-mux",
  "a=rtpmap:111 opus/48000/2",
  "a=rtpmap:63 red/48000/2",
  "a=fmtp:63 111/111",
  "",
].join("\r\n");

const handshakeBodies = [decodeClientHello, decodeCertificate, decodeClientKeyExchange, decodeCertificateVerify];
const established = new DtlsGuard(0);
established.handleEstablished();
let clock = 0;
const handshaking = new DtlsGuard(0);

/** Records that pass the guard, before the handshake and after; time passes so that its rate does not hide its parser. */
function admit(datagram: Uint8Array) {
  clock += 10;
  return [...handshaking.admit(clock, datagram, true), ...established.admit(clock, datagram, true)];
}

/** An association that is up, with TSNs that the seeds fit to. */
function associate() {
  const pair = new Pair({ seed: 1, openWire: openGoodWire, firstTsns: [0x10, 1] });
  pair.connect();
  return pair;
}

let pair = associate();

/** Hands chunks to an association, as a peer sends them whose DTLS is in order. */
function handleChunks(chunks: Uint8Array) {
  const { association, events } = pair.a;
  clock += 10;
  for (const verificationTag of [association.tag, 0])
    association.handlePacket(
      clock,
      encodeSctpPacket({ sourcePort: 5000, destinationPort: 5000, verificationTag }, [chunks]),
    );
  association.handleTimeout(clock);
  while (association.nextPacket(clock)) {}
  for (let event = association.nextEvent(); event; event = association.nextEvent())
    if (event.kind === "closed") pair = associate();
  if (association.heldBytes > 2 ** 21 || events.length > 1_000) throw new Error("it grows");
}

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
    name: "DTLS guard",
    seeds: [
      hex("16feff 0000 000000000000 0010 01000004 0000 000000 000004 aabbccdd"),
      hex("16fefd 0001 000000000001 0012 000100000000000100112233445566778899"),
      hex("14fefd 0000 000000000002 0001 01 16fefd 0001 000000000000 0008 0102030405060708"),
    ],
    maxSize: 96,
    parse: (input) => {
      for (const { fragment } of admit(input))
        for (const { body } of decodeHandshake(fragment) ?? []) for (const decode of handshakeBodies) decode(body);
    },
  },
  {
    name: "DTLS handshake bodies",
    seeds: [
      hex(
        `fefd ${"11".repeat(32)} 00 00 0004 c02bc02f 0100 0022 000a00040002001d 000d00040002 0403 000e000500020007 00 00170000 ff01000100`,
      ),
      hex("000007 000004 30020500"),
      hex(`20 ${"42".repeat(32)}`),
      hex("0403 0004 30020500"),
    ],
    maxSize: 128,
    parse: (input) => {
      for (const decode of handshakeBodies) decode(input);
    },
  },
  {
    name: "SCTP",
    seeds: [
      hex("01000014 00000001 00020000 ffff ffff 00000001"),
      hex("03000014 00000001 00020000 0001 0000 0002 0003"),
      hex("00030014 00000001 0000 0000 00000032 61626364 03000010 0000000f 00020000 0000 0000"),
      hex("00020014 00000001 0000 0001 00000033 61626364 00010011 00000002 0000 0001 00000033 65000000"),
      hex("0400000c 0001 0008 00000001 0500000c 0001 0008 00000001"),
      hex("8200 0014 000d 0010 00000001 0000000f 00000001 82000010 0010 000c 00000010 00000001"),
      hex("c000000c 00000005 0000 0003 07000008 0000000f 0e000004"),
    ],
    share: 0.1, // each association that an input ends is followed by another
    maxSize: 96,
    parse: handleChunks,
  },
  {
    name: "data channel open",
    seeds: [hex("03000000 00000000 0009 0000 6f61692d6576656e7473")],
    maxSize: 48,
    parse: decodeDataChannelOpen,
  },
  textTarget("SDP", [OFFER], tolerating("SdpError", parseOffer), 384),
  textTarget(
    "call form",
    [
      `--b\r\nContent-Disposition: form-data; name="sdp"\r\n\r\nv=0\r\n--b\r\nContent-Disposition: form-data; name="session"\r\n\r\n{"type":"realtime"}\r\n--b--\r\n`,
    ],
    tolerating("BodyError", (text) => parseCallBody("multipart/form-data; boundary=b", Buffer.from(text))),
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
