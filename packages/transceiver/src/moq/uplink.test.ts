import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { OpusDecoder } from "../media/opus.ts";
import { MoqUplink, type MoqUplinkAudio } from "./uplink.ts";

/** A CELT packet of 20 ms that says which it is. */
const packet = (n: number) => Uint8Array.of(0xf8, n >> 8, n);
const FRAME_MICROS = 20_000;

/** An uplink whose decoders say which packet they were given, for a publisher whose clock began at `zero`. */
function listen(zero = 5_000_000) {
  const decoder: OpusDecoder = {
    decode: (bytes) => (bytes[1] === 0xff ? undefined : new Int16Array(480).fill((bytes[1]! << 8) | bytes[2]!)),
    decodeFec: () => assert.fail(),
    conceal: () => assert.fail(),
    free: () => {},
  };
  const uplink = new MoqUplink(0, { decoder, earlyDecoder: decoder });
  const early: number[] = [];
  const ordered: (number | string)[] = [];
  const places: number[] = [];
  let end = 0;
  const take = (audio: MoqUplinkAudio) => {
    for (const { pcm } of audio.early) early.push(pcm[0]!);
    for (const { pcm, mediaMs, origin } of audio.ordered) {
      ordered.push(origin === "concealed" ? `silence ${pcm.length / 24}` : pcm[0]!);
      places.push(mediaMs);
      assert.ok(mediaMs >= end - 0.01, "places only grow");
      end = mediaMs + pcm.length / 24;
    }
  };
  const frame = (now: number, group: number, n: number, micros = zero + n * FRAME_MICROS) =>
    take(uplink.handleFrame(now, group, { micros, packet: packet(n) }));
  const finish = (now: number, group: number) => take(uplink.handleGroupEnd(now, group));
  return {
    uplink,
    early,
    ordered,
    places,
    frame,
    finish,
    begin: (now: number) => take(uplink.begin(now)),
    timeout: (now: number) => take(uplink.handleTimeout(now)),
    /** A group of one packet, as `@moq/publish` makes them. */
    one: (now: number, n: number, micros?: number) => {
      frame(now, n, n, micros);
      finish(now, n);
    },
  };
}

test("packets that come in order are heard at once on both clocks, from where the call is", () => {
  const { one, early, ordered, places, uplink } = listen();
  for (let n = 7; n < 10; n++) one(n, n);
  assert.deepEqual(
    [early, ordered, places],
    [
      [7, 8, 9],
      [7, 8, 9],
      [0, 20, 40],
    ],
  );
  assert.equal(uplink.counts.lostGroups, 0);
});

test("a group that comes late is waited for by recognition and not by voice activity", () => {
  const { one, early, ordered, uplink } = listen();
  one(0, 0);
  one(20, 2);
  one(40, 3);
  assert.deepEqual([early, ordered], [[0, 2, 3], [0]]);
  one(100, 1);
  assert.deepEqual(ordered, [0, 1, 2, 3]);
  assert.deepEqual(early, [0, 2, 3], "what voice activity has passed, it does not hear any more");
  assert.equal(uplink.counts.lostGroups, 0);
});

test("a group that never comes is silence after two seconds", () => {
  const { one, ordered, timeout, uplink } = listen();
  one(0, 0);
  one(20, 2);
  assert.equal(uplink.pollTimeout(), 2020);
  timeout(2019);
  assert.deepEqual(ordered, [0]);
  timeout(2020);
  assert.deepEqual(ordered, [0, "silence 20", 2]);
  assert.equal(uplink.counts.lostGroups, 1);
  one(2030, 1);
  assert.deepEqual(ordered, [0, "silence 20", 2]);
  assert.equal(uplink.counts.late, 1);
});

test("each hole is waited for anew", () => {
  const { one, ordered, timeout, uplink } = listen();
  for (const n of [0, 2, 4]) one(0, n);
  timeout(2000);
  assert.deepEqual(ordered, [0, "silence 20", 2]);
  assert.equal(uplink.pollTimeout(), 4000);
  timeout(4000);
  assert.deepEqual(ordered, [0, "silence 20", 2, "silence 20", 4]);
});

