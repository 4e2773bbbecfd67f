import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeHuffman, huffmanCode } from "./huffman.ts";
import { decodeFieldSection, encodeFieldSection, type HeaderField } from "./qpack.ts";
import { staticTable } from "./qpack-static.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");

/** `text` in Huffman's code, padded with ones. */
function encodeHuffman(octets: Uint8Array): Uint8Array {
  let bits = "";
  for (const octet of octets) {
    const { code, length } = huffmanCode(octet);
    bits += code.toString(2).padStart(length, "0");
  }
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
  return Uint8Array.from(bits.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2));
}

test("Huffman's code has the values of RFC 7541, appendix B", () => {
  const printed = [
    [0, 0x1ff8, 13],
    [1, 0x7fffd8, 23],
    [10, 0x3ffffffc, 30],
    [22, 0x3ffffffe, 30],
    [48, 0x0, 5],
    [65, 0x21, 6],
    [88, 0xfc, 8],
    [92, 0x7fff0, 19],
    [122, 0x7b, 7],
    [128, 0xfffe6, 20],
    [195, 0x7fff1, 19],
    [199, 0x1ffffec, 25],
    [220, 0xffffffd, 28],
    [239, 0x7ffff4, 23],
    [249, 0xffffffe, 28],
    [254, 0x7fffff0, 27],
    [255, 0x3ffffee, 26],
    [256, 0x3fffffff, 30],
  ] as const;
  for (const [octet, code, length] of printed) assert.deepEqual(huffmanCode(octet), { code, length }, `${octet}`);
});

test("reads the Huffman strings of RFC 7541, appendix C", () => {
  const strings = [
    ["f1e3 c2e5 f23a 6ba0 ab90 f4ff", "www.example.com"],
    ["a8eb 1064 9cbf", "no-cache"],
    ["25a8 49e9 5ba9 7d7f", "custom-key"],
    ["25a8 49e9 5bb8 e8b4 bf", "custom-value"],
    ["d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3", "https://www.example.com"],
    [
      "94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ],
  ] as const;
  for (const [bytes, text] of strings) assert.equal(Buffer.from(decodeHuffman(hex(bytes))!).toString("latin1"), text);
});

test("gives back any octets from their Huffman code", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (octets) => {
      assert.deepEqual(decodeHuffman(encodeHuffman(octets)), octets);
    }),
  );
});

test("refuses what is no Huffman string: EOS in it, long padding, padding with zeros", () => {
  assert.equal(decodeHuffman(hex("ffffffff")), undefined, "EOS");
  assert.equal(decodeHuffman(hex("ffff")), undefined, "16 bits of padding");
  assert.equal(decodeHuffman(hex("1fff")), undefined, "'a' and 11 bits of padding");
  assert.equal(decodeHuffman(hex("18")), undefined, "'a' and zeros");
  assert.deepEqual(decodeHuffman(hex("1f")), Uint8Array.of(97));
});

test("reads the field section of RFC 9204, appendix B.1", () => {
  assert.deepEqual(decodeFieldSection(hex("0000 510b 2f69 6e64 6578 2e68 746d 6c")), [
    { name: ":path", value: "/index.html" },
  ]);
});

test("refuses the sections of RFC 9204, appendix B that need a dynamic table, as none is allowed here", () => {
  for (const section of ["0381 10 11", "0500 80 c1 81"]) assert.equal(decodeFieldSection(hex(section)), undefined);
});

test("reads a CONNECT as Chromium writes it: static entries and Huffman", () => {
  const huffman = (text: string) => {
    const code = encodeHuffman(Buffer.from(text));
    return [0x80 | code.length, ...code];
  };
  const name = encodeHuffman(Buffer.from(":protocol"));
  const section = Uint8Array.from([
    ...[0, 0, 0xc0 | 23, 0xc0 | 15], // :scheme https, :method CONNECT
    ...[0x50, ...huffman("localhost:4433")], // :authority
    ...[0x51, ...huffman("/x?y")], // :path
    ...[0x28 | 7, name.length - 7, ...name], // a literal name of seven bytes or more needs a second length byte
    ...huffman("webtransport"),
  ]);
  assert.deepEqual(decodeFieldSection(section), [
    { name: ":scheme", value: "https" },
    { name: ":method", value: "CONNECT" },
    { name: ":authority", value: "localhost:4433" },
    { name: ":path", value: "/x?y" },
    { name: ":protocol", value: "webtransport" },
  ]);
});

test("writes the shortest answer that a browser takes", () => {
  assert.deepEqual(encodeFieldSection([{ name: ":status", value: "200" }]), Uint8Array.from(hex("0000d9")));
});

test("gives back every field", () => {
  assert.equal(staticTable.length, 99);
  assert.deepEqual(decodeFieldSection(encodeFieldSection(staticTable)), staticTable);
  const field = fc.record(
    {
      name: fc.oneof(fc.constantFrom(...staticTable.map(({ name }) => name)), fc.stringMatching(/^[a-z-]{1,40}$/)),
      value: fc.stringMatching(/^[ -~]{0,300}$/),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(fc.array(field, { maxLength: 20 }), (fields: HeaderField[]) => {
      assert.deepEqual(decodeFieldSection(encodeFieldSection(fields)), fields);
    }),
  );
});

test("a section that ends too soon is refused, or is a shorter list of whole fields", () => {
  const fields = [
    { name: ":status", value: "200" },
    { name: "x-long", value: "y".repeat(200) },
  ];
  const section = encodeFieldSection(fields);
  for (let size = 0; size < section.length; size++) {
    const whole = size === 2 ? [] : size === 3 ? fields.slice(0, 1) : undefined;
    assert.deepEqual(decodeFieldSection(section.subarray(0, size)), whole, `${size} bytes`);
  }
});

test("refuses names in upper case, indices past the table and more fields than anybody sends", () => {
  assert.equal(decodeFieldSection(encodeFieldSection([{ name: "X-Y", value: "" }])), undefined);
  assert.equal(decodeFieldSection(hex("0000 ff24")), undefined, "static entry 99");
  assert.equal(decodeFieldSection(Uint8Array.of(0, 0, ...new Array<number>(129).fill(0xd9))), undefined);
  assert.equal(decodeFieldSection(hex("0000 37ffffffffff7f")), undefined, "a length beyond all bounds");
});
