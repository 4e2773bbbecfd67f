import assert from "node:assert/strict";
import { test } from "node:test";
import type { Pcm } from "./audio.ts";
import { Forecast } from "./forecast.ts";
import { Lead, leadOf, NO_LEAD } from "./lead.ts";

const speech = (ms: number): Pcm => new Int16Array(ms * 24);
const played = (pieces: readonly Pcm[]) => pieces.reduce((ms, pcm) => ms + pcm.length / 24, 0);

test("an engine that was always fast enough, or is not known, gets no lead", () => {
  const forecast = new Forecast();
  assert.equal(leadOf(undefined, 0), NO_LEAD);
  assert.equal(leadOf(forecast, 0), NO_LEAD);
  for (let i = 0; i < 200; i++) forecast.record(i, "lead", 0);
  assert.equal(leadOf(forecast, 200), NO_LEAD);
});

test("the lead covers what all but one in a hundred needed, and is bounded", () => {
  const forecast = new Forecast();
  for (let i = 0; i < 1000; i++) {
    forecast.record(i, "lead", i % 50 === 0 ? 400 : 0);
    forecast.record(i, "buffer", i % 50 === 0 ? 600 : 150);
  }
  const { waitMs, bufferMs } = leadOf(forecast, 1000);
  assert.ok(Math.abs(waitMs - 400) < 10 && Math.abs(bufferMs - 600) < 14, `${waitMs} ${bufferMs}`);
  for (let i = 0; i < 1000; i++) forecast.record(i, "lead", 30_000);
  assert.equal(leadOf(forecast, 2000).waitMs, 2000);
});

test("without a lead speech is played as it comes", () => {
  const lead = new Lead(NO_LEAD);
  assert.equal(played(lead.handleAudio(10, speech(100))), 100);
  assert.equal(lead.pollTimeout(), undefined);
});

test("the first sample waits for its lead, and what follows does not", () => {
  const lead = new Lead({ waitMs: 150, bufferMs: Infinity });
  assert.equal(played(lead.handleAudio(1000, speech(100))), 0);
  assert.equal(lead.pollTimeout(), 1150);
  assert.equal(played(lead.handleAudio(1080, speech(100))), 0);
  assert.equal(played(lead.handleTimeout(1149)), 0);
  assert.equal(played(lead.handleTimeout(1150)), 200);
  assert.equal(played(lead.handleAudio(1160, speech(100))), 100);
});

test("with enough speech at hand nothing is waited for any more", () => {
  const lead = new Lead({ waitMs: 500, bufferMs: 250 });
  assert.equal(played(lead.handleAudio(0, speech(200))), 0);
  assert.equal(played(lead.handleAudio(40, speech(200))), 400);
  assert.equal(played(lead.handleAudio(50, speech(200))), 200);
});

test("an utterance that is complete waits no longer", () => {
  const lead = new Lead({ waitMs: 500, bufferMs: Infinity });
  lead.handleAudio(0, speech(100));
  assert.equal(played(lead.handleEnd(60)), 100);
  assert.equal(lead.pollTimeout(), undefined);
});

test("what an utterance would have needed is measured, whatever lead it was given", () => {
  for (const waitMs of [0, 300]) {
    const lead = new Lead({ waitMs, bufferMs: Infinity });
    lead.handleAudio(0, speech(200));
    lead.handleAudio(150, speech(100)); // in time: 200 ms were there
    lead.handleAudio(420, speech(500)); // 120 ms too late
    lead.handleAudio(600, speech(100)); // in time again
    assert.equal(lead.neededMs, 120);
    assert.equal(lead.neededBufferMs, 320);
  }
});

/** An engine that makes `rate` seconds of speech a second in pieces of 100 ms: what is played, as [from, to] by the wall. */
function playedBy(lead: Lead, rate: number, totalMs: number, words?: Pcm): [number, number][] {
  const spans: [number, number][] = [];
  let at = 0;
  const play = (now: number, pieces: readonly Pcm[]) => {
    const last = spans.at(-1);
    if (played(pieces) === 0) return;
    if (last && now <= last[1]) last[1] += played(pieces);
    else spans.push([now, now + played(pieces)]);
  };
  for (; at < totalMs; at += 100)
    play(at / rate, lead.handleAudio(at / rate, words?.slice(at * 24, (at + 100) * 24) ?? speech(100)));
  play(at / rate, lead.handleEnd(at / rate));
  return spans;
}

test("an engine that is too slow stands still a few times for longer, not every tenth of a second", () => {
  const spans = playedBy(new Lead(NO_LEAD), 0.5, 6000);
  assert.ok(spans.length <= 6, `${spans.length} pieces`);
  assert.equal(Math.round(spans.reduce((ms, [from, to]) => ms + to - from, 0)), 6000, "all of it is played");
  assert.ok(spans.at(-1)![0] <= 12_000, "and it ends no later than the last of it is made");
});

test("after the first time, speech stands still between two words", () => {
  const words = new Int16Array(6000 * 24); // 300 ms of a word, 60 ms of silence
  for (let i = 0; i < words.length; i++) words[i] = i % (360 * 24) < 300 * 24 ? 8000 : 0;
  const lead = new Lead(NO_LEAD);
  let place = 0;
  for (const [from, to] of playedBy(lead, 0.5, 6000, words).slice(0, -1)) {
    place += to - from;
    const intoWord = place % 360;
    if (place > 100) assert.ok(intoWord === 0 || intoWord >= 300, `it stood still ${intoWord} ms into a word`);
  }
});

test("after a gap speech waits for more of it, for two seconds at most, and not when it is complete", () => {
  const dry = () => {
    const lead = new Lead(NO_LEAD);
    lead.handleAudio(0, speech(100));
    assert.equal(played(lead.handleAudio(160, speech(50))), 0);
    assert.equal(lead.pollTimeout(), 2160);
    return lead;
  };
  assert.ok(played(dry().handleTimeout(2160)) > 0);
  assert.ok(played(dry().handleAudio(460, speech(200))) > 200);
  assert.equal(played(dry().handleEnd(260)), 50);
});

test("an engine that was late by a little once goes on at once", () => {
  const lead = new Lead(NO_LEAD);
  lead.handleAudio(0, speech(100));
  assert.equal(played(lead.handleAudio(110, speech(100))), 100);
  assert.equal(played(lead.handleAudio(150, speech(100))), 100);
});

test("an engine that stopped once and is quick again goes on with its second piece", () => {
  const lead = new Lead(NO_LEAD);
  lead.handleAudio(0, speech(500));
  assert.equal(played(lead.handleAudio(900, speech(100))), 0);
  assert.ok(played(lead.handleAudio(950, speech(100))) > 150);
});

test("where the client holds the speech for a lead, it runs dry that much later", () => {
  const lead = new Lead(NO_LEAD, 300);
  lead.handleAudio(0, speech(100));
  assert.equal(played(lead.handleAudio(405, speech(100))), 100);
});