test("a group of many packets goes on while it is the current one", () => {
  const { frame, finish, ordered } = listen();
  frame(0, 0, 0);
  frame(0, 1, 3); // the next group begins before the end of this one
  frame(0, 0, 1);
  frame(0, 0, 2);
  assert.deepEqual(ordered, [0, 1, 2]);
  finish(0, 0);
  assert.deepEqual(ordered, [0, 1, 2, 3]);
});

test("what was never captured, as with DTX, is silence, of a second at most", () => {
  const { one, ordered, places } = listen();
  one(0, 0);
  one(0, 1, 5_000_000 + 400_000);
  assert.deepEqual(ordered, [0, "silence 380", 1]);
  one(0, 2, 5_000_000 + 10_000_000);
  assert.deepEqual(ordered.slice(3), ["silence 1000", 2]);
  assert.deepEqual(places.slice(-1), [10_000]);
});

test("a pause of which nothing comes, as Chromium leaves it out, is told by the clock: soon after quiet", () => {
  const { one, ordered, early, timeout, uplink } = listen();
  for (let n = 0; n < 5; n++) one(n * 20, n);
  assert.equal(uplink.pollTimeout(), 80 + 60);
  for (let now = 140; now <= 500; now += 40) timeout(now);
  one(500, 5); // its time follows the frame before the pause
  const silent = (list: readonly unknown[]) => list.filter((one) => typeof one === "string");
  assert.equal(silent(ordered).length, 10);
  assert.equal(uplink.counts.frames, 6);
  assert.deepEqual(ordered.slice(-1), [5]);
  assert.deepEqual(early.slice(-1), [5]);
});

test("after speech it may be the network: a pause is told later, and what was late is heard after it", () => {
  const { one, ordered, places, timeout, uplink } = listen();
  for (let n = 1000; n < 1010; n++) one(0, n);
  assert.equal(uplink.pollTimeout(), 300);
  timeout(300);
  assert.deepEqual(ordered.slice(-1), ["silence 300"]);
  for (let n = 1010; n < 1013; n++) one(310, n);
  assert.deepEqual(ordered.slice(-3), [1010, 1011, 1012]);
  assert.deepEqual(places.slice(-3), [500, 520, 540]);
});

test("a pause is told for ten seconds, and at once when the track is over", () => {
  const { one, ordered, timeout, uplink } = listen();
  for (let n = 1000; n < 1010; n++) one(0, n);
  uplink.end();
  assert.equal(uplink.pollTimeout(), 60);
  for (let due = uplink.pollTimeout(); due !== undefined; due = uplink.pollTimeout()) timeout(due);
  const silence = ordered.filter((one) => typeof one === "string").map((one) => Number(one.split(" ")[1]));
  assert.equal(
    silence.reduce((sum, ms) => sum + ms, 0),
    10_000,
  );
});

test("a publisher whose clock jumps back, and another track, go on where the call is", () => {
  const { one, begin, ordered, places } = listen();
  one(0, 0);
  one(0, 1, 100);
  assert.deepEqual(places, [0, 20]);
  begin(0);
  one(0, 5, 77_000_000);
  assert.deepEqual(
    [ordered, places],
    [
      [0, 1, 5],
      [0, 20, 40],
    ],
  );
});

test("what is no Opus is counted and does no harm", () => {
  const { one, frame, uplink, ordered } = listen();
  one(0, 0);
  frame(0, 1, 0xff00);
  uplink.handleMalformed();
  assert.equal(uplink.counts.malformed, 2);
  frame(0, 1, 1);
  assert.deepEqual(ordered, [0, 1]);
});

test("who sends more than anybody speaks is told on", () => {
  const { frame, uplink } = listen();
  for (let n = 0; n < 20_000 && !uplink.tooMuch; n++) frame(0, n, n & 0xff);
  assert.ok(uplink.tooMuch);
});

test("in whatever order groups come, recognition hears those that came, in order", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(Array.from({ length: 30 }, (_, n) => n)), (groups) => {
      const { one, ordered, timeout, uplink } = listen();
      const [first = 0] = groups;
      for (const n of groups) one(0, n);
      for (let due = uplink.pollTimeout(); due !== undefined; due = uplink.pollTimeout()) timeout(due);
      const expected = groups.filter((n) => n >= first).sort((a, b) => a - b);
      assert.deepEqual(
        ordered.filter((one) => typeof one === "number"),
        expected,
      );
    }),
  );
});
