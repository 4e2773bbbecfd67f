/** Clients that were not made for Sluice, unmodified: only their URL is changed. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import {
  OpenAIRealtimeWebSocket as AgentsWebSocket,
  RealtimeAgent,
  RealtimeSession,
  tool,
} from "@openai/agents-realtime";
import OpenAI from "openai";
import { OpenAIRealtimeWebSocket } from "openai/realtime/websocket";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import type { RealtimeServerEvent } from "openai/resources/realtime/realtime";
import { z } from "zod";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { microphoneWav, silence, speak } from "../../lab/speech.ts";
// The schemas by which agents-realtime takes an event or ignores it.
import { realtimeServerEventSchema } from "../../node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.js";
import { createTestCertificate } from "../certificate.ts";
import { launchChromium } from "../chromium.ts";
import { type McpHttp, notes, serveMcp } from "../mcp-server.ts";
import { type ModelServers, serveModels } from "../model-servers.ts";

const API_KEY = "sk-test";

let server: SluiceProcess; // the built-in agent, open to this machine
let models: ModelServers;
let mcp: McpHttp;
let cascade: SluiceProcess; // models of its own, by TLS, for who has a key
before(async () => {
  const certificate = createTestCertificate();
  setDefaultCACertificates([...getCACertificates("default"), certificate.cert]);
  [models, mcp] = await Promise.all([serveModels(), serveMcp()]);
  const tls = ["--tls-cert", certificate.certFile, "--tls-key", certificate.keyFile];
  [server, cascade] = await Promise.all([
    startSluice(),
    startSluice({
      args: [...agentArgs(), ...tls, "--mcp-hosts", new URL(mcp.url).host],
      env: { SLUICE_API_KEY: API_KEY },
    }),
  ]);
});
after(async () => {
  await Promise.all([server.stop(), cascade.stop(), mcp.close()]);
  models.close();
});

const agentArgs = () => ["--llm", models.url, "--stt", models.url, "--tts", models.url, "--llm-model", "llama"];

/** A secret for a browser, as its server would fetch it. */
async function mintSecret(url: string): Promise<string> {
  const openai = new OpenAI({ apiKey: API_KEY, baseURL: `${url}/v1`, maxRetries: 0 });
  const { value } = await openai.realtime.clientSecrets.create({ session: { type: "realtime" } });
  assert.match(value, /^ek_/);
  return value;
}

