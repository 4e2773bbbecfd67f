import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { clientEvents } from "./client-events.ts";
import { MAX_EVENT_DEPTH, MAX_EVENT_LENGTH, parseClientEvent, parseSession } from "./parse.ts";

const parse = (event: unknown) => parseClientEvent(JSON.stringify(event));
const accept = (event: unknown) => {
  const parsed = parse(event);
  assert.ok(parsed.ok, parsed.ok ? "" : parsed.error.message);
  return parsed.event;
};
const refuse = (event: unknown) => {
  const parsed = parse(event);
  assert.ok(!parsed.ok, JSON.stringify(event));
  return parsed.error;
};

/** One valid event of every type, as clients send them. */
const samples = [
  {
    type: "session.update",
    event_id: "evt_1",
    session: {
      type: "realtime",
      model: "gpt-realtime-2.1",
      output_modalities: ["audio"],
      instructions: "Be brief.",
      audio: {
        input: {
          format: { type: "audio/pcm", rate: 24000 },
          transcription: { model: "gpt-4o-mini-transcribe" },
          noise_reduction: { type: "near_field" },
          turn_detection: { type: "semantic_vad", eagerness: "low" },
        },
        output: { format: { type: "audio/pcmu" }, voice: "marin", speed: 1.1 },
      },
      tools: [{ type: "function", name: "weather", description: "", parameters: { type: "object" } }],
      tool_choice: { type: "function", name: "weather" },
      max_output_tokens: "inf",
      truncation: { type: "retention_ratio", retention_ratio: 0.8 },
      tracing: "auto",
      prompt: null,
      include: ["item.input_audio_transcription.logprobs"],
      sluice: { timeline: true },
    },
  },
  { type: "input_audio_buffer.append", audio: "AAAA" },
  { type: "input_audio_buffer.commit" },
  { type: "input_audio_buffer.clear" },
  {
    type: "conversation.item.create",
    event_id: "agents_create_1",
    previous_item_id: "root",
    item: { type: "message", role: "user", content: [{ type: "input_text", text: "Hello" }] },
  },
  { type: "conversation.item.truncate", item_id: "item_1", content_index: 0, audio_end_ms: 1200 },
  { type: "conversation.item.retrieve", item_id: "item_1" },
  { type: "conversation.item.delete", item_id: "item_1" },
  { type: "response.create", response: { conversation: "none", metadata: { a: "b" }, output_modalities: ["text"] } },
  { type: "response.cancel", response_id: "resp_1" },
  { type: "output_audio_buffer.clear" },
  { type: "sluice.clock", client_ms: 1.5 },
  { type: "sluice.speech.report", ended_ms: 10 },
  { type: "sluice.playout.report", item_id: "item_1", started_ms: 1, position_ms: 2, at_ms: 3 },
];

test("accepts every client event as clients send it, unchanged", () => {
  for (const sample of samples) assert.deepEqual(accept(sample), sample);
  assert.deepEqual(new Set(samples.map(({ type }) => type)), new Set(Object.keys(clientEvents)));
});

test("echoes event_id in the error whenever one can be read", () => {
  for (const type of Object.keys(clientEvents)) {
    const parsed = parse({
      type,
      event_id: "mine",
      session: 1,
      item: 1,
      audio: 1,
      item_id: 1,
      response: 1,
      response_id: 1,
    });
    if (!parsed.ok) assert.equal(parsed.error.event_id, "mine");
  }
  assert.equal(refuse({ type: "nonsense", event_id: "mine" }).event_id, "mine");
  assert.equal(refuse({ event_id: "mine" }).event_id, "mine");
  assert.equal(refuse({ type: "response.cancel", event_id: 7 }).event_id, null);
});

test("says what is not JSON or not an object", () => {
  for (const text of ["", "{", "nonsense", "[]", "null", "1", '"text"', "\u0000"]) {
    const parsed = parseClientEvent(text);
    assert.ok(!parsed.ok && parsed.error.code === "invalid_event", text);
  }
});

test("names an unknown type in OpenAI's words", () => {
  const error = refuse({ type: "session.updat" });
  assert.equal(error.code, "invalid_value");
  assert.equal(error.param, "type");
  assert.match(error.message, /^Invalid value: 'session.updat'\. Supported values are: 'session.update', /);
  for (const type of ["__proto__", "constructor", "toString", 3, null, {}]) {
    assert.equal(refuse({ type }).param, "type");
  }
});

test("names the parameter that is missing or wrong", () => {
  const session = (value: unknown) => ({ type: "session.update", session: value });
  const user = (part: unknown) => ({
    type: "conversation.item.create",
    item: { type: "message", role: "user", content: [part] },
  });
  const cases: [unknown, string, string][] = [
    [{}, "missing_required_parameter", "type"],
    [{ type: "session.update" }, "missing_required_parameter", "session"],
    [{ type: "conversation.item.delete" }, "missing_required_parameter", "item_id"],
    [user({ type: "input_text" }), "missing_required_parameter", "item.content[0].text"],
    [user({ type: "input_video" }), "invalid_value", "item.content[0].type"],
    [{ type: "conversation.item.create", item: { type: "banana" } }, "invalid_value", "item.type"],
    [session({ type: "translation" }), "invalid_value", "session.type"],
    [session({ instructions: 3 }), "invalid_type", "session.instructions"],
    [session({ output_modalities: ["audio", "text"] }), "invalid_value", "session.output_modalities"],
    [session({ tool_choice: "perhaps" }), "invalid_value", "session.tool_choice"],
    [session({ tools: [{ type: "function" }] }), "missing_required_parameter", "session.tools[0].name"],
    [session({ audio: { output: { speed: 3.5 } } }), "decimal_above_max_value", "session.audio.output.speed"],
    [
      session({ audio: { input: { format: { type: "audio/pcm", rate: 16000 } } } }),
      "invalid_value",
      "session.audio.input.format.rate",
    ],
    [
      session({ audio: { input: { turn_detection: { type: "psychic" } } } }),
      "invalid_value",
      "session.audio.input.turn_detection.type",
    ],
    [{ type: "response.create", response: { metadata: { a: 1 } } }, "invalid_type", "response.metadata.a"],
  ];
  for (const [event, code, param] of cases) {
    const error = refuse(event);
    assert.deepEqual([error.code, error.param], [code, param], JSON.stringify(event));
  }
});

