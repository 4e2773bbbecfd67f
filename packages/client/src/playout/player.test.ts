import assert from "node:assert/strict";
import { test } from "node:test";
import { createPlayer, type Player, type PlayerReport, playerSource } from "./player.ts";

const RATE = 48_000;
const QUANTUM = 128;
const MS = RATE / 1000;

/** A vowel-like sound of `ms`, from its own beginning: 150 Hz with two harmonics. */
function voice(ms: number, from = 0): Float32Array {
  return Float32Array.from({ length: Math.round(ms * MS) }, (_, i) => {
    const t = ((from * MS + i) / RATE) * 2 * Math.PI * 150;
    return 0.3 * Math.sin(t) + 0.2 * Math.sin(2 * t + 1) + 0.1 * Math.sin(3 * t + 2);
  });
}

/** Drives a player as a sound card does. */
class Card {
  readonly player: Player;
  frame = 0;
  #until = 0;
  readonly heard: number[] = [];
  readonly reports: PlayerReport[] = [];
  constructor(options = {}) {
    this.player = createPlayer(RATE, options);
  }
  run(ms: number): Float32Array {
    const from = this.heard.length;
    for (this.#until += ms * MS; this.frame < this.#until; this.frame += QUANTUM) {
      const out = new Float32Array(QUANTUM);
      this.player.render(out, this.frame);
      this.heard.push(...out);
      for (let it = this.player.nextReport(); it; it = this.player.nextReport()) this.reports.push(it);
    }
    return Float32Array.from(this.heard.slice(from));
  }
}

const peak = (pcm: Float32Array) => pcm.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
const steepest = (pcm: Float32Array) => {
  let most = 0;
  for (let i = 1; i < pcm.length; i++) most = Math.max(most, Math.abs(pcm[i]! - pcm[i - 1]!));
  return most;
};

test("speech begins when its lead is there, and not before", () => {
  const card = new Card({ leadMs: 40 });
  card.player.push("a", 0, voice(20));
  assert.equal(peak(card.run(50)), 0);
  card.player.push("a", 20 * MS, voice(20, 20));
  assert(peak(card.run(20)) > 0.3);
});

test("an utterance shorter than the lead is played too", () => {
  const card = new Card({ leadMs: 40 });
  card.player.push("a", 0, voice(20));
  card.player.end("a");
  assert(peak(card.run(30)) > 0.3);
  assert.deepEqual(
    card.reports.map(({ kind, position }) => [kind, position]),
    [
      ["playing", 0],
      ["ended", 20 * MS],
    ],
  );
});

test("what came faster than it is heard is played as it was spoken, sample by sample", () => {
  const card = new Card();
  const spoken = voice(400);
  for (let at = 0; at < spoken.length; at += 960) card.player.push("a", at, spoken.subarray(at, at + 960));
  card.player.end("a");
  assert.deepEqual(card.run(400).subarray(0, spoken.length), spoken);
  const { underruns, missing, stretched } = card.player.stats();
  assert.deepEqual([underruns, missing, stretched], [0, 0, 0]);
});

test("the position is told every 100 ms and at the end, to the sample and the frame", () => {
  const card = new Card();
  card.run(10); // the card runs before anyone speaks
  const startedFrame = card.frame;
  card.player.push("a", 0, voice(250));
  card.player.end("a");
  card.run(300);
  assert(card.reports.every((report) => report.startedFrame === startedFrame));
  // Nothing was stretched: what was heard is what time has passed.
  assert(card.reports.every((report) => report.position === report.frame - startedFrame));
  assert.deepEqual(
    card.reports.map(({ kind }) => kind),
    ["playing", "playing", "playing", "ended"],
  );
  assert.equal(card.reports.at(-1)?.position, 250 * MS);
});

test("a cut is silent within 10 ms without a click, says where it was, and takes what is still on its way along", () => {
  const card = new Card();
  card.player.push("a", 0, voice(1000));
  card.run(100);
  card.player.cut(["a"]);
  const after = card.run(30);
  assert.equal(peak(after.subarray(10 * MS + 1)), 0);
  assert(steepest(after) <= steepest(voice(100)) * 1.05);
  const report = card.reports.at(-1)!;
  assert.equal(report.kind, "cut");
  assert.equal(report.position, report.frame - report.startedFrame);
  card.player.push("a", 1000 * MS, voice(200, 1000));
  assert.equal(peak(card.run(100)), 0);
  card.player.push("b", 0, voice(100));
  assert(peak(card.run(50)) > 0.3, "another utterance is played");
});