/** Sends speech as a microphone would, in real time, and then the silence that ends the turn. */
async function talk(send: (pcm: Int16Array) => void, text: string): Promise<void> {
  for (const pcm of [await speak(text), silence(900)]) {
    for (let at = 0; at < pcm.length; at += 480) {
      send(pcm.slice(at, at + 480));
      await sleep(20);
    }
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  for (let waited = 0; waited < 10_000; waited += 20) {
    if (condition()) return;
    await sleep(20);
  }
  assert.fail(`waited in vain until ${what}`);
}

test("@openai/agents-realtime over WebSocket: a voice turn, an interruption with truncation, a written turn", async () => {
  const url = `${server.url.replace("http", "ws")}/v1/realtime`;
  const transport = new AgentsWebSocket({ url });
  const session = new RealtimeSession(new RealtimeAgent({ name: "tester", instructions: "Repeat." }), { transport });
  const types: string[] = [];
  const errors: unknown[] = [];
  let interruptions = 0;
  transport.on("*", (event: { type: string }) => types.push(event.type));
  session.on("error", (error) => errors.push(error));
  session.on("audio_interrupted", () => interruptions++);
  await session.connect({ apiKey: "unused" });
  const say = (text: string) => talk((pcm) => session.sendAudio(pcm.buffer as ArrayBuffer), text);
  await say("Hello there, my friend.");
  await until("the answer is complete", () => types.includes("response.done"));
  await sleep(2000); // it came faster than it plays: now the client is in the middle of it
  await say("Stop.");
  await until("the answer was cut", () => types.includes("conversation.item.truncated"));
  await until("two answers are complete", () => types.filter((type) => type === "response.done").length === 2);
  session.sendMessage("hello in writing");
  await until("three answers are complete", () => types.filter((type) => type === "response.done").length === 3);
  const assistant = session.history.find((item) => item.type === "message" && item.role === "assistant");
  session.close();
  assert.deepEqual(errors, []);
  assert(interruptions >= 1, "the client knew that it was interrupted");
  assert.match(JSON.stringify(assistant), /your own words/);
  assert.doesNotMatch(JSON.stringify(assistant), /after you stopped/, "memory ends where the ear was");
});

/** What both of npm openai's WebSocket classes have in common. */
type Realtime = Pick<OpenAIRealtimeWS, "on" | "send" | "close">;

/** Follows a connection: everything that came, and waits for what is to come. */
class Follower {
  readonly events: RealtimeServerEvent[] = [];
  readonly #realtime: Realtime;
  #seen = 0;

  constructor(realtime: Realtime) {
    this.#realtime = realtime;
    realtime.on("event", (event) => this.events.push(event));
    realtime.on("error", () => {}); // is an event as well
  }

  /** The next event of this type after the last one that was waited for; an `error` fails, unless it is the one. */
  async next<T extends RealtimeServerEvent["type"]>(type: T): Promise<Extract<RealtimeServerEvent, { type: T }>> {
    for (let waited = 0; waited < 15_000; waited += 10) {
      const at = this.events.findIndex(
        (event, index) => index >= this.#seen && (event.type === type || event.type === "error"),
      );
      if (at >= 0) {
        this.#seen = at + 1;
        const event = this.events[at]!;
        assert.equal(event.type, type, JSON.stringify(event));
        return event as Extract<RealtimeServerEvent, { type: T }>;
      }
      await sleep(10);
    }
    assert.fail(`no ${type} came after ${JSON.stringify(this.events.slice(-5).map((event) => event.type))}`);
  }

  /** Asks in writing; gives the id of the question. */
  async write(text: string, id?: string, previous_item_id?: string): Promise<string> {
    const item = {
      ...(id && { id }),
      type: "message" as const,
      role: "user" as const,
      content: [{ type: "input_text" as const, text }],
    };
    this.#realtime.send({ type: "conversation.item.create", item, ...(previous_item_id && { previous_item_id }) });
    const added = await this.next("conversation.item.added");
    return added.item.id!;
  }
}

for (const [name, open] of [
  ["OpenAIRealtimeWS", (client: OpenAI) => new OpenAIRealtimeWS({ model: "gpt-realtime" }, client)],
  ["OpenAIRealtimeWebSocket", (client: OpenAI) => new OpenAIRealtimeWebSocket({ model: "gpt-realtime" }, client)],
] as const) {
  test(`npm openai's ${name}, by TLS, with an ephemeral secret: every kind of turn, interruption and edit`, async () => {
    const apiKey = await mintSecret(cascade.url);
    const client = new OpenAI({ apiKey, baseURL: `${cascade.url}/v1` });
    const realtime = open(client) as Realtime;
    const follow = new Follower(realtime);
    const created = await follow.next("session.created");
    assert.equal((created.session as { model?: string }).model, "gpt-realtime");
    const tools = [
      { type: "function" as const, name: "get_weather", description: "Weather.", parameters: { type: "object" } },
    ];
    const input = { transcription: { model: "gpt-4o-mini-transcribe" } };
    realtime.send({ type: "session.update", session: { type: "realtime", audio: { input }, tools } });
    await follow.next("session.updated");

    // By voice.
    models.words = "What is the capital of France?";
    const said = talk((pcm) => {
      const audio = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).toString("base64");
      realtime.send({ type: "input_audio_buffer.append", audio });
    }, "What is the capital of France?");
    const { transcript } = await follow.next("conversation.item.input_audio_transcription.completed");
    assert.equal(transcript, "What is the capital of France?");
    await follow.next("response.output_audio.delta");
    const { response } = await follow.next("response.done");
    await said;
    assert.equal(response.status, "completed");
    assert.match(JSON.stringify(response.output), /Paris is the capital of France/);

    // A function, in writing.
    await follow.write("How is the weather?");
    realtime.send({ type: "response.create", response: { output_modalities: ["text"] } });
    const call = await follow.next("response.function_call_arguments.done");
    assert.deepEqual([call.name, JSON.parse(call.arguments).city], ["get_weather", "Bergen"]);
    await follow.next("response.done");
    const output = { type: "function_call_output" as const, call_id: call.call_id, output: "rain" };
    realtime.send({ type: "conversation.item.create", item: output });
    await follow.next("conversation.item.done");
    realtime.send({ type: "response.create", response: { output_modalities: ["text"] } });
    assert.equal((await follow.next("response.output_text.done")).text, "The answer is: rain");
    await follow.next("response.done");

    // An interruption, and what the conversation remembers of it.
    await follow.write("Tell me a story.");
    realtime.send({ type: "response.create" });
    const { item_id } = await follow.next("response.output_audio.delta");
    realtime.send({ type: "response.cancel" });
    assert.equal((await follow.next("response.done")).response.status, "cancelled");
    realtime.send({ type: "conversation.item.truncate", item_id, content_index: 0, audio_end_ms: 700 });
    assert.equal((await follow.next("conversation.item.truncated")).audio_end_ms, 700);
    realtime.send({ type: "conversation.item.retrieve", item_id });
    const heard = JSON.stringify((await follow.next("conversation.item.retrieved")).item);
    assert.match(heard, /Once upon/);
    assert.doesNotMatch(heard, /daughters/, "nobody has heard that yet");

    // Edits of the history.
    const first = await follow.write("first of all", "msg_first", "root");
    assert.equal(first, "msg_first");
    const edited = follow.events.findLast((event) => event.type === "conversation.item.added");
    assert(edited?.type === "conversation.item.added" && edited.previous_item_id === null);
    realtime.send({ type: "conversation.item.delete", item_id: first });
    await follow.next("conversation.item.deleted");
    realtime.send({ type: "conversation.item.retrieve", item_id: first, event_id: "gone" });
    const error = await follow.next("error");
    assert.equal(error.error.event_id, "gone");

    // Beside the conversation.
    const beside = { conversation: "none" as const, output_modalities: ["text" as const], metadata: { topic: "x" } };
    const content = [{ type: "input_text" as const, text: "France?" }];
    const asked = { type: "message" as const, role: "user" as const, content };
    realtime.send({ type: "response.create", response: { ...beside, input: [asked] } });
    const aside = await follow.next("response.done");
    assert.deepEqual([aside.response.conversation_id ?? null, aside.response.metadata], [null, { topic: "x" }]);
    realtime.close();
    for (const event of follow.events) {
      const parsed = realtimeServerEventSchema.safeParse(event);
      assert(parsed.success, `${event.type}: ${JSON.stringify(parsed.error?.issues?.[0])}`);
    }
  });
}

