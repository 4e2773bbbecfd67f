import assert from "node:assert/strict";
import { test } from "node:test";
import { isBackchannel, isStopWord } from "./backchannel.ts";
import type { VoiceWindow } from "./endpointer.ts";
import { Floor, type FloorCommand } from "./floor.ts";

const WINDOW = 32;
const options = {
  threshold: 0.5,
  duckAfterMs: 20,
  duckGain: 0.25,
  duckRampMs: 40,
  restoreRampMs: 120,
  stopAfterMs: 90,
  decideByMs: 200,
  interrupts: true,
  dismisses: true,
};

type Sound = Pick<VoiceWindow, "probability" | "prosody" | "levels">;
const levels = (db: number) => Array<number>(4).fill(db);
const QUIET: Sound = {
  probability: 0.01,
  prosody: { periodicity: 0.1, pitchHz: 100, vowelDb: -3, brightDb: -5 },
  levels: levels(-80),
};
const WORD: Sound = {
  probability: 0.95,
  prosody: { periodicity: 0.8, pitchHz: 110, vowelDb: -3, brightDb: -6 },
  levels: levels(-18),
};
const HUM: Sound = {
  probability: 0.7,
  prosody: { periodicity: 0.95, pitchHz: 110, vowelDb: -14, brightDb: -21 },
  levels: levels(-26),
};
const BREATH: Sound = {
  probability: 0.05,
  prosody: { periodicity: 0.3, pitchHz: 100, vowelDb: -4, brightDb: -8 },
  levels: levels(-28),
};
const HISS: Sound = {
  probability: 0.05,
  prosody: { periodicity: 0.3, pitchHz: 100, vowelDb: 0, brightDb: -1 },
  levels: levels(-28),
};

/** Hears `sounds` window by window, timers firing in between; what was commanded, and how long after the first voice. */
function hear(floor: Floor, sounds: readonly Sound[], { agentSpeaks = true, words = new Map<number, string>() } = {}) {
  const commands: (FloorCommand & { at: number })[] = [];
  const onset = sounds.findIndex((sound) => sound.probability >= 0.2) * WINDOW;
  const drain = (at: number) => {
    for (let next = floor.nextCommand(); next; next = floor.nextCommand()) commands.push({ ...next, at: at - onset });
  };
  sounds.forEach((sound, index) => {
    const now = (index + 1) * WINDOW;
    const due = floor.pollTimeout();
    if (due !== undefined && due <= now) {
      floor.handleTimeout(due);
      drain(due);
    }
    floor.handleWindow(now, { mediaMs: index * WINDOW, durationMs: WINDOW, ...sound }, agentSpeaks, true);
    drain(now);
    const said = words.get(index);
    if (said !== undefined) floor.handleWords(now, said);
    drain(now);
  });
  return commands;
}

const times = (count: number, sound: Sound) => Array<Sound>(count).fill(sound);
const kinds = (commands: readonly FloorCommand[]) =>
  commands.map((command) =>
    command.kind === "duck" ? `gain ${command.gain}` : `${command.kind} ${command.decision.reason}`,
  );

test("clear speech makes the agent softer with its first window and stops it with its third", () => {
  const commands = hear(new Floor(options), [...times(10, QUIET), ...times(10, WORD)]);
  assert.deepEqual(kinds(commands), ["gain 0.25", "take speech", "gain 1"]);
  assert.deepEqual(
    commands.map(({ at }) => at),
    [32, 96, 96],
  );
  const [, take] = commands;
  assert(take?.kind === "take");
  assert.equal(take.onsetMs, 320);
  assert.equal(take.decision.duckedAfterMs, 32);
});

test("a short mhm softens the agent and lets it go on, at the deadline", () => {
  const commands = hear(new Floor(options), [...times(10, QUIET), ...times(10, HUM), ...times(20, QUIET)]);
  assert.deepEqual(kinds(commands), ["gain 0.25", "pass hum", "gain 1"]);
  assert.equal(commands[1]?.at, 200);
});

