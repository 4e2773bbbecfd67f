import assert from "node:assert/strict";
import { after, test } from "node:test";
import {
  type ContextItem,
  type Pcm,
  SAMPLES_PER_MS,
  type SpeechEvent,
  type SpeechRequest,
  type SpeechSession,
  type SttEvent,
} from "@sluice/conversation";
import { testFaults } from "../contract/faults.ts";
import { testSpeechToSpeech } from "../contract/index.ts";
import { type SocketScript, startSocketUpstream, type Upstream } from "../contract/upstream.ts";
import { createRealtime } from "./realtime.ts";

const never = new AbortController().signal;
const second = Int16Array.from({ length: 1000 * SAMPLES_PER_MS }, (_, at) => Math.round(9000 * Math.sin(at / 9)));

type Event = Readonly<Record<string, unknown>>;
interface Played {
  readonly seen: Event[];
  /** How long an answer takes to end once it was cancelled, in milliseconds. */
  readonly endsAfter?: number;
  readonly beta?: boolean;
  /** Calls a function instead of speaking. */
  readonly tool?: boolean;
  /** Never ends an answer by itself. */
  readonly endless?: boolean;
}

/** A Realtime server that answers everything with a second of noise and two words. */
function realtimeServer({
  seen,
  endsAfter = 0,
  beta = false,
  tool = false,
  endless = false,
}: Played): () => SocketScript {
  return () => {
    let responses = 0;
    let items = 0;
    let active: string | undefined;
    const audioName = beta ? "response.audio" : "response.output_audio";
    const done = (send: (event: object) => void, id: string, status: string) => {
      active = undefined;
      const usage = { input_tokens: 5, output_tokens: 9, input_token_details: { cached_tokens: 2 } };
      send({ type: "response.done", response: { id, status, output: [], usage } });
    };
    const speak = (send: (event: object) => void, id: string, item_id: string, modality: unknown) => {
      const place = { response_id: id, item_id, output_index: 0, content_index: 0 };
      send({ type: "response.output_item.added", response_id: id, item: { id: item_id, type: "message" } });
      if (JSON.stringify(modality) === '["text"]') {
        send({ type: beta ? "response.text.delta" : "response.output_text.delta", ...place, delta: "Good morning." });
        return;
      }
      send({ type: `${audioName}_transcript.delta`, ...place, delta: "Good " });
      for (let piece = 0; piece < 10; piece++) {
        const audio = Buffer.from(second.slice(piece * 2400, (piece + 1) * 2400).buffer).toString("base64");
        send({ type: `${audioName}.delta`, ...place, delta: audio });
      }
      send({ type: `${audioName}_transcript.delta`, ...place, delta: "morning." });
    };
    return {
      onOpen: (send) => send({ type: "session.created", session: {} }),
      onEvent: (event, send) => {
        seen.push(event);
        const response = event.response as { output_modalities?: unknown; modalities?: unknown } | undefined;
        switch (event.type) {
          case "input_audio_buffer.commit": {
            const item_id = `up_${items++}`;
            send({ type: "input_audio_buffer.committed", item_id });
            const type = "conversation.item.input_audio_transcription.completed";
            send({ type, item_id, transcript: "Hello? ", content_index: 0 });
            return;
          }
          case "response.create": {
            const id = `resp_${responses++}`;
            active = id;
            send({ type: "response.created", response: { id, status: "in_progress" } });
            const item_id = `up_${items++}`;
            if (tool) {
              const item = { id: item_id, type: "function_call", call_id: "call_1", name: "f" };
              send({ type: "response.output_item.added", response_id: id, item });
              const place = { response_id: id, item_id, call_id: "call_1" };
              send({ type: "response.function_call_arguments.delta", ...place, delta: '{"a":' });
              send({ type: "response.function_call_arguments.delta", ...place, delta: "1}" });
              send({ type: "response.function_call_arguments.done", ...place, arguments: '{"a":1}' });
            } else speak(send, id, item_id, response?.output_modalities ?? response?.modalities);
            if (!endless) done(send, id, "completed");
            return;
          }
          case "response.cancel": {
            const id = active;
            if (id !== undefined && endsAfter < 1000) setTimeout(() => done(send, id, "cancelled"), endsAfter);
          }
        }
      },
      within: 8,
      silence: (event) => {
        const type = String(event.type);
        return type.startsWith("response.") && !/created|done$/.test(type) ? undefined : event;
      },
    };
  };
}

const servers: Upstream[] = [];
after(() => Promise.all(servers.map((server) => server.close())));

async function start(played: Partial<Played> = {}): Promise<{ url: string; seen: Event[] }> {
  const seen: Event[] = [];
  const server = await startSocketUpstream(realtimeServer({ seen, ...played }));
  servers.push(server);
  return { url: `${server.url}/realtime`, seen };
}

testSpeechToSpeech(
  "realtime",
  async () => createRealtime({ url: (await start()).url }),
  async () => second,
);
testSpeechToSpeech(
  "realtime, beta dialect",
  async () => createRealtime({ url: (await start({ beta: true })).url, dialect: "beta" }),
  async () => second,
);