test("npm openai's WebSocket class in a session that only transcribes", async () => {
  models.words = "Thank you very much.";
  const client = new OpenAI({ apiKey: API_KEY, baseURL: `${cascade.url}/v1` });
  const realtime = new OpenAIRealtimeWS({ intent: "transcription" }, client);
  const follow = new Follower(realtime);
  const { session } = await follow.next("session.created");
  assert.equal(session.type, "transcription");
  const update = {
    type: "transcription" as const,
    audio: { input: { transcription: { model: "whisper-1", language: "en" } } },
  };
  realtime.send({ type: "session.update", session: update });
  await follow.next("session.updated");
  await talk((pcm) => {
    const audio = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).toString("base64");
    realtime.send({ type: "input_audio_buffer.append", audio });
  }, "Thank you very much.");
  await follow.next("input_audio_buffer.speech_started");
  await follow.next("input_audio_buffer.committed");
  const { transcript, usage } = await follow.next("conversation.item.input_audio_transcription.completed");
  assert.equal(transcript, "Thank you very much.");
  assert(usage.type === "duration" && usage.seconds > 0.5);
  const asked = models.asked.findLast(({ path }) => path.endsWith("/audio/transcriptions"));
  assert.match(asked?.body ?? "", /name="language"\r\n\r\nen/);
  realtime.close();
  assert(!follow.events.some((event) => event.type.startsWith("response.")));
});

