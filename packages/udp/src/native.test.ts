import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { loadNative, nativePackageName } from "./native.ts";

test("each platform has a package of its own", () => {
  assert.equal(nativePackageName("linux", "arm64", true), "@sluice/native-linux-arm64-musl");
  assert.equal(nativePackageName("linux", "x64", false), "@sluice/native-linux-x64-gnu");
  assert.equal(nativePackageName("darwin", "arm64"), "@sluice/native-darwin-arm64");
});

test("an addon that is not there, or is none, is told of in a line", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-native-"));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, "garbage.node"), "no library");
  const reasonFor = (file: string) => {
    const loading = loadNative("udp", pathToFileURL(join(folder, file)));
    return loading.exports ? "it loads" : loading.reason;
  };
  const off = process.env.SLUICE_NATIVE === "off";
  assert.match(
    reasonFor("nothing.node"),
    off ? /^off/ : /^absent: neither @sluice\/native-\S+ nor a build from source/,
  );
  assert.match(reasonFor("garbage.node"), off ? /^off/ : /^there but does not load: \S+garbage\.node: /);
});
