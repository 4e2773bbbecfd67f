import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BodyError, parseCallBody } from "./body.ts";
import { boundaryOf, parseForm } from "./multipart.ts";

const text = (bytes: Uint8Array | undefined) => bytes && new TextDecoder().decode(bytes);
const bytes = (value: string) => new TextEncoder().encode(value);
const CRLF = "\r\n";

/** What browsers and the openai package send. */
const form = [
  "--x",
  'Content-Disposition: form-data; name="sdp"',
  "Content-Type: application/sdp",
  "",
  "v=0\r\no=-",
  "--x",
  'content-disposition: form-data; name="session"; filename="blob"',
  "",
  '{"type":"realtime"}',
  "--x--",
  "",
].join(CRLF);

test("reads the parts of a form, typed or not", () => {
  const fields = parseForm(bytes(form), "x");
  assert.equal(text(fields?.get("sdp")), "v=0\r\no=-");
  assert.equal(text(fields?.get("session")), '{"type":"realtime"}');
  assert.equal(fields?.size, 2);
});

test("reads what this machine's own FormData writes, whatever is in it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), fc.string(), async (binary, value) => {
      const data = new FormData();
      data.set("session", new Blob([binary], { type: "application/json" }));
      data.set("sdp", value);
      const response = new Response(data);
      const boundary = boundaryOf(response.headers.get("content-type") ?? "");
      assert.ok(boundary);
      const fields = parseForm(new Uint8Array(await response.arrayBuffer()), boundary);
      assert.deepEqual(Uint8Array.from(fields?.get("session") ?? []), binary);
      // Forms write line breaks as CRLF, and lone surrogates as U+FFFD.
      assert.equal(text(fields?.get("sdp")), value.toWellFormed().replace(/\r\n|\r|\n/g, CRLF));
    }),
    { numRuns: 100 },
  );
});

test("takes the first part of a name, skips a preamble and parts without a name, and allows empty ones", () => {
  const twice = `preamble${CRLF}--x${CRLF}content-disposition: form-data; name="sdp"${CRLF}${CRLF}1${CRLF}--x \t${CRLF}${CRLF}nameless${CRLF}--x${CRLF}content-disposition: form-data; name="sdp"${CRLF}${CRLF}2${CRLF}--x${CRLF}content-disposition: form-data; name="session"${CRLF}${CRLF}${CRLF}--x--`;
  const fields = parseForm(bytes(twice), "x");
  assert.deepEqual([text(fields?.get("sdp")), text(fields?.get("session")), fields?.size], ["1", "", 2]);
});

test("refuses every truncation before the end mark", () => {
  const whole = bytes(form);
  for (let size = 0; size < whole.length - 2; size++) assert.equal(parseForm(whole.subarray(0, size), "x"), undefined);
});

test("bounds the parts of a form and the headers of a part", () => {
  const part = `--x${CRLF}content-disposition: form-data; name="a"${CRLF}${CRLF}1${CRLF}`;
  assert.ok(parseForm(bytes(`${part.repeat(16)}--x--`), "x"));
  assert.equal(parseForm(bytes(`${part.repeat(17)}--x--`), "x"), undefined);
  const long = `--x${CRLF}a: ${"b".repeat(3000)}${CRLF}${CRLF}1${CRLF}--x--`;
  assert.equal(parseForm(bytes(long), "x"), undefined);
});

test("reads the boundary, quoted or not, and no impossible one", () => {
  assert.equal(boundaryOf("multipart/form-data; boundary=----WebKitFormBoundaryAbC"), "----WebKitFormBoundaryAbC");
  assert.equal(boundaryOf('multipart/form-data; charset=utf-8; Boundary="a b"'), "a b");
  for (const type of ["multipart/form-data", "multipart/form-data; boundary=", `x; boundary=${"a".repeat(71)}`]) {
    assert.equal(boundaryOf(type), undefined, type);
  }
});

test("throws nothing but a BodyError on any body", () => {
  const piece = fc.constantFrom(
    "--x",
    "--",
    CRLF,
    `${CRLF}${CRLF}`,
    'content-disposition: form-data; name="sdp"',
    "v=0",
  );
  const body = fc.oneof(
    fc.uint8Array(),
    fc.array(piece, { maxLength: 12 }).map((pieces) => bytes(pieces.join(""))),
  );
  fc.assert(
    fc.property(
      body,
      fc.constantFrom("application/sdp", "multipart/form-data; boundary=x", "text/plain"),
      (sent, type) => {
        try {
          parseCallBody(type, sent);
        } catch (error) {
          assert.ok(error instanceof BodyError, String(error));
        }
      },
    ),
    { numRuns: 1000 },
  );
});
