import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { constants, getPriority } from "node:os";
import { test } from "node:test";
import { yieldBackground } from "./background.ts";

test("V8's own threads give way to ours, and no other does", { skip: process.platform !== "linux" }, () => {
  const before = getPriority();
  assert.ok(yieldBackground() > 0);
  for (const id of readdirSync("/proc/self/task")) {
    const isV8 = readFileSync(`/proc/self/task/${id}/comm`, "utf8").includes("V8Worker");
    assert.equal(getPriority(Number(id)), isV8 ? constants.priority.PRIORITY_LOW : before);
  }
});
