/** The agent's own voice in the caller's microphone, by real speech, real Silero and real Opus, in virtual time; `npm run bench -- echo`. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { createSileroVad } from "@sluice/engines";
import { loadOpus } from "@sluice/transceiver";
import { callerSounds } from "../caller-sounds.ts";
import { silence, speak } from "../speech.ts";
import { type Echo, runBargeIn } from "./barge-in.ts";

const [vad, opus, sounds] = await Promise.all([createSileroVad(), loadOpus(), callerSounds()]);
const text = "The river rises in the hills above the old mill, runs past three villages, and reaches the sea.";
const words = sounds.filter(
  ({ kind, name }) => name === "Stop. alloy" || (kind === "sentence" && name.endsWith("coral")),
);
after(() => vad.close());

const ROOM = { t60Ms: 250, directDb: 6 };
const ECHOES: readonly Echo[] = [
  { gainDb: 0, delayMs: 90 },
  { gainDb: -12, delayMs: 240, room: ROOM },
  { gainDb: -24, delayMs: 420 },
];

/** Nothing but the agent is heard, from its first word on. */
const alone = async (echo: Echo, voice: string, looksForEcho = true) => {
  const speech = await speak(text, { voice });
  return runBargeIn({
    vad,
    opus,
    sound: silence(1000),
    voicedOnsetMs: 0,
    speech,
    loss: 0,
    seed: 7,
    echo,
    looksForEcho,
  });
};

test("an agent that hears itself goes on, from its first word on", async () => {
  for (const [at, echo] of ECHOES.entries()) {
    const { stopMs, events } = await alone(echo, ["marin", "alloy", "ash"][at]!);
    assert.equal(stopMs, undefined, JSON.stringify(echo));
    assert.ok(!events.includes("input_audio_buffer.speech_started"));
  }
  const deaf = await alone(ECHOES[0]!, "marin", false);
  assert.ok(deaf.stopMs !== undefined, "it would interrupt itself if nobody compared");
});

test("a caller who speaks over the echo takes the floor", async () => {
  for (const [at, { pcm, voicedOnsetMs, name }] of words.slice(0, 3).entries()) {
    const [echo, speech] = [{ ...ECHOES[at]!, gainDb: -12 }, await speak(text)];
    const { stopMs = Infinity } = await runBargeIn({
      vad,
      opus,
      sound: pcm,
      voicedOnsetMs,
      speech,
      loss: 0,
      seed: 9,
      echo,
    });
    assert.ok(stopMs > 0 && stopMs < 800, `${name}: ${stopMs}`);
  }
});

test("where nothing comes back, nobody is heard a millisecond later", async () => {
  const speech = await speak(text);
  for (const { pcm, voicedOnsetMs } of words) {
    const options = { vad, opus, sound: pcm, voicedOnsetMs, speech, loss: 0.05, seed: 11 };
    const outcome = await runBargeIn(options);
    assert.ok(outcome.stopMs !== undefined);
    assert.deepEqual(outcome, await runBargeIn({ ...options, looksForEcho: false }));
  }
});
