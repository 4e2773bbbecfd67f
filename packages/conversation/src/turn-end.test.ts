import assert from "node:assert/strict";
import { test } from "node:test";
import { Listener } from "./listener.ts";
import { endOfWords } from "./trailing.ts";
import { EAGERNESS, TurnEnd } from "./turn-end.ts";

/** Voice of `count` windows from `fromMs` on, its pitch and loudness moving in straight lines. */
function speak(
  turn: TurnEnd,
  fromMs: number,
  count: number,
  pitch: readonly [number, number],
  db: readonly [number, number],
) {
  for (let i = 0; i < count; i++) {
    const at = (of: readonly [number, number]) => of[0] + ((of[1] - of[0]) * i) / Math.max(1, count - 1);
    const prosody = { periodicity: 0.9, pitchHz: at(pitch), vowelDb: -3, brightDb: -6 };
    const window = {
      mediaMs: fromMs + i * 32,
      durationMs: 32,
      probability: 0.95,
      levels: Array<number>(4).fill(at(db)),
      prosody,
    };
    turn.handleWindow(window, true);
  }
}

function spoken(pitch: readonly [number, number], db: readonly [number, number] = [-20, -20]): TurnEnd {
  const turn = new TurnEnd();
  speak(turn, 0, 40, pitch, db);
  return turn;
}

test("words that hang in the air are told from words that end, in several languages", () => {
  for (const words of [
    "I would like to book a flight to",
    "it started and",
    "um",
    "well,",
    "0 1 7 6",
    "Ich hätte gern ein",
    "je voudrais un",
  ])
    assert.ok(endOfWords(words) < 0, words);
  for (const words of ["What time do you open?", "That was all.", "Das ist alles!", "そうです。"])
    assert.ok(endOfWords(words) > 0.5, words);
  // A full stop behind a word that cannot end a sentence is the engine's, not the caller's.
  assert.ok(endOfWords("I would like to.", "en") < 0);
  assert.equal(endOfWords(""), 0);
  assert.ok(endOfWords("0176 4429 8123 44") > 0, "a number of eleven digits may be whole");
});

test("the surer the end, the shorter the wait, within the bounds of each eagerness", () => {
  const turn = spoken([120, 85], [-18, -30]);
  for (const eagerness of ["low", "medium", "high", "auto"] as const) {
    const { leastMs, mostMs } = EAGERNESS[eagerness];
    const ended = turn.silenceMs(eagerness, "That was all.");
    const hanging = turn.silenceMs(eagerness, "That was all and");
    assert.ok(ended >= leastMs && hanging <= mostMs);
    assert.ok(ended < leastMs * 1.1, `${eagerness}: ${ended}`);
    assert.ok(hanging > 1.8 * ended, `${eagerness}: ${hanging}`);
  }
});

test("a melody that falls and fades ends sooner than one that hangs", () => {
  const falls = spoken([125, 85], [-18, -30]).silenceMs("auto", undefined);
  const hangs = spoken([110, 112], [-20, -18]).silenceMs("auto", undefined);
  assert.ok(falls < 450, `${falls}`);
  assert.ok(hangs > 800, `${hangs}`);
});

test("a caller who pauses for long within sentences is given the time", () => {
  const turn = new TurnEnd();
  for (let at = 0; at < 6; at++) speak(turn, at * 1600, 20, [110, 112], [-20, -20]); // pauses of 960 ms
  const fresh = spoken([110, 112]);
  assert.ok(turn.silenceMs("high", undefined) > 2 * fresh.silenceMs("high", "and then we went home."));
  assert.ok(turn.silenceMs("high", undefined) > 900);
});

test("a model's word replaces melody and loudness until the caller goes on", () => {
  const turn = spoken([125, 85], [-18, -30]);
  turn.handleModel(0.03);
  assert.ok(turn.silenceMs("auto", undefined) > 3000);
  turn.handleModel(0.97);
  assert.ok(turn.silenceMs("auto", undefined) < 350);
  speak(turn, 2000, 1, [110, 110], [-20, -20]);
  assert.ok(turn.probability(undefined) < 0.95);
});

test("a turn waits as long as its words ask for, and says so", () => {
  const listener = new Listener(
    { threshold: 0.5, prefixMs: 300, silenceMs: 500, eagerness: "auto" },
    () => "item",
    true,
  );
  const window = (mediaMs: number, probability: number) =>
    listener.handleVoice(1000 + mediaMs + 32, {
      mediaMs,
      durationMs: 32,
      probability,
      levels: Array(4).fill(probability > 0.5 ? -18 : -80),
    });
  let mediaMs = 0;
  for (; mediaMs < 640; mediaMs += 32) window(mediaMs, 0.9);
  listener.handleWords("item", "I would like to");
  assert.ok(listener.silenceMs > 1000);
  for (; mediaMs < 1280; mediaMs += 32) window(mediaMs, 0.01);
  assert.equal(listener.speaking, true);
  listener.handleWords("item", "I would like to go home.");
  listener.handleTimeout(1000 + mediaMs);
  assert.equal(listener.speaking, false);
  listener.handleTimeout(10_000);
  for (let event = listener.nextEvent(); event; event = listener.nextEvent()) {
    if (event.kind === "committed") assert.ok(event.utterance.silenceMs < 500 && event.utterance.silenceMs >= 320);
  }
});
