import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatCatalog, parseCatalog } from "./catalog.ts";

const bytes = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const opus = { codec: "opus", container: { kind: "legacy" }, sampleRate: 48_000, numberOfChannels: 2 };
const withAudio = (renditions: unknown) => bytes({ audio: { renditions } });

test("the first rendition of Opus in a container that we read is heard", () => {
  assert.deepEqual(parseCatalog(withAudio({ "audio/data": opus })), { track: "audio/data", container: "legacy" });
  assert.deepEqual(parseCatalog(withAudio({ a: { codec: "opus" } })), { track: "a", container: "legacy" });
  const others = {
    aac: { ...opus, codec: "mp4a.40.2" },
    file: { ...opus, container: { kind: "cmaf", init: "" } },
    elsewhere: { ...opus, broadcast: "../other" },
    loc: { ...opus, container: { kind: "loc" } },
    later: opus,
  };
  assert.deepEqual(parseCatalog(withAudio(others)), { track: "loc", container: "loc" });
});

test("a catalog may have nothing to hear", () => {
  for (const catalog of [{}, { video: { renditions: {} } }, { audio: { renditions: {} } }, { audio: 5 }]) {
    assert.equal(parseCatalog(bytes(catalog)), null);
  }
});

test("what is no object of JSON, or too long, is no catalog", () => {
  for (const text of ["", "[]", "null", "5", "{", `{"a":"${"x".repeat(70_000)}"}`]) {
    assert.equal(parseCatalog(bytes(text)), undefined);
  }
  assert.equal(parseCatalog(Uint8Array.of(0xff, 0xfe)), undefined);
});

test("our own catalog is one", () => {
  assert.deepEqual(parseCatalog(bytes(formatCatalog())), { track: "audio", container: "legacy" });
});

test("whatever JSON comes, it is heard, not heard, or no catalog", () => {
  fc.assert(
    fc.property(fc.json(), (json) => {
      const rendition = parseCatalog(bytes(json));
      assert.ok(!rendition || typeof rendition.track === "string");
      parseCatalog(bytes(`{"audio":{"renditions":${json}}}`));
      parseCatalog(bytes(`{"audio":{"renditions":{"a":${json}}}}`));
    }),
  );
});
