import assert from "node:assert/strict";
import { test } from "node:test";
import { Talkspurts } from "./talkspurt.ts";

/** Frames at which voice begins, given levels as [frames, rms]. */
function begins(...levels: [frames: number, rms: number][]): number[] {
  const talkspurts = new Talkspurts();
  return levels
    .flatMap(([frames, rms]) => new Array<number>(frames).fill(rms))
    .flatMap((rms, index) => (talkspurts.handleFrame(rms) ? [index] : []));
}

test("a talkspurt begins where voice does", () => {
  assert.deepEqual(begins([50, 0.001], [40, 0.1], [20, 0.001], [30, 0.1]), [50, 110]);
});

test("a breath between words begins none", () => {
  assert.deepEqual(begins([50, 0.001], [20, 0.1], [10, 0.001], [20, 0.1]), [50]);
});

test("voice from the first frame on is a talkspurt", () => {
  assert.deepEqual(begins([10, 0.1]), [0]);
});

test("a fan becomes the floor", () => {
  assert.deepEqual(begins([600, 0.01], [10, 0.2]), [0, 600]);
});
