import assert from "node:assert/strict";
import { test } from "node:test";
import { OutgoingStream } from "./outgoing-stream.ts";
import type { QuicStream } from "./quic-engine.ts";
import type { Session } from "./session.ts";

const STREAM = 3 as QuicStream;

/** A session that takes `room` bytes, and notes them. */
function pipe() {
  const taken: number[] = [];
  const done: string[] = [];
  const state = { room: 0, isStopped: false };
  const session = {
    write: (_stream: QuicStream, data: Uint8Array) => {
      if (state.isStopped) return undefined;
      const count = Math.min(state.room, data.length);
      state.room -= count;
      taken.push(...data.subarray(0, count));
      return count;
    },
    finish: () => done.push("finish"),
    reset: (_stream: QuicStream, code: number) => done.push(`reset ${code}`),
  } as unknown as Session;
  return { stream: new OutgoingStream(session), taken, done, state };
}

test("keeps what is written before there is a stream, and gives it in order, whatever is taken at once", () => {
  const { stream, taken, done, state } = pipe();
  const count = 5000;
  for (let n = 0; n < count; n++) stream.write(Uint8Array.of(n & 255, n >> 8));
  stream.finish();
  stream.open(STREAM);
  assert.equal(stream.waiting, 2 * count);
  while (!stream.isComplete) {
    state.room = 1501;
    stream.flush();
  }
  assert.equal(stream.waiting, 0);
  assert.deepEqual(taken, Array.from({ length: count }, (_, n) => [n & 255, n >> 8]).flat());
  assert.deepEqual(done, ["finish"]);
});

test("drops what waits when it is reset, or when nobody wants it", () => {
  const one = pipe();
  one.stream.open(STREAM);
  one.stream.write(new Uint8Array(10));
  one.stream.reset(1);
  assert.deepEqual([one.done, one.stream.waiting, one.stream.isComplete], [["reset 1"], 0, true]);
  const other = pipe();
  other.stream.open(STREAM);
  other.stream.write(new Uint8Array(10));
  other.state.isStopped = true;
  other.stream.flush();
  other.stream.write(new Uint8Array(10));
  assert.deepEqual([other.stream.waiting, other.stream.isComplete], [0, true]);
});

test("a client that drains megabytes of small events costs no time that grows with their square", () => {
  const { stream, state } = pipe();
  stream.open(STREAM);
  for (let n = 0; n < 200_000; n++) stream.write(Uint8Array.of(1));
  let calls = 0;
  for (; stream.waiting > 0; calls++) {
    state.room = 10;
    stream.flush();
  }
  assert.equal(calls, 20_000);
});