testFaults("realtime", {
  start: () => startSocketUpstream(realtimeServer({ seen: [] })),
  call: ({ url, ...options }, signal) => respondOnce(url, options, signal),
  check: (events) => assert.equal(audioOf(events as SpeechEvent[]).length, 24_000),
});

/** A conversation of one question. */
async function* respondOnce(url: string, options: object, signal: AbortSignal): AsyncGenerator<SpeechEvent> {
  if (signal.aborted) return;
  const opened = new AbortController();
  try {
    yield* createRealtime({ url: `${url}/realtime`, ...options })
      .open(opened.signal)
      .respond(request([speech("item_1")]), signal);
  } finally {
    opened.abort();
  }
}

test("realtime: commits what was said, and tells its words under our name", async () => {
  const { url, seen } = await start();
  const events = await collect(createRealtime({ url }).open(never), request([speech("item_1")]));
  assert.deepEqual(events[0], { kind: "inputTranscript", itemId: "item_1", text: "Hello?" });
  assert.equal(transcriptOf(events), "Good morning.");
  assert.deepEqual(audioOf(events), [...second]);
  assert.deepEqual(events.at(-1), { kind: "usage", usage: { inputTokens: 5, outputTokens: 9, cachedTokens: 2 } });
  const sent = seen.flatMap((event) => (event.type === "input_audio_buffer.append" ? [String(event.audio)] : []));
  assert.equal(
    sent.reduce((size, audio) => size + Buffer.from(audio, "base64").length, 0),
    48_000,
  );
});

test("realtime: sends speech while it is spoken, and not once more with the question", async () => {
  const { url, seen } = await start();
  const session = createRealtime({ url }).open(never);
  const heard: SttEvent[] = [];
  for await (const event of session.listen!("item_1", once(second), never)) heard.push(event);
  assert.deepEqual(heard, [{ kind: "final", text: "Hello?" }]);
  const before = seen.length;
  const events = await collect(session, request([speech("item_1")]));
  assert.ok(audioOf(events).length > 0);
  assert.deepEqual(events[0], { kind: "inputTranscript", itemId: "item_1", text: "Hello?" });
  assert.deepEqual(kindsOf(seen.slice(before)), ["session.update", "response.create"]);
});

test("realtime: takes back what it began to hear", async () => {
  const { url, seen } = await start();
  const session = createRealtime({ url }).open(never);
  const controller = new AbortController();
  async function* spoken() {
    yield second;
    controller.abort();
  }
  for await (const event of session.listen!("item_1", spoken(), controller.signal)) assert.fail(event.kind);
  await collect(session, request([typed("item_2", "Hi.")]));
  assert.ok(kindsOf(seen).includes("input_audio_buffer.clear"));
  assert.ok(!kindsOf(seen).includes("input_audio_buffer.commit"));
});

test("realtime: an answer that was cut is cut at the server, where the ear was", async () => {
  const { url, seen } = await start();
  const session = createRealtime({ url }).open(never);
  await collect(session, request([typed("item_1", "Hi.")]));
  const items = [typed("item_1", "Hi."), answered("item_2", "Good", 320), typed("item_3", "What?")];
  await collect(session, request(items));
  const truncated = seen.find((event) => event.type === "conversation.item.truncate");
  assert.deepEqual([truncated?.item_id, truncated?.content_index, truncated?.audio_end_ms], ["up_0", 0, 320]);
  await collect(session, request([...items, answered("item_4", "Good morning.", 1000), typed("item_5", "Hm.")]));
  assert.equal(kindsOf(seen).filter((type) => type === "conversation.item.truncate").length, 1);
  assert.ok(!kindsOf(seen).includes("conversation.item.delete"));
});

test("realtime: what is gone here is deleted there, and what nobody took too", async () => {
  const { url, seen } = await start();
  const session = createRealtime({ url }).open(never);
  await collect(session, request([typed("item_1", "Hi.")]));
  await collect(session, request([typed("item_2", "Hi again.")]));
  const deleted = seen.flatMap((event) => (event.type === "conversation.item.delete" ? [event.item_id] : []));
  assert.deepEqual(deleted, ["item_1", "up_0"]);
});