test("a hum whose lips part a little between its halves is none the less a hum, with a period or without", () => {
  const parted: Sound = { ...HUM, prosody: { ...HUM.prosody!, vowelDb: -6, brightDb: -8 }, levels: levels(-32) };
  const creaky: Sound = { ...HUM, probability: 0.95, prosody: { ...HUM.prosody!, periodicity: 0.2 } };
  const sounds = [...times(10, QUIET), ...times(4, HUM), parted, ...times(4, creaky), ...times(20, QUIET)];
  assert.deepEqual(kinds(hear(new Floor(options), sounds)), ["gain 0.25", "pass hum", "gain 1"]);
});

test("words through nearly closed lips stop the agent once the detector is certain for long", () => {
  const moo: Sound = { ...HUM, probability: 0.99 };
  const word = hear(new Floor(options), [...times(10, QUIET), ...times(10, moo)]);
  assert.deepEqual(kinds(word), ["gain 0.25", "pass hum", "gain 1", "take speech"]);
  assert.equal(word.at(-1)?.at, 256);
});

test("an ee, as bright as a hiss and steady, is speech", () => {
  const ee: Sound = { ...WORD, prosody: { ...WORD.prosody!, vowelDb: -30, brightDb: -2 } };
  const commands = hear(new Floor(options), [...times(10, QUIET), HISS, ...times(6, ee)]);
  assert.equal(commands.find(({ kind }) => kind === "take")?.at, 96);
});

test("a hum that turns into speech, or does not end, stops the agent after all", () => {
  const word = hear(new Floor(options), [...times(10, QUIET), ...times(8, HUM), ...times(8, WORD)]);
  assert.equal(kinds(word).at(-1), "take speech");
  const endless = hear(new Floor(options), [...times(10, QUIET), ...times(40, HUM)]);
  assert.equal(kinds(endless).at(-1), "take speech");
});

test("a cough, breath before a little voice, lets the agent go on", () => {
  const commands = hear(new Floor(options), [
    ...times(10, QUIET),
    ...times(5, BREATH),
    ...times(3, WORD),
    ...times(20, QUIET),
  ]);
  assert.deepEqual(kinds(commands), ["gain 0.25", "pass noise", "gain 1"]);
});

test("a hissing consonant before a word is no cough", () => {
  const commands = hear(new Floor(options), [...times(10, QUIET), ...times(4, HISS), ...times(6, WORD)]);
  assert.equal(commands.find(({ kind }) => kind === "take")?.at, 96);
});

test("a click ends before anything is decided, and the agent comes back at once", () => {
  const commands = hear(new Floor(options), [...times(10, QUIET), WORD, ...times(10, QUIET)]);
  assert.deepEqual(kinds(commands), ["gain 0.25", "pass short", "gain 1"]);
  assert.equal(commands[1]?.at, 96);
});

test("windows that nobody asked about end a voice: the next one is judged for itself", () => {
  const floor = new Floor(options);
  hear(floor, [...times(2, QUIET), ...times(4, WORD)]);
  for (let index = 0; index < 4; index++) {
    const mediaMs = 2000 + index * WINDOW;
    floor.handleWindow(mediaMs + WINDOW, { mediaMs, durationMs: WINDOW, ...WORD }, true, true);
  }
  const commands: FloorCommand[] = [];
  for (let next = floor.nextCommand(); next; next = floor.nextCommand()) commands.push(next);
  assert.deepEqual(kinds(commands), ["gain 0.25", "take speech", "gain 1"]);
});

