/**
 * Servers of models that fail, behind a whole call: transceiver, conversation and cascade over real sockets. Whatever an
 * upstream does, its turn ends within the configured limits and says why, the next turn works, and nothing is left.
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Milli, Pipeline, type SpeechToSpeech } from "@sluice/conversation";
import {
  createCascade,
  createChatCompletions,
  createOpenAiSpeech,
  createScriptedVad,
  createTranscriptions,
  HttpPool,
} from "@sluice/engines";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { serveTransceiver, type Transceiver } from "@sluice/transceiver";
import pino from "pino";
import { leavesNothing } from "../packages/engines/src/contract/resources.ts";
import {
  type Behaviour,
  type HttpReply,
  startHttpUpstream,
  type Upstream,
} from "../packages/engines/src/contract/upstream.ts";

const LIMITS = { connectMs: 500, firstMs: 500, betweenMs: 300 };
const RETRY = { baseMs: 5, capMs: 10, random: () => 0.5 };
const SAID = "How are you?";
const ANSWERED = "Very well, thank you. And you?";

const events = (...list: readonly object[]): HttpReply => ({
  contentType: "text/event-stream",
  parts: list.map((event) => `data: ${JSON.stringify(event)}\n\n`),
  nothing: [],
});
const STT = events({ type: "transcript.text.delta", delta: "How" }, { type: "transcript.text.done", text: SAID });
const LLM = events(
  ...(ANSWERED.match(/\s*\S+/g) ?? []).map((content) => ({ choices: [{ index: 0, delta: { content } }] })),
  { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] },
);
const TTS: HttpReply = {
  contentType: "audio/pcm",
  parts: Array.from({ length: 4 }, () => tone(100, 230)),
  nothing: [],
};

type Stage = "stt" | "llm" | "tts";

interface Upstreams extends Record<Stage, Upstream> {
  /** Audio that recognition was sent, request by request. */
  readonly heardMs: Milli[];
}

async function startUpstreams(): Promise<Upstreams> {
  const heardMs: Milli[] = [];
  const listen = startHttpUpstream((request, body) => {
    if (request.method === "POST") heardMs.push((body.length - 44) / 48);
    return STT;
  });
  const [stt, llm, tts] = await Promise.all([listen, startHttpUpstream(() => LLM), startHttpUpstream(() => TTS)]);
  return { stt, llm, tts, heardMs };
}

function agentOf(urls: Record<Stage, string>, pool: HttpPool, pipeline = new Pipeline()): SpeechToSpeech {
  const common = { model: "m", timeouts: LIMITS, retry: RETRY, pool };
  return createCascade({
    stt: createTranscriptions({ ...common, baseUrl: urls.stt }),
    llm: createChatCompletions({ ...common, baseUrl: urls.llm }),
    tts: createOpenAiSpeech({ ...common, baseUrl: urls.tts }),
    fallbackTts: async () => undefined,
    pipeline,
  });
}

async function serve(speech: SpeechToSpeech): Promise<Transceiver> {
  return serveTransceiver({
    host: "127.0.0.1",
    port: 0,
    udpPort: 0,
    advertise: ["127.0.0.1"],
    apiKey: undefined,
    keyRing: createKeyRing([generateKey(randomBytes)]),
    serverId: createServerId(1, 1),
    engines: { vad: createScriptedVad(), speech },
    model: "m",
    version: "0.0.0",
    staticDir: undefined,
    maxCalls: 10,
    log: pino({ level: "silent" }),
  });
}

interface Event {
  readonly type: string;
  readonly transcript?: string;
  readonly response?: {
    readonly status: string;
    readonly status_details: { readonly error?: { readonly code: string; readonly message: string } } | null;
  };
}

/** A client on a WebSocket. */
class Client {
  readonly #socket: WebSocket;
  readonly #events: Event[] = [];
  #wake = () => {};