test("@openai/agents-realtime over WebSocket: a tool runs once, history is edited, an MCP tool waits for leave", async () => {
  let runs = 0;
  const weather = tool({
    name: "get_weather",
    description: "The weather.",
    parameters: z.object({ city: z.string(), text: z.string() }),
    execute: () => {
      runs += 1;
      return "rain";
    },
  });
  const hosted = {
    type: "hosted_tool" as const,
    name: "hosted_mcp",
    providerData: {
      type: "mcp" as const,
      server_label: "notes",
      server_url: mcp.url,
      allowed_tools: ["note"],
      require_approval: "always" as const,
    },
  };
  const agent = new RealtimeAgent({ name: "tester", instructions: "Help.", tools: [weather, hosted] });
  const transport = new AgentsWebSocket({ url: `${cascade.url.replace("http", "ws")}/v1/realtime` });
  const session = new RealtimeSession(agent, { transport, config: { outputModalities: ["text"] } });
  const events: { type: string }[] = [];
  const errors: unknown[] = [];
  transport.on("*", (event: { type: string }) => events.push(event));
  session.on("error", (error) => errors.push(error));
  const count = (type: string) => events.filter((event) => event.type === type).length;
  await session.connect({ apiKey: await mintSecret(cascade.url) });
  await until("the tools of the MCP server are known", () => count("mcp_list_tools.completed") === 1);
  session.sendMessage("How is the weather?");
  await until("the answer knows what the tool said", () =>
    /The answer is: .*rain/.test(JSON.stringify(session.history)),
  );
  assert.equal(runs, 1);

  const remembered = session.history.length;
  session.updateHistory((history) => history.slice(1));
  await until("the item is gone", () => count("conversation.item.deleted") === 1);
  assert.equal(session.history.length, remembered - 1);

  let asked = 0;
  session.on("tool_approval_requested", (_context, _agent, request) => {
    asked += 1;
    void session.approve((request as { approvalItem: Parameters<typeof session.approve>[0] }).approvalItem);
  });
  session.sendMessage("Make a note.");
  await until("the note is written and told of", () =>
    /The answer is: noted: milk/.test(JSON.stringify(session.history)),
  );
  assert.deepEqual([asked, notes.at(-1), count("response.mcp_call.completed")], [1, "milk", 1]);
  session.close();
  assert.deepEqual(errors, []);
  for (const event of events) {
    const known = realtimeServerEventSchema.safeParse(event);
    assert(known.success, `${event.type}: ${JSON.stringify(known.error?.issues?.[0])}`);
  }
});