test("who goes on with their turn takes the floor with a short word, but neither with a cough nor with a hum", () => {
  const decided = (sounds: readonly Sound[]) => {
    const floor = new Floor(options);
    const kinds: string[] = [];
    sounds.forEach((sound, index) => {
      const window = { mediaMs: index * WINDOW, durationMs: WINDOW, ...sound };
      floor.handleWindow((index + 1) * WINDOW, window, true, true, true);
      for (let next = floor.nextCommand(); next; next = floor.nextCommand())
        if (next.kind !== "duck") kinds.push(`${next.kind} ${next.decision.reason}`);
    });
    return kinds;
  };
  assert.deepEqual(decided([...times(2, WORD), ...times(10, QUIET)]), ["take speech"]);
  assert.deepEqual(decided([...times(4, HISS), ...times(2, WORD), ...times(10, QUIET)]), ["take speech"]);
  assert.deepEqual(decided([...times(5, BREATH), ...times(2, WORD), ...times(10, QUIET)]), ["pass noise"]);
  assert.deepEqual(decided([...times(8, HUM), ...times(10, QUIET)]), ["pass hum"]);
  assert.deepEqual(decided([WORD, ...times(10, QUIET)]), ["pass short"]);
});

test("words decide before sounds do: stop at once, go on with a yeah", () => {
  const patient = { ...options, stopAfterMs: 1000 };
  const stop = hear(new Floor(patient), [...times(10, QUIET), ...times(8, WORD)], { words: new Map([[11, "Stop!"]]) });
  assert.deepEqual(kinds(stop), ["gain 0.25", "take words", "gain 1"]);
  assert.equal(stop[1]?.at, 64);
  const yeah = hear(new Floor(patient), [...times(10, QUIET), ...times(12, WORD), ...times(5, QUIET)], {
    words: new Map([[12, "Yeah."]]),
  });
  assert.deepEqual(kinds(yeah), ["gain 0.25", "pass words", "gain 1"]);
  const but = hear(new Floor(patient), [...times(10, QUIET), ...times(16, WORD)], {
    words: new Map([
      [12, "yeah"],
      [14, "yeah but"],
    ]),
  });
  assert.equal(kinds(but).at(-2), "take speech");
});

test("a second voice after one that was nothing is judged for itself", () => {
  const sounds = [...times(10, QUIET), ...times(8, HUM), ...times(5, QUIET), ...times(5, WORD)];
  const commands = hear(new Floor(options), sounds);
  assert.deepEqual(kinds(commands), ["gain 0.25", "pass hum", "gain 1", "gain 0.25", "take speech", "gain 1"]);
});

test("nobody need be asked while the agent is silent, unless noises are to be dismissed", () => {
  const floor = new Floor({ ...options, dismisses: false });
  const commands = hear(floor, [...times(10, QUIET), ...times(4, HUM)], { agentSpeaks: false });
  assert.deepEqual(kinds(commands), ["take speech"]);
  assert.equal(commands[0]?.at, 64);
});

test("while the agent is silent, a voice is a turn as soon as it is credibly speech, and a hum or a cough never", () => {
  const heard = (sounds: readonly Sound[]) => {
    const floor = new Floor(options);
    const commands = hear(floor, [...times(10, QUIET), ...sounds], { agentSpeaks: false });
    return [...kinds(commands), commands[0]?.at, floor.dismissed?.decision, floor.dismissed?.reason];
  };
  const none = undefined;
  assert.deepEqual(heard([...times(4, WORD), ...times(5, QUIET)]), ["take speech", 64, none, none]);
  assert.deepEqual(heard([...times(8, HUM), ...times(5, QUIET)]), [none, "dismiss", "hum"]);
  assert.deepEqual(heard([...times(5, BREATH), ...times(3, WORD), ...times(5, QUIET)]), [none, "dismiss", "noise"]);
  assert.deepEqual(heard([WORD, ...times(5, QUIET)]), [none, "dismiss", "short"]);
  // "Up": breath comes after the voice, not before it.
  assert.equal(heard([...times(3, WORD), ...times(5, BREATH), ...times(5, QUIET)])[0], "take speech");
});