test("realtime: functions are offered, called, and answered", async () => {
  const { url, seen } = await start({ tool: true });
  const session = createRealtime({ url }).open(never);
  const asked = { ...request([typed("item_1", "Hi.")]), tools: [{ name: "f" }], toolChoice: { name: "f" } };
  const calls = (await collect(session, asked)).filter((event) => event.kind === "toolCall");
  assert.deepEqual(calls, [
    { kind: "toolCall", index: 0, callId: "call_1", name: "f", delta: '{"a":' },
    { kind: "toolCall", index: 0, callId: "call_1", name: "f", delta: "1}" },
  ]);
  const [first, second] = seen;
  assert.deepEqual(first?.session, {
    type: "realtime",
    audio: {
      input: {
        format: { type: "audio/pcm", rate: 24_000 },
        transcription: { model: "gpt-4o-mini-transcribe" },
        turn_detection: null,
      },
    },
  });
  const { tools, tool_choice } = second!.session as { tools: unknown; tool_choice: unknown };
  assert.deepEqual(tools, [{ type: "function", name: "f", parameters: { type: "object", properties: {} } }]);
  assert.deepEqual(tool_choice, { type: "function", name: "f" });
  const before = seen.length;
  const items: ContextItem[] = [
    typed("item_1", "Hi."),
    { id: "item_2", role: "toolCall", callId: "call_1", name: "f", arguments: '{"a":1}' },
    { id: "item_3", role: "toolResult", callId: "call_1", output: "42" },
  ];
  await collect(session, { ...asked, items });
  const created = seen
    .slice(before)
    .flatMap((event) => (event.type === "conversation.item.create" ? [event.item] : []));
  assert.deepEqual(created, [{ id: "item_3", type: "function_call_output", call_id: "call_1", output: "42" }]);
});

test("realtime: an interruption cancels at the server, and the next answer waits for its end", async () => {
  const { url, seen } = await start({ endless: true, endsAfter: 50 });
  const session = createRealtime({ url }).open(never);
  for (let turn = 0; turn < 2; turn++) {
    for await (const event of session.respond(request([typed(`item_${turn}`, "Hi.")]), never))
      if (event.kind === "audio") break;
  }
  const asked = kindsOf(seen).filter((type) => type.startsWith("response."));
  assert.deepEqual(asked.slice(0, 3), ["response.create", "response.cancel", "response.create"]);
});

test("realtime: a server that will not stop is left for a new connection, which learns what was said", async () => {
  const { url, seen } = await start({ endless: true, endsAfter: Number.POSITIVE_INFINITY });
  const session = createRealtime({ url }).open(never);
  const items = [typed("item_1", "Hi.")];
  for await (const event of session.respond(request(items), never)) if (event.kind === "audio") break;
  const before = seen.length;
  const more = [...items, answered("item_2", "Good", 300), typed("item_3", "What?")];
  for await (const event of session.respond(request(more), never)) if (event.kind === "audio") break;
  const created = seen
    .slice(before)
    .flatMap((event) => (event.type === "conversation.item.create" ? [event.item] : []));
  assert.deepEqual(
    created.map((item) => (item as { id: string }).id),
    ["item_1", "item_2", "item_3"],
  );
});

test("realtime: an answer beside the conversation changes nothing in it", async () => {
  const { url, seen } = await start();
  const session = createRealtime({ url }).open(never);
  await collect(session, request([typed("item_1", "Hi.")]));
  const before = seen.length;
  await collect(session, { ...request([typed("item_9", "Sum it up.")]), outOfBand: true, modality: "text" });
  const [create, ...rest] = seen.slice(before);
  assert.deepEqual(rest, []);
  assert.deepEqual(create?.response, {
    output_modalities: ["text"],
    conversation: "none",
    instructions: "Be brief.",
    tools: [],
    tool_choice: "auto",
    input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "Sum it up." }] }],
  });
  await collect(
    session,
    request([typed("item_1", "Hi."), answered("item_2", "Good morning.", 1000), typed("item_3", "Bye.")]),
  );
  assert.ok(!kindsOf(seen).includes("conversation.item.delete"));
});

function typed(id: string, text: string): ContextItem {
  return { id, role: "user", parts: [{ kind: "text", text }] };
}

function speech(id: string): ContextItem {
  return {
    id,
    role: "user",
    parts: [{ kind: "audio", pcm: second, transcript: undefined, voicedStartMs: 0, voicedEndMs: 1000 }],
  };
}

function answered(id: string, transcript: string, heardMs: number): ContextItem {
  return {
    id,
    role: "assistant",
    parts: [{ kind: "audio", pcm: undefined, transcript, voicedStartMs: 0, voicedEndMs: heardMs }],
  };
}

function request(items: readonly ContextItem[]): SpeechRequest {
  return { instructions: "Be brief.", items, modality: "audio", voice: "alloy", began: new Promise(() => {}) };
}

async function collect(session: SpeechSession, asked: SpeechRequest): Promise<SpeechEvent[]> {
  const events: SpeechEvent[] = [];
  for await (const event of session.respond(asked, never)) events.push(event);
  return events;
}

function audioOf(events: readonly SpeechEvent[]): number[] {
  return events.flatMap((event) => (event.kind === "audio" ? [...event.pcm] : []));
}

function transcriptOf(events: readonly SpeechEvent[]): string {
  return events.map((event) => (event.kind === "transcript" ? event.delta : "")).join("");
}

function kindsOf(events: readonly Event[]): string[] {
  return events.map(({ type }) => String(type));
}

async function* once(pcm: Pcm): AsyncGenerator<Pcm> {
  yield pcm;
}
