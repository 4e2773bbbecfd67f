import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import {
  BINDING_METHOD,
  formatBindingError,
  formatBindingRequest,
  formatBindingSuccess,
  hasValidFingerprint,
  hasValidIntegrity,
  parseStun,
} from "./stun.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

// RFC 5769, appendix A, and the password of its short-term messages.
const PASSWORD = "VOkJxbRl1RmTxUk/WvJxBt";
const HEADER_ID = "2112a442b7e7a701bc34d686fa87dfae";
const REQUEST = hex(`00010058 ${HEADER_ID} 80220010 5354554e207465737420636c69656e74 00240004 6e0001ff
  80290008 932ff9b151263b36 00060009 6576746a3a68367659202020 00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
  80280004 e57a3bcf`);
const RESPONSE_V4 = hex(`0101003c ${HEADER_ID} 8022000b 7465737420766563746f7220 00200008 0001a147e112a643
  00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004 c07d4c96`);
const RESPONSE_V6 = hex(`01010048 ${HEADER_ID} 8022000b 7465737420766563746f7220
  00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014 a382954e4be67bf11784c97c8292c275bfe3ed41
  80280004 c8fb0b4c`);
const REQUEST_LONG_TERM = hex(`00010060 2112a442 78ad3433c6ad72c029da412e
  00060012 e3839ee38388e383aae38383e382afe382b90000 0015001c 662f2f3439396b39353464364f4c33346f4c39465354767936347341
  0014000b 6578616d706c652e6f726700 00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666`);

test("reads RFC 5769's sample request", () => {
  const message = parseStun(REQUEST)!;
  assert.deepEqual([message.class, message.method], ["request", BINDING_METHOD]);
  assert.equal(message.username, "evtj:h6vY");
  assert.deepEqual([message.serverUfrag, message.clientUfrag], ["evtj", "h6vY"]);
  assert.equal(message.priority, 0x6e0001ff);
  assert.equal(message.controlled, 0x932ff9b151263b36n);
  assert.equal(message.controlling, undefined);
  assert.equal(message.useCandidate, false);
  assert.deepEqual(message.unknownRequired, []);
  assert.equal(hasValidFingerprint(message), true);
  assert.equal(hasValidIntegrity(message, PASSWORD), true);
  assert.equal(hasValidIntegrity(message, `${PASSWORD}x`), false);
});

for (const [family, packet, address] of [
  ["IPv4", RESPONSE_V4, "192.0.2.1"],
  ["IPv6", RESPONSE_V6, "2001:db8:1234:5678:11:2233:4455:6677"],
] as const)
  test(`reads RFC 5769's sample ${family} response`, () => {
    const message = parseStun(packet)!;
    assert.equal(message.class, "success");
    assert.deepEqual(message.mappedAddress, { address, port: 32853 });
    assert.equal(hasValidFingerprint(message), true);
    assert.equal(hasValidIntegrity(message, PASSWORD), true);
  });

test("reads RFC 5769's request with long-term credentials, given the key", () => {
  const message = parseStun(REQUEST_LONG_TERM)!;
  const key = createHash("md5").update("\u30de\u30c8\u30ea\u30c3\u30af\u30b9:example.org:TheMatrIX").digest();
  assert.equal(message.username, "\u30de\u30c8\u30ea\u30c3\u30af\u30b9");
  assert.equal(hasValidIntegrity(message, key), true);
  assert.equal(hasValidFingerprint(message), false, "it has none");
});

test("checking a packet leaves it as it was", () => {
  const packet = Buffer.from(RESPONSE_V6);
  const message = parseStun(packet)!;
  hasValidIntegrity(message, PASSWORD);
  hasValidFingerprint(message);
  assert.deepEqual(packet, RESPONSE_V6);
});

test("refuses every truncation, and every sample with a byte more", () => {
  for (const packet of [REQUEST, RESPONSE_V4, RESPONSE_V6, REQUEST_LONG_TERM]) {
    for (let size = 0; size < packet.length; size++) assert.equal(parseStun(packet.subarray(0, size)), undefined);
    assert.equal(parseStun(Buffer.concat([packet, Buffer.alloc(1)])), undefined);
  }
});

