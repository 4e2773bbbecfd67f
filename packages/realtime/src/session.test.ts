import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSession } from "./parse.ts";
import { createSession, type Session, turnNumberDefaults, type UpdateLocks, updateSession } from "./session.ts";

const fresh = createSession({ id: "sess_1", model: "sluice", expiresAt: 1_800_000_000 });

function update(session: Session, patch: unknown, locks: UpdateLocks = { voiceLocked: false }): Session {
  const parsed = parseSession(patch);
  assert.ok(parsed.ok, JSON.stringify(parsed));
  const updated = updateSession(session, parsed.session, locks);
  assert.ok(updated.ok, JSON.stringify(updated));
  return updated.session;
}

test("starts with the protocol's defaults, in the shape that clients check", () => {
  assert.deepEqual(JSON.parse(JSON.stringify(fresh)), {
    type: "realtime",
    object: "realtime.session",
    id: "sess_1",
    model: "sluice",
    expires_at: 1_800_000_000,
    output_modalities: ["audio"],
    instructions: "",
    audio: {
      input: {
        format: { type: "audio/pcm", rate: 24000 },
        transcription: null,
        noise_reduction: null,
        turn_detection: {
          type: "server_vad",
          threshold: 0.5,
          prefix_padding_ms: 300,
          silence_duration_ms: 500,
          create_response: true,
          interrupt_response: true,
          idle_timeout_ms: null,
        },
      },
      output: { format: { type: "audio/pcm", rate: 24000 }, voice: "alloy", speed: 1 },
    },
    tools: [],
    tool_choice: "auto",
    max_output_tokens: "inf",
    truncation: "auto",
    tracing: null,
    prompt: null,
    include: null,
  });
});

test("starts with a caller's own settings where there are some", () => {
  const session = createSession({
    id: "s",
    model: "sluice",
    expiresAt: 0,
    defaults: { model: "gpt-realtime-2.1", instructions: "Hi", audio: { input: { turn_detection: null } } },
  });
  assert.equal(session.model, "gpt-realtime-2.1");
  assert.equal(session.audio.input.turn_detection, null);
  assert.equal(session.audio.output.voice, "alloy");
});

test("merges the keys that are present and leaves the rest", () => {
  const session = update(fresh, { audio: { output: { speed: 1.25 } }, tools: [{ name: "f" }] });
  assert.deepEqual(session.audio.output, { ...fresh.audio.output, speed: 1.25 });
  assert.deepEqual(session.audio.input, fresh.audio.input);
  assert.deepEqual(update(session, { instructions: "x" }).tools, session.tools);
  assert.deepEqual(update(session, { tools: [] }).tools, []);
});

test("keeps the session as it was: updates make a new one", () => {
  const before = JSON.stringify(fresh);
  update(fresh, { instructions: "x", audio: { input: { turn_detection: { threshold: 0.9 } } } });
  assert.equal(JSON.stringify(fresh), before);
});

test("clears turn detection, noise reduction and transcription with null", () => {
  const set = update(fresh, {
    audio: { input: { noise_reduction: { type: "far_field" }, transcription: { model: "m" } } },
  });
  assert.deepEqual(set.audio.input.noise_reduction, { type: "far_field" });
  const cleared = update(set, {
    audio: { input: { turn_detection: null, noise_reduction: null, transcription: null } },
  });
  assert.deepEqual(cleared.audio.input, {
    format: fresh.audio.input.format,
    turn_detection: null,
    noise_reduction: null,
    transcription: null,
  });
});

test("fills in what a named turn detection leaves out, and says so", () => {
  const turn = (session: Session) => session.audio.input.turn_detection;
  const eager = update(fresh, {
    audio: { input: { turn_detection: { type: "server_vad", silence_duration_ms: 200 } } },
  });
  assert.deepEqual(turn(eager), { ...turn(fresh), silence_duration_ms: 200 });
  const again = update(eager, { audio: { input: { turn_detection: { type: "server_vad" } } } });
  assert.deepEqual(turn(again), turn(fresh));
  const semantic = update(eager, { audio: { input: { turn_detection: { type: "semantic_vad" } } } });
  assert.deepEqual(turn(semantic), {
    type: "semantic_vad",
    eagerness: "auto",
    create_response: true,
    interrupt_response: true,
  });
});

test("goes on from what is when a turn detection does not name its type", () => {
  const patch = { audio: { input: { turn_detection: { threshold: 0.7, eagerness: "high" } } } };
  const turn = (session: Session) => session.audio.input.turn_detection;
  assert.deepEqual(turn(update(fresh, patch)), { ...turn(fresh), threshold: 0.7 });
  const off = update(fresh, { audio: { input: { turn_detection: null } } });
  assert.deepEqual(turn(update(off, patch)), { ...turn(fresh), threshold: 0.7 });
  const semantic = update(fresh, { audio: { input: { turn_detection: { type: "semantic_vad" } } } });
  assert.deepEqual(turn(update(semantic, patch)), { ...turn(semantic), eagerness: "high" });
});

test("echoes only the transcription keys that were set", () => {
  const session = update(fresh, { audio: { input: { transcription: { model: "whisper-1" } } } });
  assert.deepEqual(Object.keys(session.audio.input.transcription ?? {}), ["model"]);
  const german = update(session, { audio: { input: { transcription: { language: "de" } } } });
  assert.deepEqual(german.audio.input.transcription, { model: "whisper-1", language: "de" });
});

test("refuses another voice once the agent has spoken, and applies nothing", () => {
  const patch = { instructions: "new", audio: { output: { voice: "cedar" } } };
  const refused = updateSession(fresh, patch, { voiceLocked: true, cause: "evt_9" });
  assert.ok(!refused.ok);
  assert.equal(refused.error.code, "cannot_update_voice");
  assert.equal(refused.error.event_id, "evt_9");
  const same = { instructions: "new", audio: { output: { voice: "alloy" } } };
  assert.ok(updateSession(fresh, same, { voiceLocked: true }).ok);
  assert.ok(updateSession(fresh, patch, { voiceLocked: false }).ok);
});

test("lets the first update name the model only if the connection did not", () => {
  assert.equal(update(fresh, { model: "other" }).model, "other");
  const refused = updateSession(fresh, { model: "other" }, { voiceLocked: false, modelLocked: true });
  assert.ok(!refused.ok && refused.error.param === "session.model");
  assert.ok(updateSession(fresh, { model: "sluice" }, { voiceLocked: false, modelLocked: true }).ok);
});

test("shows Sluice's extensions only once asked for", () => {
  assert.equal("sluice" in fresh, false);
  const { sluice } = update(fresh, { sluice: { timeline: true } });
  assert.deepEqual(sluice, { timeline: true, turn: turnNumberDefaults });
});

test("merges the numbers of turn-taking and shows those in force", () => {
  const first = update(fresh, { sluice: { turn: { decide_by_ms: 300 } } });
  const second = update(first, { sluice: { timeline: true, turn: { duck_gain: 0.5 } } });
  assert.deepEqual(second.sluice, {
    timeline: true,
    turn: { ...turnNumberDefaults, decide_by_ms: 300, duck_gain: 0.5 },
  });
});

test("takes what agents-realtime sends on every connect", () => {
  const traced = update(fresh, { type: "realtime", tracing: "auto" });
  assert.equal(traced.tracing, "auto");
  assert.equal(update(traced, { tracing: null }).tracing, null);
});
