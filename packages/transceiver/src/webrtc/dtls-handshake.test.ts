import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type ClientHello,
  decodeCertificate,
  decodeCertificateVerify,
  decodeClientHello,
  decodeClientKeyExchange,
  decodeHandshake,
  encodeCertificate,
  encodeHandshake,
  encodeServerHello,
} from "./dtls-handshake.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

/** The fields that we read, in the order that RFC 6347 section 4.2.1 gives them. */
const HELLO = Buffer.concat([
  hex("fefd"),
  Buffer.alloc(32, 7),
  hex("00 00"), // no session ID, no cookie
  hex("0004 c02b 00ff"),
  hex("01 00"),
  hex("0021"),
  hex("000a 0006 0004 001d 0017"),
  hex("000d 0004 0002 0403"),
  hex("000e 0007 0004 0001 0007 00"),
  hex("0017 0000"),
]);

test("reads a ClientHello", () => {
  assert.deepEqual(decodeClientHello(HELLO), {
    version: 0xfefd,
    random: Buffer.alloc(32, 7),
    cookie: Buffer.alloc(0),
    cipherSuites: [0xc02b, 0x00ff],
    groups: [29, 23],
    signatureAlgorithms: [0x0403],
    srtpProfiles: [1, 7],
    extendedMasterSecret: true,
    secureRenegotiation: true,
    pointFormats: false,
  } satisfies ClientHello);
});

test("refuses every truncation of a ClientHello but the one without extensions", () => {
  const withoutExtensions = HELLO.length - 2 - 0x21;
  for (let size = 0; size < HELLO.length; size++) {
    const hello = decodeClientHello(HELLO.subarray(0, size));
    assert.equal(hello !== undefined, size === withoutExtensions, `${size} bytes`);
  }
});

test("answers with the extensions that were asked for and no other", () => {
  const hello = decodeClientHello(HELLO)!;
  const answer = encodeServerHello(hello, Buffer.alloc(32, 1), 7).toString("hex");
  assert(answer.endsWith("ff01000100" + "00170000" + "000e00050002000700"));
  const plain = { ...hello, secureRenegotiation: false, extendedMasterSecret: false };
  assert(encodeServerHello(plain, Buffer.alloc(32, 1), undefined).toString("hex").endsWith("c02b000000"));
});

test("messages and certificates come back as they went", () => {
  const [piece, ...rest] = decodeHandshake(encodeHandshake(11, 3, encodeCertificate(Buffer.from("der"))))!;
  assert.equal(rest.length, 0);
  assert.equal(piece!.messageSeq, 3);
  assert.deepEqual(Buffer.from(decodeCertificate(piece!.body)!), Buffer.from("der"));
});

test("refuses fragments that reach beyond their record or their message", () => {
  const message = encodeHandshake(11, 0, Buffer.alloc(10));
  for (let size = 1; size < message.length; size++) assert.equal(decodeHandshake(message.subarray(0, size)), undefined);
  const beyond = Buffer.from(message);
  beyond[8] = 1; // offset 1 of 10, with 10 bytes
  assert.equal(decodeHandshake(beyond), undefined);
});

test("random bytes are refused or decoded, never thrown at", () => {
  const parsers = [
    decodeClientHello,
    decodeHandshake,
    decodeCertificate,
    decodeClientKeyExchange,
    decodeCertificateVerify,
  ];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 150 }), fc.nat(HELLO.length - 1), (bytes, at) => {
      for (const parse of parsers) parse(bytes);
      const mutated = Buffer.from(HELLO);
      mutated.set(bytes.subarray(0, HELLO.length - at), at);
      decodeClientHello(mutated);
    }),
    { seed: 4, numRuns: 3_000 },
  );
});
