import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

test("500 connect and disconnect cycles, some given up half-way, grow the heap by less than 5 MiB", async () => {
  const program = new URL("webrtc/churn.ts", import.meta.url).pathname;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--expose-gc", "--conditions=sluice-source", program, "500"],
    { timeout: 120_000 },
  );
  const { sessions, grewBytes } = JSON.parse(stdout) as { sessions: number; grewBytes: number };
  assert.equal(sessions, 0);
  assert(grewBytes < 5 * 1024 * 1024, `it grew by ${grewBytes} bytes`);
});
