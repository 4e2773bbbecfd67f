import assert from "node:assert/strict";
import { test } from "node:test";
import type { Utterance } from "@sluice/conversation";
import { BufferedDownlink, type SpeechSink } from "./buffered-downlink.ts";
import type { OpusEncoder } from "./opus.ts";

const utterance: Utterance = { responseId: "r", itemId: "a", outputIndex: 0, contentIndex: 0 };
const pcm = (ms: number) => new Int16Array(ms * 24);

/** A downlink over a sink that notes what it is told, on a clock that is moved by hand. */
function begin(leadMs: number) {
  const done: string[] = [];
  const times: number[] = [];
  const sink: SpeechSink = {
    begin: ({ itemId }, start) => done.push(`begin ${itemId} ${start}`),
    frames: (_, frames) => times.push(...frames.map(({ time }) => time)),
    finish: ({ itemId }) => done.push(`finish ${itemId}`),
    reset: ({ itemId }) => done.push(`reset ${itemId}`),
    sent: (now, { itemId }, ms) => done.push(`sent ${itemId} ${ms} at ${now}`),
    heardOut: (now, { itemId }) => done.push(`heard ${itemId} at ${now}`),
  };
  const encoder: OpusEncoder = {
    lookaheadMs: 2.5,
    encode: () => Uint8Array.of(1),
    setPacketLossPercent: () => {},
    setBitrate: () => {},
    free: () => {},
  };
  const downlink = new BufferedDownlink({ encoder, sink, leadMs });
  /** Lets time pass, waking the downlink whenever it asks for it. */
  const pass = (from: number, to: number) => {
    for (let at = downlink.pollTimeout(); at !== undefined && at <= to; at = downlink.pollTimeout()) {
      downlink.handleTimeout(Math.max(from, at));
    }
  };
  return { downlink, done, times, pass };
}

test("speech leaves as soon as it is made, up to the lead, and goes on as it is heard", () => {
  const { downlink, done, times, pass } = begin(500);
  downlink.play(0, utterance, pcm(2000));
  assert.deepEqual(done, ["begin a 0", "sent a 500 at 0"]);
  assert.deepEqual(times.slice(0, 3), [0, 960, 1920]);
  pass(0, 1000);
  assert(times.length >= 73 && times.length <= 75, `${times.length} frames after a second`);
});

test("a client that plays later than the clock thinks is not sent more than its lead", () => {
  const { downlink, times, pass } = begin(500);
  downlink.play(0, utterance, pcm(5000));
  pass(0, 300);
  downlink.heard(300, "a", 0); // it has only begun
  const held = times.length;
  pass(300, 310);
  assert.equal(times.length, held);
  pass(310, 700);
  assert.equal(times.length, (500 + 400) / 20, "400 ms were heard since");
});

test("an utterance is over when the ear has had it, not when it is sent", () => {
  const { downlink, done, pass } = begin(10_000);
  downlink.play(0, utterance, pcm(2000));
  downlink.end(0, utterance);
  pass(0, 0);
  assert.equal(done.at(-1), "finish a");
  pass(0, 1900);
  assert.equal(done.at(-1), "finish a");
  pass(1900, 2100);
  assert.equal(done.at(-1), "heard a at 2000");
});

test("a report of the end counts at once", () => {
  const { downlink, done, pass } = begin(10_000);
  downlink.play(0, utterance, pcm(1010));
  downlink.end(0, utterance);
  pass(0, 0);
  downlink.heard(600, "a", 1010);
  assert.equal(done.at(-1), "heard a at 600");
});

test("a flush resets what was begun and forgets what was not", () => {
  const { downlink, done, pass } = begin(200);
  downlink.play(0, utterance, pcm(1000));
  downlink.end(0, utterance);
  downlink.play(0, { ...utterance, itemId: "b" }, pcm(1000));
  downlink.flush();
  pass(0, 5000);
  assert.deepEqual(done, ["begin a 0", "sent a 200 at 0", "reset a"]);
});

test("two utterances share the lead, and the second's clock begins when the first is out", () => {
  const { downlink, done, pass } = begin(1500);
  downlink.play(0, utterance, pcm(1000));
  downlink.end(0, utterance);
  downlink.play(0, { ...utterance, itemId: "b" }, pcm(1000));
  downlink.end(0, { ...utterance, itemId: "b" });
  pass(0, 0);
  assert(done.includes("sent b 500 at 0"));
  pass(0, 3000);
  assert.deepEqual(
    done.filter((line) => line.startsWith("heard")),
    ["heard a at 1000", "heard b at 2000"],
  );
});

test("speech that goes on over another pipe keeps its place", () => {
  const { downlink, done, times } = begin(1000);
  downlink.play(0, { ...utterance, startMs: 730 }, pcm(100));
  downlink.heard(0, "a", 780);
  assert.deepEqual([done[0], times[0]], ["begin a 35040", 35_040]);
});

test("a second of speech at once does not hold up the other calls", () => {
  const { downlink, times, pass } = begin(10_000);
  downlink.play(0, utterance, pcm(4000));
  assert.equal(times.length, 50);
  assert.equal(downlink.pollTimeout(), 0);
  pass(0, 0);
  assert.equal(times.length, 200);
});