test("while the agent is silent, dark words are told from a hum by certainty, by lips that move, and by their length", () => {
  const ends = (sounds: readonly Sound[]) =>
    kinds(hear(new Floor(options), [...times(10, QUIET), ...sounds, ...times(5, QUIET)], { agentSpeaks: false }));
  const two: Sound = { ...HUM, probability: 0.99 };
  const opened: Sound = { ...HUM, prosody: { ...HUM.prosody!, vowelDb: -30, brightDb: -10 } };
  assert.deepEqual(ends([...times(4, HUM), ...times(3, two)]), ["take speech"]);
  assert.deepEqual(ends([...times(3, HUM), ...times(4, opened)]), ["take speech"]);
  assert.deepEqual(ends(times(40, HUM)), ["take speech"]);
  assert.deepEqual(ends(times(8, HUM)), []);
});

test("while the agent is silent, words that are understood are a turn whatever they sound like, also afterwards", () => {
  const words = (at: number) => ({ agentSpeaks: false, words: new Map([[at, "Mhm."]]) });
  const sounds = [...times(10, QUIET), ...times(8, HUM), ...times(8, QUIET)];
  for (const at of [14, 24]) assert.deepEqual(kinds(hear(new Floor(options), sounds, words(at))), ["take words"]);
});

test("voices too short to be any add up, as of one that a line tears to pieces", () => {
  const torn = [WORD, ...times(3, QUIET), WORD, ...times(3, QUIET), WORD, ...times(3, QUIET)];
  assert.deepEqual(kinds(hear(new Floor(options), [...times(10, QUIET), ...torn], { agentSpeaks: false })), [
    "take speech",
  ]);
});

test("a murmur that wavers, as words begin with, softens the agent, and is no voice while the agent is silent", () => {
  const murmur: Sound = { ...HUM, probability: 0.14, prosody: { ...HUM.prosody!, periodicity: 0.64 } };
  const wavering: Sound = { ...murmur, prosody: { ...murmur.prosody!, periodicity: 0.57 } };
  const sounds = [...times(10, QUIET), murmur, wavering, ...times(4, WORD)];
  assert.equal(hear(new Floor(options), sounds)[0]?.kind, "duck");
  const ducks = hear(new Floor(options), sounds).filter(({ kind }) => kind === "duck");
  const plain = hear(new Floor(options), [...times(12, QUIET), ...times(4, WORD)]).filter(
    ({ kind }) => kind === "duck",
  );
  // `at` counts from the first window of probability 0.2: the murmur is two windows earlier.
  assert.equal(plain[0]!.at - ducks[0]!.at, 2 * WINDOW);
  const silent = hear(new Floor(options), [...times(10, QUIET), ...times(8, wavering)], { agentSpeaks: false });
  assert.deepEqual(silent, []);
});

test("a caller who may not interrupt is not judged", () => {
  assert.deepEqual(hear(new Floor(undefined), times(20, WORD)), []);
});

test("a turn that is thrown away in between leaves the agent as loud as it was", () => {
  const floor = new Floor(options);
  hear(floor, [...times(10, QUIET), WORD]);
  floor.reset();
  const restored = floor.nextCommand();
  assert(restored?.kind === "duck");
  assert.equal(restored.gain, 1);
  assert.equal(floor.pollTimeout(), undefined);
});

test("backchannels and words that stop are told apart, by language where it is known", () => {
  for (const words of ["Mhm.", "uh-huh", "Yeah, yeah", "OK", "I see", "嗯", "Ja, genau"])
    assert.ok(isBackchannel(words), words);
  for (const words of ["", "yeah but", "okay so what about", "right right right right"])
    assert.ok(!isBackchannel(words), words);
  for (const words of ["Stop!", "no, that is wrong", "okay wait", "Moment"]) assert.ok(isStopWord(words), words);
  for (const words of ["nothing", "stopping", "I know"]) assert.ok(!isStopWord(words), words);
  assert.ok(!isStopWord("para", "en-GB") && isStopWord("para", "es"));
});
