/** Interruptions by real sound, the real Silero VAD and real Opus, in virtual time; `npm run bench -- bargein` has the figures. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createSileroVad } from "@sluice/engines";
import type { SessionPatch } from "@sluice/realtime";
import { loadOpus } from "@sluice/transceiver";
import { type CallerSound, quietSounds } from "../caller-sounds.ts";
import { speak } from "../speech.ts";
import { runBargeIn } from "./barge-in.ts";

const [vad, opus, sounds] = await Promise.all([createSileroVad(), loadOpus(), quietSounds()]);
const speech = await speak(
  Array(3).fill("The river rises in the hills above the old mill and runs past three villages.").join(" "),
);
after(() => vad.close());

/** The first voice's sounds of a kind, each at one phase of frames and windows, at 0 and at 5 % loss. */
async function interrupt(kind: CallerSound["kind"], session: SessionPatch = {}) {
  const own = sounds.filter((sound) => sound.kind === kind).slice(0, 4);
  const runs = own.flatMap(({ pcm, voicedOnsetMs }, index) =>
    [0, 0.05].map(
      (loss) => () => runBargeIn({ vad, opus, sound: pcm, voicedOnsetMs, speech, loss, seed: 40 + index, session }),
    ),
  );
  const outcomes = [];
  for (const run of runs) outcomes.push(await run());
  return outcomes;
}

const TURN = [
  "input_audio_buffer.speech_started",
  "output_audio_buffer.cleared",
  "conversation.item.truncated",
] as const;

for (const kind of ["stop", "sentence"] as const) {
  test(`a ${kind === "stop" ? '"stop"' : "sentence"} makes the agent softer, then stops it, and becomes a turn`, async () => {
    for (const { duckMs = Infinity, stopMs = Infinity, events, gain } of await interrupt(kind)) {
      // Virtual time: these are no timings of this machine. The bars of 100 and 250 ms are the bench's, over many.
      assert.ok(duckMs < 160, `${duckMs}`);
      assert.ok(stopMs < 320, `${stopMs}`);
      assert.ok(duckMs < stopMs);
      assert.ok(gain < 1);
      for (const type of [...TURN, "input_audio_buffer.committed"] as const) assert.ok(events.includes(type), type);
      assert.ok(events.indexOf("input_audio_buffer.speech_started") < events.indexOf("output_audio_buffer.cleared"));
    }
  });
}

for (const kind of ["mhm", "cough"] as const) {
  test(`a ${kind === "mhm" ? '"mhm"' : kind} neither stops the agent nor costs a word of it, and leaves no trace in the protocol`, async () => {
    for (const { stopMs, skippedMs, gain, events, decisions } of await interrupt(kind)) {
      assert.equal(stopMs, undefined);
      assert.equal(skippedMs, 0);
      assert.ok(gain > 0.99, `${gain}`);
      assert.deepEqual(
        events.filter((type) => type.startsWith("input_audio_buffer") || type === "conversation.item.truncated"),
        [],
      );
      assert.ok(decisions.every(({ decision, decidedAfterMs }) => decision === "continue" && decidedAfterMs <= 201));
    }
  });
}

test("a gain of 1 ducks nothing, and the words still stop the agent", async () => {
  for (const { duckMs, stopMs } of await interrupt("stop", { sluice: { timeline: true, turn: { duck_gain: 1 } } })) {
    assert.equal(duckMs, undefined);
    assert.ok(stopMs !== undefined);
  }
});

test("a caller who may not interrupt hears the agent unchanged", async () => {
  const turn_detection = { type: "server_vad" as const, interrupt_response: false };
  for (const { duckMs, stopMs, events } of await interrupt("stop", { audio: { input: { turn_detection } } })) {
    assert.deepEqual([duckMs, stopMs], [undefined, undefined]);
    assert.ok(events.includes("input_audio_buffer.speech_started"));
  }
});

/** The sounds of a kind while the agent is silent, each at one phase of frames and windows. */
async function breakSilence(kind: CallerSound["kind"], count: number, session: SessionPatch = {}) {
  const outcomes = [];
  for (const [index, sound] of sounds
    .filter((sound) => sound.kind === kind)
    .slice(0, count)
    .entries()) {
    const { pcm, voicedOnsetMs } = sound;
    const caller = { sound: pcm, voicedOnsetMs, speech: new Int16Array(0), silent: true };
    const outcome = await runBargeIn({ vad, opus, loss: 0, seed: 60 + index, session, ...caller });
    outcomes.push({ ...sound, ...outcome });
  }
  return outcomes;
}

test("while the agent is silent, every short word is a turn, whole, and told of before it is over", async () => {
  const spoken = [...(await breakSilence("word", 14)), ...(await breakSilence("stop", 2))];
  assert.equal(spoken.length, 16);
  for (const { name, turns, pcm, voicedOnsetMs } of spoken) {
    assert.equal(turns.length, 1, name);
    const [{ fromMs, toMs, startedAfterMs, committedAfterMs = 0 } = assert.fail()] = turns;
    assert.ok(fromMs <= 0 && toMs >= pcm.length / 24 - voicedOnsetMs, `${name}: ${fromMs} to ${toMs} ms`);
    assert.ok(startedAfterMs < committedAfterMs - 200, name);
  }
});

for (const kind of ["cough", "mhm"] as const) {
  test(`while the agent is silent, a ${kind === "mhm" ? '"mhm"' : kind} is no turn, and only \`sluice.floor\` tells of it`, async () => {
    const told = (await breakSilence(kind, 4)).flatMap(({ events, decisions }) => {
      assert.deepEqual(
        events.filter((type) => type !== "sluice.floor"),
        [],
      );
      return decisions.map(({ decision }) => decision);
    });
    assert.ok(told.length > 0 && told.every((decision) => decision === "dismiss"), `${told}`);
    const turn = { sluice: { timeline: true, turn: { dismiss_noise: false } } };
    const before = await breakSilence(kind, 4, turn);
    assert.equal(before.filter(({ turns }) => turns.length > 0).length, told.length, "with the setting off it is one");
  });
}

test("a cough takes nothing away from the sentence after it", async () => {
  for (const { name, turns, pcm, voicedOnsetMs } of await breakSilence("cough-sentence", 3)) {
    const { fromMs, toMs } = turns.at(-1) ?? assert.fail(name);
    assert.ok(fromMs <= 0 && toMs >= pcm.length / 24 - voicedOnsetMs, `${name}: ${fromMs} to ${toMs} ms`);
  }
});
