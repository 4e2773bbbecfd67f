import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseClientEvent } from "../parse.ts";
import { createSession, describeSession, updateSession } from "../session.ts";
import { betaDialect } from "./beta.ts";

/** The event that a beta client's JSON is understood as. */
function understand(event: unknown) {
  const parsed = parseClientEvent(betaDialect.read(JSON.stringify(event)));
  assert(parsed.ok, JSON.stringify(parsed));
  return parsed.event;
}

const sessionOf = (defaults = {}) => createSession({ id: "sess_1", model: "m", expiresAt: 2_000_000_000, defaults });

test("a flat session means what its nested form means, and is shown flat again", () => {
  const flat = {
    modalities: ["text", "audio"],
    instructions: "Be brief.",
    voice: "verse",
    speed: 1.2,
    input_audio_format: "g711_ulaw",
    output_audio_format: "g711_alaw",
    input_audio_transcription: { model: "whisper-1" },
    input_audio_noise_reduction: { type: "near_field" },
    turn_detection: { type: "server_vad", threshold: 0.4, silence_duration_ms: 700 },
    tools: [{ type: "function", name: "f", parameters: {} }],
    tool_choice: "auto",
    temperature: 0.6,
    max_response_output_tokens: 200,
  };
  const event = understand({ type: "session.update", event_id: "e", session: flat });
  assert(event.type === "session.update");
  const updated = updateSession(sessionOf(), event.session, { voiceLocked: false });
  assert(updated.ok);
  const { audio, output_modalities, max_output_tokens } = updated.session;
  assert.deepEqual(output_modalities, ["audio"]);
  assert.equal(max_output_tokens, 200);
  assert.deepEqual(audio.input.format, { type: "audio/pcmu" });
  assert.deepEqual(audio.output, { format: { type: "audio/pcma" }, voice: "verse", speed: 1.2 });
  const shown = betaDialect.write({
    type: "session.updated",
    ...{ event_id: "e", session: describeSession(updated.session) },
  }) as unknown as { session: Record<string, unknown> };
  const { modalities, temperature: _, turn_detection, ...same } = flat;
  assert.deepEqual(new Set(shown.session.modalities as string[]), new Set(modalities));
  for (const [name, value] of Object.entries(same)) assert.deepEqual(shown.session[name], value, name);
  assert.deepEqual((shown.session.turn_detection as { threshold: number }).threshold, turn_detection.threshold);
  assert(!("audio" in shown.session) && !("output_modalities" in shown.session));
});

test("null and none turn detection off, and absent members leave things as they are", () => {
  const off = (turn_detection: unknown) => {
    const event = understand({ type: "session.update", session: { turn_detection } });
    assert(event.type === "session.update");
    return event.session.audio?.input?.turn_detection;
  };
  assert.equal(off(null), null);
  assert.equal(off({ type: "none" }), null);
  const event = understand({ type: "session.update", session: { instructions: "x" } });
  assert.deepEqual(event, { type: "session.update", session: { instructions: "x", audio: { input: {}, output: {} } } });
});

test("a response is asked for and shown in the beta's words", () => {
  const response = { modalities: ["text"], max_response_output_tokens: 9, temperature: 1, instructions: "x" };
  const event = understand({ type: "response.create", response });
  assert(event.type === "response.create");
  const { output_modalities, max_output_tokens, instructions } = event.response!;
  assert.deepEqual([output_modalities, max_output_tokens, instructions], [["text"], 9, "x"]);
  const item = {
    id: "item_1",
    type: "message",
    role: "assistant",
    content: [{ type: "output_audio", transcript: "Hi." }],
  };
  const output = { format: { type: "audio/pcm", rate: 24_000 }, voice: "alloy" };
  const done = { id: "resp_1", output: [item], output_modalities: ["audio"], audio: { output } };
  const shown = betaDialect.write({ type: "response.done", ...{ response: done } }) as unknown as {
    response: { modalities: string[]; voice: string; output_audio_format: string; output: (typeof item)[] };
  };
  assert.deepEqual(shown.response.modalities, ["audio", "text"]);
  assert.deepEqual([shown.response.voice, shown.response.output_audio_format], ["alloy", "pcm16"]);
  assert.equal(shown.response.output[0]!.content[0]!.type, "audio");
});

test("events go by their old names, items are told of once, and what has no old name keeps its own", () => {
  const name = (type: string) => betaDialect.write({ type })?.type;
  assert.equal(name("response.output_audio.delta"), "response.audio.delta");
  assert.equal(name("response.output_audio_transcript.done"), "response.audio_transcript.done");
  assert.equal(name("response.output_text.delta"), "response.text.delta");
  assert.equal(name("conversation.item.added"), "conversation.item.created");
  assert.equal(name("conversation.item.done"), undefined);
  assert.equal(name("input_audio_buffer.speech_started"), "input_audio_buffer.speech_started");
});

test("a transcription session is updated and shown by the beta's own events", () => {
  const event = understand({
    type: "transcription_session.update",
    session: { input_audio_format: "pcm16", input_audio_transcription: { model: "m", language: "de" } },
  });
  assert(event.type === "session.update");
  assert.equal(event.session.type, "transcription");
  const session = describeSession(sessionOf({ type: "transcription" }));
  assert.equal(betaDialect.write({ type: "session.created", ...{ session } })?.type, "transcription_session.created");
});

test("whatever comes is passed on or translated, never thrown at", () => {
  fc.assert(
    fc.property(fc.json(), fc.constantFrom("session.update", "response.create", "x"), (json, type) => {
      betaDialect.read(json);
      betaDialect.read(`{"type":"${type}","session":${json},"response":${json}}`);
    }),
  );
});