test("@openai/agents-realtime over WebRTC in a browser: voice, writing, a tool, an interruption, an edit, and a sideband", async () => {
  const agents = join(import.meta.dirname, "../../node_modules/@openai/agents-realtime/dist/bundle");
  const called = await startSluice({ args: agentArgs(), env: { SLUICE_API_KEY: API_KEY } });
  models.words = "What is the capital of France?";
  const parts = [silence(1500), await speak("What is the capital of France?"), silence(30_000)];
  const browser = await launchChromium({ microphoneWav: await microphoneWav(parts) });
  try {
    const page = await (await browser.newContext({ bypassCSP: true })).newPage();
    await page.goto(called.url);
    await page.addScriptTag({ content: readFileSync(join(agents, "openai-realtime-agents.umd.js"), "utf8") });
    const secret = await mintSecret(called.url);
    await page.evaluate(connectAgents, [called.url, secret] as const);
    const seen = () => page.evaluate(() => (globalThis as unknown as { seen: string[] }).seen);
    const history = async () => JSON.stringify(await page.evaluate("session.history"));
    const waitFor = async (what: string, condition: () => Promise<boolean>) => {
      for (let waited = 0; waited < 12_000; waited += 100) {
        if (await condition()) return;
        await sleep(100);
      }
      assert.fail(`waited in vain until ${what}: ${(await seen()).slice(-12).join(", ")}`);
    };
    const count = async (type: string) => (await seen()).filter((one) => one === type).length;

    // By voice; meanwhile a second connection looks on.
    const callId = await page.evaluate("session.transport.callId");
    const socket = new WebSocket(`${called.url.replace("http", "ws")}/v1/realtime?call_id=${callId}`, {
      headers: { authorization: `Bearer ${API_KEY}` },
    } as unknown as string[]); // Node's own takes headers
    const observed: string[] = [];
    socket.onmessage = ({ data }) => observed.push(JSON.parse(String(data)).type);
    await waitFor("the answer was heard", async () => (await count("output_audio_buffer.stopped")) === 1);
    assert.match(await history(), /Paris is the capital of France/);
    const [started, stopped] = ["output_audio_buffer.started", "output_audio_buffer.stopped"];
    const types = await seen();
    assert(types.indexOf(started) < types.indexOf(stopped));
    assert(types.includes("input_audio_buffer.speech_started"));

    // A tool, in writing.
    await page.evaluate("session.sendMessage('How is the weather?')");
    await waitFor("the answer knows what the tool said", async () => /The answer is: .*rain/.test(await history()));
    assert.equal(await page.evaluate("runs"), 1);
    await waitFor("it was heard", async () => (await count("output_audio_buffer.stopped")) === 2);

    // An interruption: we play, so we know where the ear was.
    await page.evaluate("session.sendMessage('Tell me a story.')");
    await waitFor("the story begins", async () => (await count("output_audio_buffer.started")) === 3);
    await sleep(800);
    await page.evaluate("session.interrupt()");
    await waitFor("the story ends", async () => (await count("output_audio_buffer.cleared")) === 1);
    assert.equal(await count("conversation.item.truncated"), 1);

    // An edit.
    await page.evaluate("session.updateHistory((items) => items.slice(1))");
    await waitFor("the item is gone", async () => (await count("conversation.item.deleted")) === 1);
    for (const type of [
      "session.created",
      "response.done",
      "conversation.item.truncated",
      "conversation.item.deleted",
    ]) {
      assert(observed.includes(type), `${type} at the sideband, among ${[...new Set(observed)].join(", ")}`);
    }
    socket.close();
    assert.deepEqual(await page.evaluate("errors"), []);
    await page.evaluate("session.close()");
  } finally {
    await browser.close();
    await called.stop();
  }
});

/** In the page: connects with a tool, and keeps what there is to know on the page's global object. */
async function connectAgents([url, apiKey]: readonly [string, string]): Promise<void> {
  // biome-ignore lint/suspicious/noExplicitAny: the bundle's global has no types
  const page = globalThis as any;
  const { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebRTC, tool } = page.OpenAIAgentsRealtime;
  const text = { type: "string" };
  const parameters = {
    type: "object",
    properties: { city: text, text },
    required: ["city", "text"],
    additionalProperties: false,
  };
  page.runs = 0;
  page.seen = [];
  const execute = () => {
    page.runs += 1;
    return "rain";
  };
  const tools = [tool({ name: "get_weather", description: "The weather.", parameters, strict: true, execute })];
  const transport = new OpenAIRealtimeWebRTC({ baseUrl: `${url}/v1/realtime/calls` });
  page.session = new RealtimeSession(new RealtimeAgent({ name: "tester", instructions: "Help.", tools }), {
    transport,
  });
  page.errors = [];
  transport.on("*", (event: { type: string; error?: unknown }) => {
    page.seen.push(event.type);
    if (event.type === "error") page.errors.push(event.error);
  });
  await page.session.connect({ apiKey });
}
