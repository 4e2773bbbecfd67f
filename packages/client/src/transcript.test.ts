import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServerEvent, ServerEventDraft } from "@sluice/realtime";
import { Transcript } from "./transcript.ts";

const at = { response_id: "r", item_id: "a", output_index: 0, content_index: 0 };

function take(transcript: Transcript, event: ServerEventDraft) {
  return transcript.handleEvent({ event_id: "event", ...event } as ServerEvent);
}

test("a spoken turn appears with its first sound and is written when the transcript comes", () => {
  const transcript = new Transcript();
  take(transcript, { type: "input_audio_buffer.speech_started", audio_start_ms: 0, item_id: "u" });
  assert.deepEqual(transcript.entries, [
    { id: "u", role: "user", spoken: true, text: "", complete: false, heardMs: undefined },
  ]);
  const item = {
    id: "u",
    object: "realtime.item",
    type: "message",
    role: "user",
    status: "completed",
    content: [{ type: "input_audio", transcript: null }],
  } as const;
  take(transcript, { type: "conversation.item.added", previous_item_id: null, item });
  take(transcript, {
    type: "conversation.item.input_audio_transcription.completed",
    item_id: "u",
    content_index: 0,
    transcript: "hello",
    usage: { type: "duration", seconds: 1 },
  });
  assert.equal(transcript.entries[0]?.text, "hello");
  assert.equal(transcript.entries[0]?.complete, true);
});

test("an answer grows by deltas, and the item at its end does not erase them", () => {
  const transcript = new Transcript();
  take(transcript, { type: "response.output_audio_transcript.delta", ...at, delta: "good " });
  take(transcript, { type: "response.output_audio_transcript.delta", ...at, delta: "day" });
  take(transcript, {
    type: "conversation.item.done",
    previous_item_id: null,
    item: { id: "a", object: "realtime.item", type: "message", role: "assistant", status: "completed", content: [] },
  });
  assert.deepEqual(transcript.entries, [
    { id: "a", role: "assistant", spoken: true, text: "good day", complete: true, heardMs: undefined },
  ]);
});

test("a cut answer says how much of it was heard", () => {
  const transcript = new Transcript();
  take(transcript, { type: "response.output_audio_transcript.delta", ...at, delta: "a long answer" });
  const entry = take(transcript, {
    type: "conversation.item.truncated",
    item_id: "a",
    content_index: 0,
    audio_end_ms: 640,
  });
  assert.equal(entry?.heardMs, 640);
  assert.equal(entry?.text, "a long answer");
});

test("typed text and functions: one is a message, the other is not", () => {
  const transcript = new Transcript();
  const head = { object: "realtime.item", status: "completed" } as const;
  take(transcript, {
    type: "conversation.item.added",
    previous_item_id: null,
    item: { ...head, id: "t", type: "message", role: "user", content: [{ type: "input_text", text: "typed" }] },
  });
  take(transcript, {
    type: "conversation.item.added",
    previous_item_id: "t",
    item: { ...head, id: "f", type: "function_call", call_id: "c", name: "n", arguments: "{}" },
  });
  assert.deepEqual(
    transcript.entries.map(({ text, spoken }) => ({ text, spoken })),
    [{ text: "typed", spoken: false }],
  );
});

test("a deleted item disappears, and a thousand is the most that is kept", () => {
  const transcript = new Transcript();
  for (let count = 0; count < 1_100; count++) {
    take(transcript, { type: "response.output_text.delta", ...at, item_id: `a${count}`, delta: "x" });
  }
  assert.equal(transcript.entries.length, 1_000);
  take(transcript, { type: "conversation.item.deleted", item_id: "a1099" });
  assert.equal(transcript.entries.at(-1)?.id, "a1098");
});