test("every single flipped bit breaks the integrity of what it covers", () => {
  for (let bit = 0; bit < 100 * 8; bit++) {
    const flipped = Buffer.from(REQUEST);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    const message = parseStun(flipped);
    assert.equal(message !== undefined && hasValidIntegrity(message, PASSWORD), false, `bit ${bit}`);
  }
});

test("a request that it writes reads back and verifies", () => {
  fc.assert(
    fc.property(
      fc.record({
        transactionId: fc.uint8Array({ minLength: 12, maxLength: 12 }),
        username: fc.string({ minLength: 1, maxLength: 100 }),
        password: fc.string({ minLength: 1, maxLength: 30 }),
        priority: fc.integer({ min: 0, max: 0xffffffff }),
        tieBreaker: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
        useCandidate: fc.boolean(),
        role: fc.constantFrom("controlling" as const, "controlled" as const),
      }),
      (request) => {
        const message = parseStun(formatBindingRequest(request))!;
        assert.equal(message.username, request.username);
        assert.equal(message.priority, request.priority);
        assert.equal(message.useCandidate, request.useCandidate);
        assert.equal(message[request.role], request.tieBreaker);
        assert.equal(hasValidFingerprint(message), true);
        assert.equal(hasValidIntegrity(message, request.password), true);
      },
    ),
  );
});

test("a response that it writes carries the address, and so covers it with its integrity", () => {
  const transactionId = randomBytes(12);
  for (const address of ["203.0.113.9", "2001:db8::9", "::1"]) {
    const packet = formatBindingSuccess({ transactionId, address, port: 65_535, password: PASSWORD });
    const message = parseStun(packet)!;
    assert.deepEqual(message.mappedAddress, { address, port: 65_535 });
    assert.equal(hasValidIntegrity(message, PASSWORD) && hasValidFingerprint(message), true);
  }
  assert.throws(() => formatBindingSuccess({ transactionId, address: "a.example", port: 1, password: "" }), RangeError);
});

test("an error response names its code, signed or not", () => {
  const transactionId = randomBytes(12);
  const unsigned = parseStun(formatBindingError({ transactionId, code: 401, reason: "Unauthenticated" }))!;
  assert.deepEqual([unsigned.class, unsigned.errorCode, unsigned.integrityOffset], ["error", 401, undefined]);
  const signed = parseStun(
    formatBindingError({ transactionId, code: 420, reason: "?", password: PASSWORD, unknownRequired: [0x7001, 0x12] }),
  )!;
  assert.equal(signed.errorCode, 420);
  assert.equal(hasValidIntegrity(signed, PASSWORD), true);
});

test("what follows MESSAGE-INTEGRITY is not believed, and nothing may follow FINGERPRINT", () => {
  const withTail = (packet: Buffer, tail: Buffer) => {
    const longer = Buffer.concat([packet, tail]);
    longer.writeUInt16BE(longer.length - 20, 2);
    return longer;
  };
  const useCandidate = hex("00250000");
  assert.equal(parseStun(withTail(REQUEST_LONG_TERM, useCandidate))!.useCandidate, false);
  assert.equal(parseStun(withTail(REQUEST, useCandidate)), undefined);
});

test("unknown attributes below 0x8000 are reported, the others ignored", () => {
  const packet = hex(`00010010 ${HEADER_ID} 7fff0004 00000000 ffff0004 00000000`);
  assert.deepEqual(parseStun(packet)!.unknownRequired, [0x7fff]);
});

test("a flood of attributes, an overlong username and attributes of a wrong size are malformed", () => {
  const packet = (...attributes: string[]) => {
    const body = hex(attributes.join(""));
    return hex(`0001${body.length.toString(16).padStart(4, "0")}${HEADER_ID}${body.toString("hex")}`);
  };
  assert.equal(parseStun(packet(..."ffff0000 ".repeat(33).trim().split(" "))), undefined);
  assert.equal(parseStun(packet(`00060200${"61".repeat(512)}`)), undefined);
  for (const bad of [
    "0024000300000000",
    "0025000100000000",
    "802a000400000000",
    "0008000400000000",
    "8028000300000000",
  ])
    assert.equal(parseStun(packet(bad)), undefined, bad);
});