test("cutting one utterance leaves the others", () => {
  const card = new Card();
  card.player.push("a", 0, voice(100));
  card.player.end("a");
  card.player.push("b", 0, voice(100));
  card.player.cut(["a", "never-came"]);
  card.run(20);
  card.player.push("never-came", 0, voice(100));
  card.player.end("b");
  card.run(200);
  const [cut, ...rest] = card.reports;
  assert.deepEqual([cut?.utterance, cut?.kind, cut?.startedFrame], ["a", "cut", -1]);
  assert(rest.length > 1 && rest.every((report) => report.utterance === "b"));
});

test("ducking ramps the loudness and unducking brings it back", () => {
  const card = new Card();
  card.player.push("a", 0, voice(2000));
  const loud = peak(card.run(100));
  card.player.duck(0.25, 50 * MS);
  const down = card.run(60);
  assert(steepest(down) <= steepest(voice(100)) * 1.05, "no step");
  assert(Math.abs(peak(card.run(50)) / loud - 0.25) < 0.01);
  card.player.duck(1, 50 * MS);
  card.run(60);
  assert(Math.abs(peak(card.run(50)) / loud - 1) < 0.01);
});

test("frames that come a little slower than real time are stretched instead of torn", () => {
  const card = new Card();
  let at = 0;
  // 20 ms of speech every 22 ms: nine per cent too slow, for two seconds.
  card.player.push("a", 0, voice(40));
  at = 40;
  for (let i = 0; i < 90; i++) {
    card.run(22);
    card.player.push("a", at * MS, voice(20, at));
    at += 20;
  }
  const { underruns, stretched } = card.player.stats();
  assert(stretched > 50 * MS, `stretched ${stretched / MS} ms`);
  assert(underruns <= 2, `${underruns} underruns`);
  // Whole periods were repeated: no step is steeper than the voice's own.
  assert(steepest(Float32Array.from(card.heard).subarray(0, 500 * MS)) < steepest(voice(100)) * 1.3);
  const last = card.reports.at(-1)!;
  assert(last.position < last.frame - last.startedFrame, "the position is of the speech, not of the clock");
});

test("a gap fades, is counted, and earns the rest a longer lead", () => {
  const card = new Card();
  card.player.push("a", 0, voice(100));
  card.run(150);
  const during = card.run(50);
  assert.equal(peak(during), 0);
  const { underruns, missing, lead } = card.player.stats();
  assert.equal(underruns, 1);
  assert(missing >= 70 * MS);
  assert.equal(lead, 80 * MS);
  card.player.push("a", 100 * MS, voice(40, 100));
  assert.equal(peak(card.run(20)), 0, "one frame does not end the gap");
  card.player.push("a", 140 * MS, voice(60, 140));
  assert(peak(card.run(30)) > 0.2);
  assert.equal(card.player.stats().underruns, 1);
});

test("what is sent twice is heard once, and a hole is silence", () => {
  const card = new Card();
  card.player.push("a", 0, voice(60));
  card.player.push("a", 20 * MS, voice(60, 20)); // 20..80: the first 40 ms are held already
  card.player.push("a", 100 * MS, voice(20, 100)); // 80..100 never came
  card.player.end("a");
  const heard = card.run(140);
  assert.deepEqual(heard.subarray(0, 80 * MS), voice(80));
  assert.equal(peak(heard.subarray(80 * MS, 100 * MS)), 0);
  assert.equal(card.reports.at(-1)?.position, 120 * MS);
});

test("an utterance that begins in its middle is counted from there", () => {
  const card = new Card();
  card.player.push("a", 5000 * MS, voice(100));
  card.player.end("a");
  card.run(150);
  assert.deepEqual([card.reports[0]?.position, card.reports.at(-1)?.position], [5000 * MS, 5100 * MS]);
});

test("a long answer does not keep what was heard", () => {
  const card = new Card();
  for (let second = 0; second < 30; second++) {
    card.player.push("a", second * 1000 * MS, voice(1000));
    card.run(1000);
  }
  assert(card.player.stats().buffered <= 1000 * MS);
});

test("the audio thread gets the same player, as text that needs nothing around it", () => {
  const make = new Function(`return (${playerSource()})`)() as typeof createPlayer;
  const player = make(RATE, {});
  player.push("a", 0, voice(100));
  const out = new Float32Array(QUANTUM);
  player.render(out, 0);
  assert.deepEqual(out, voice(100).subarray(0, QUANTUM));
});