  constructor(url: string) {
    this.#socket = new WebSocket(`${url.replace("http", "ws").replace("localhost", "127.0.0.1")}/v1/realtime`);
    this.#socket.onmessage = ({ data }) => {
      this.#events.push(JSON.parse(String(data)));
      this.#wake();
    };
  }

  async open(turnDetection: object | null): Promise<void> {
    await once(this.#socket, "open");
    const input = { turn_detection: turnDetection, transcription: { model: "any" } };
    this.send({ type: "session.update", session: { type: "realtime", audio: { input } } });
    await this.next("session.updated");
  }

  send(event: object): void {
    this.#socket.send(JSON.stringify(event));
  }

  append(pcm: Buffer): void {
    this.send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") });
  }

  /** The next event of `type`, and drops those before it. */
  async next(type: string): Promise<Event> {
    for (const until = performance.now() + 10_000; performance.now() < until; ) {
      const at = this.#events.findIndex((event) => event.type === type);
      if (at >= 0) return this.#events.splice(0, at + 1).at(-1)!;
      await Promise.race([new Promise<void>((resolve) => (this.#wake = resolve)), sleep(50)]);
    }
    throw new Error(`no ${type} within 10 s`);
  }

  /** Says something, ends the turn by itself, and waits for what comes of it. */
  async ask(): Promise<{ readonly done: NonNullable<Event["response"]>; readonly tookMs: Milli }> {
    this.append(tone(1000));
    this.send({ type: "input_audio_buffer.commit" });
    const from = performance.now();
    this.send({ type: "response.create" });
    const { response } = await this.next("response.done");
    return { done: response!, tookMs: performance.now() - from };
  }

  async close(): Promise<void> {
    const closed = once(this.#socket, "close");
    this.#socket.close();
    await closed;
  }
}

/** A whole call to agents of these servers; afterwards nothing of it may be left. */
async function withCall(
  use: (client: Client, upstreams: Upstreams) => Promise<void>,
  turnDetection: object | null = null,
) {
  await leavesNothing(async () => {
    const upstreams = await startUpstreams();
    const pool = new HttpPool();
    const transceiver = await serve(
      agentOf({ stt: upstreams.stt.url, llm: upstreams.llm.url, tts: upstreams.tts.url }, pool),
    );
    const client = new Client(transceiver.url);
    try {
      await client.open(turnDetection);
      const warm = () => [upstreams.stt, upstreams.llm, upstreams.tts].every(({ requests }) => requests > 0);
      while (!warm()) await sleep(2); // connections are opened before they are needed
      await use(client, upstreams);
    } finally {
      await client.close();
      await transceiver.close("the test is over");
      await pool.close();
      await Promise.all([upstreams.stt.close(), upstreams.llm.close(), upstreams.tts.close()]);
    }
  });
}

const refused = (status: number, headers = {}): Behaviour => ({ status, headers, body: '{"error":{"message":"no"}}' });
/** What servers do, as often as they are asked again. */
const FAULTS: readonly (readonly [name: string, ...plan: readonly Behaviour[]])[] = [
  ["refuses the key (401)", refused(401)],
  ["has had too many requests (429)", refused(429, { "retry-after": "60" })],
  ["fails (500), again and again", refused(500), refused(500), refused(500)],
  ["says nothing", "stall"],
  ["falls silent in its answer", "stallWithin"],
  ["breaks the connection, again and again", "cut", "cut", "cut"],
  ["breaks off its answer", "cutWithin"],
  ["talks nonsense", "malformed"],
  ["sends a line of 10 MB", "endless", "endless", "endless"],
  ["is done without a word", "nothing", "nothing", "nothing"],
];
/** To a voice all bytes are sound: nonsense is noise, and 10 MB of it is a long one. */
const SOUNDS: ReadonlySet<string> = new Set(["talks nonsense", "sends a line of 10 MB"]);
const NAMES = { stt: "speech recognition", llm: "language model", tts: "speech synthesis" };
/** A stage's limits, twice for speech that is heard twice, and what a busy machine needs. */
const WITHIN_MS = 2 * (LIMITS.connectMs + LIMITS.firstMs + LIMITS.betweenMs) + 1500;

for (const stage of ["stt", "llm", "tts"] as const) {
  test(`whatever the ${NAMES[stage]} does wrong, its turn ends in time and says why, and the next turn works`, async () => {
    await withCall(async (client, upstreams) => {
      for (const [name, ...plan] of FAULTS) {
        if (stage === "tts" && SOUNDS.has(name)) continue;
        // An utterance is heard twice when the first time fails, and clauses are spoken two at a time.
        upstreams[stage].plan(...(stage === "llm" ? plan : [...plan, ...plan]));
        const { done, tookMs } = await client.ask();
        assert.equal(done.status, "failed", `${name}: ${JSON.stringify(done)}`);
        assert.equal(done.status_details?.error?.code, "engine_failed", name);
        assert.match(done.status_details?.error?.message ?? "", new RegExp(NAMES[stage]), name);
        assert.ok(tookMs < WITHIN_MS, `${name}: ${tookMs} ms`);
        upstreams[stage].plan();
        const next = await client.ask();
        assert.equal(next.done.status, "completed", `after ${name}: ${JSON.stringify(next.done)}`);
      }
      // What is kept is for the next turn: a connection each, as that which was opened first, and two of the voice.
      const kept = () => [upstreams.stt, upstreams.llm, upstreams.tts].map(({ connections }) => connections);
      for (let turn = 0; turn < 200 && Math.max(...kept()) > 3; turn++) await sleep(10);
      assert.ok(Math.max(...kept()) <= 3, `${kept()}`);
    });
  });
}

test("servers that are not there are told apart, and the call lives", async () => {
  const there = await startUpstreams();
  const gone = await startUpstreams();
  await Promise.all([gone.stt.close(), gone.llm.close(), gone.tts.close()]);
  const pool = new HttpPool();
  for (const stage of ["stt", "llm", "tts"] as const) {
    const urls = { stt: there.stt.url, llm: there.llm.url, tts: there.tts.url, [stage]: gone[stage].url };
    const transceiver = await serve(agentOf(urls, pool));
    const client = new Client(transceiver.url);
    await client.open(null);
    for (let turn = 0; turn < 2; turn++) {
      const { done } = await client.ask();
      assert.equal(done.status, "failed");
      assert.match(done.status_details?.error?.message ?? "", new RegExp(`${NAMES[stage]}.*is it running`));
    }
    await client.close();
    await transceiver.close("the test is over");
  }
  await pool.close();
  await Promise.all([there.stt.close(), there.llm.close(), there.tts.close()]);
});

/** Sends `pcm` as a microphone would. */
async function talk(client: Client, pcm: Buffer): Promise<void> {
  const from = performance.now();
  for (let at = 0; at < pcm.length; at += 960) {
    client.append(pcm.subarray(at, at + 960));
    await sleep(Math.max(0, from + at / 48 + 20 - performance.now()));
  }
}

const DETECTION = { type: "server_vad", silence_duration_ms: 400 };
const quiet = (ms: Milli) => Buffer.alloc(ms * 48);

test("an answer that is prepared in a pause fails unheard, and the turn has another", async () => {
  await withCall(async (client, upstreams) => {
    for (const [name, ...plan] of FAULTS.filter(([name]) => /500|falls silent|breaks off|nonsense/.test(name))) {
      upstreams.llm.plan(plan[0]!); // the first request, which is made before the turn is over
      await talk(client, Buffer.concat([tone(400), quiet(700)]));
      const { response } = await client.next("response.done");
      // An answer that had begun when the turn was over is the turn's own, and fails with it.
      assert.ok(
        response?.status === "completed" || /silent|breaks off/.test(name),
        `${name}: ${JSON.stringify(response)}`,
      );
      upstreams.llm.plan();
    }
  }, DETECTION);
});

test("a caller who pauses and goes on loses no word of it, and functions and answers come once", async () => {
  await withCall(async (client, upstreams) => {
    await talk(client, Buffer.concat([tone(500), quiet(260), tone(500), quiet(700)]));
    const { response } = await client.next("response.done");
    assert.equal(response?.status, "completed");
    assert.ok(upstreams.heardMs.length >= 2, "the pause was taken for the end, and was not");
    assert.ok(upstreams.heardMs.at(-1)! >= 1260, `${upstreams.heardMs} ms`);
  }, DETECTION);
});

/** A voice of `hz` up to 2 kHz: a pure tone would be a hum, and the agent's own an echo, which take no floor. */
function tone(ms: Milli, hz = 140): Buffer {
  const partials = Array.from({ length: Math.floor(2000 / hz) }, (_, at) => (2 * Math.PI * hz * (at + 1)) / 24_000);
  const samples = Int16Array.from({ length: ms * 24 }, (_, at) =>
    Math.round(partials.reduce((sum, step, nth) => sum + 1500 * Math.sin(at * step + nth * nth), 0)),
  );
  return Buffer.from(samples.buffer);
}