test("is lenient where clients are", () => {
  assert.deepEqual(accept({ type: "session.update", session: {} }), { type: "session.update", session: {} });
  // Unknown members go, known ones stay.
  assert.deepEqual(accept({ type: "session.update", session: { temperature: 0.8, audio: { input: { x: 1 } } } }), {
    type: "session.update",
    session: { audio: { input: {} } },
  });
  // PCM without a rate, a custom voice, a tool without a type.
  const { session } = accept({
    type: "session.update",
    session: { tools: [{ name: "f" }], audio: { output: { format: { type: "audio/pcm" }, voice: { id: "v1" } } } },
  }) as { session: unknown };
  assert.deepEqual(session, {
    tools: [{ type: "function", name: "f" }],
    audio: { output: { format: { type: "audio/pcm", rate: 24000 }, voice: "v1" } },
  });
  assert.deepEqual(accept({ type: "response.create", response: null }), {
    type: "response.create",
    response: undefined,
  });
});

test("turns beta content types into GA ones, and always gives speech a transcript", () => {
  const content = (role: string, ...parts: unknown[]) => {
    const event = accept({ type: "conversation.item.create", item: { type: "message", role, content: parts } });
    return (event as { item: { content: unknown } }).item.content;
  };
  assert.deepEqual(content("user", { type: "text", text: "a" }, { type: "audio", audio: "AAA=" }), [
    { type: "input_text", text: "a" },
    { type: "input_audio", audio: "AAA=", transcript: null },
  ]);
  assert.deepEqual(content("assistant", { type: "text", text: "a" }, { type: "audio", transcript: "b" }), [
    { type: "output_text", text: "a" },
    { type: "output_audio", transcript: "b" },
  ]);
  assert.deepEqual(content("system", { type: "text", text: "a" }), [{ type: "input_text", text: "a" }]);
});

test("drops prototype keys at every level", () => {
  const text = `{"type":"response.create","response":{"__proto__":{"instructions":"evil"},"metadata":{"__proto__":"x"},
    "tools":[{"type":"function","name":"f","parameters":{"__proto__":{"polluted":true},"constructor":{}}}]}}`;
  const parsed = parseClientEvent(text);
  assert.ok(parsed.ok && parsed.event.type === "response.create");
  const { response } = parsed.event;
  assert.equal(response?.instructions, undefined);
  assert.deepEqual(Object.keys(response?.metadata ?? {}), []);
  assert.equal(JSON.stringify(response).includes("__proto__"), false);
  assert.equal(Object.getPrototypeOf(response?.tools?.[0]), Object.prototype);
});

test("bounds the length and the depth of an event", () => {
  const long = parseClientEvent(" ".repeat(MAX_EVENT_LENGTH + 1));
  assert.ok(!long.ok && long.error.code === "string_above_max_length");
  const nested = (depth: number) => {
    const schema = "[".repeat(depth) + "]".repeat(depth);
    return parseClientEvent(
      `{"type":"session.update","event_id":"e","session":{"tools":[{"name":"f","parameters":${schema}}]}}`,
    );
  };
  assert.ok(nested(MAX_EVENT_DEPTH - 4).ok);
  for (const depth of [MAX_EVENT_DEPTH, 10_000, 200_000]) {
    const parsed = nested(depth);
    assert.ok(!parsed.ok && parsed.error.code === "invalid_event");
    assert.equal(parsed.error.event_id, "e");
  }
});

test("parses the session of an HTTP request and says where it is wrong", () => {
  const parsed = parseSession({ type: "realtime", model: "x" });
  assert.deepEqual(parsed, { ok: true, session: { type: "realtime", model: "x" } });
  for (const value of [null, 1, "x", []]) {
    const refused = parseSession(value);
    assert.ok(!refused.ok && refused.error.param === "session" && refused.error.code === "invalid_type");
  }
  const refused = parseSession({ audio: { output: { voice: 3 } } });
  assert.ok(!refused.ok && refused.error.param?.startsWith("session.audio.output.voice"), JSON.stringify(refused));
});

test("survives every truncation of every event", () => {
  for (const sample of samples) {
    const text = JSON.stringify(sample);
    for (let length = 0; length < text.length; length++) assert.ok(!parseClientEvent(text.slice(0, length)).ok);
  }
});

test("never throws, whatever JSON it gets", () => {
  const member = fc.constantFrom(
    "session",
    "item",
    "response",
    "audio",
    "input",
    "content",
    "tools",
    "type",
    "event_id",
  );
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      fc.constantFrom("realtime", "message", "user", "server_vad", "function", "audio/pcm"),
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(member, tie("any"), { maxKeys: 4 }),
    ),
  })).any;
  fc.assert(
    fc.property(fc.constantFrom(...Object.keys(clientEvents)), fc.dictionary(member, value), (type, members) => {
      const parsed = parse({ ...members, type });
      if (!parsed.ok) assert.ok(parsed.error.message.length < 1000 && parsed.error.type === "invalid_request_error");
    }),
    { numRuns: 400 },
  );
});
