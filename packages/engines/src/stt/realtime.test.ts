import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type Pcm, SAMPLES_PER_MS, type SttEvent } from "@sluice/conversation";
import { testFaults } from "../contract/faults.ts";
import { type SocketScript, startSocketUpstream } from "../contract/upstream.ts";
import { createRealtimeTranscription } from "./realtime.ts";
import type { RealtimeSttDialect } from "./realtime-dialects.ts";

const never = new AbortController().signal;
const second = new Int16Array(1000 * SAMPLES_PER_MS).fill(100);

type Event = Readonly<Record<string, unknown>>;

/** A server that finds the words "Good morning." in whatever it hears. */
function server(dialect: RealtimeSttDialect, seen: Event[] = []): () => SocketScript {
  const prefix = "conversation.item.input_audio_transcription";
  const isEnd = (event: Event) =>
    event.type === "input_audio_buffer.commit" && (dialect !== "vllm" || event.final === true);
  return () => ({
    onOpen: (send) => send({ type: "session.created", session: {} }),
    onEvent: (event, send) => {
      seen.push(event);
      if (!isEnd(event)) return;
      if (dialect === "vllm") {
        send({ type: "transcription.delta", delta: "Good" });
        send({ type: "transcription.done", text: "Good morning." });
        return;
      }
      send({ type: "input_audio_buffer.committed", item_id: "item_1" });
      send({ type: `${prefix}.delta`, item_id: "item_1", delta: "Good" });
      send({ type: `${prefix}.completed`, item_id: "item_1", transcript: "Good morning." });
    },
    within: 2,
    // Nothing said is an utterance of no words: an end without it would be a fault.
    silence: () => undefined,
  });
}

for (const dialect of ["openai", "vllm"] as const) {
  testFaults(`realtime transcription, ${dialect}`, {
    start: () => startSocketUpstream(server(dialect)),
    call: ({ url, ...options }, signal) =>
      createRealtimeTranscription({ url: `${url}/realtime`, model: "m", dialect, ...options }).transcribe(
        once(second),
        {},
        signal,
      ),
    check: (events) =>
      assert.deepEqual(events, [
        { kind: "partial", text: "Good", stable: false },
        { kind: "final", text: "Good morning." },
      ]),
    immune: ["nothing"],
  });
}

test("realtime transcription: speaks the older dialect of speaches", async () => {
  const seen: Event[] = [];
  const upstream = await startSocketUpstream(server("speaches", seen));
  assert.deepEqual((await collect(upstream.url, "speaches", once(second))).at(-1), {
    kind: "final",
    text: "Good morning.",
  });
  assert.deepEqual(seen[0]?.session, {
    input_audio_format: "pcm16",
    input_audio_transcription: { model: "m" },
    turn_detection: null,
  });
  await upstream.close();
});

test("realtime transcription: sends what it hears at once, at the rate of the server", async () => {
  for (const [dialect, rate] of [
    ["openai", 24_000],
    ["vllm", 16_000],
  ] as const) {
    const seen: Event[] = [];
    const upstream = await startSocketUpstream(server(dialect, seen));
    const appended = () =>
      seen.reduce((size, event) => size + Buffer.from(String(event.audio ?? ""), "base64").length / 2, 0);
    async function* spoken() {
      yield second;
      while (appended() < rate / 2) await new Promise((resolve) => setTimeout(resolve, 5)); // before the end
      yield second;
    }
    await collect(upstream.url, dialect, spoken());
    assert.equal(appended(), 2 * rate);
    await upstream.close();
  }
});

test("realtime transcription: tells the server what is known of the utterance", async () => {
  const seen: Event[] = [];
  const upstream = await startSocketUpstream(server("openai", seen));
  await collect(upstream.url, "openai", once(second), { language: "de-AT", prompt: "Sluice" });
  const input = {
    format: { type: "audio/pcm", rate: 24_000 },
    transcription: { model: "m", language: "de", prompt: "Sluice" },
    turn_detection: null,
  };
  assert.deepEqual(seen[0], { type: "session.update", session: { type: "transcription", audio: { input } } });
  await upstream.close();
});

test("realtime transcription: a click is no utterance", async () => {
  const upstream = await startSocketUpstream(server("openai"));
  assert.deepEqual(await collect(upstream.url, "openai", once(second.subarray(0, 100))), [{ kind: "final", text: "" }]);
  await upstream.close();
});

test("realtime transcription: the caller may speak longer than the server may think", async () => {
  const upstream = await startSocketUpstream(server("openai"));
  async function* slow() {
    yield second;
    await new Promise((resolve) => setTimeout(resolve, 120));
    yield second;
  }
  const engine = createRealtimeTranscription({
    url: upstream.url,
    model: "m",
    timeouts: { firstMs: 100, betweenMs: 100 },
  });
  const events: SttEvent[] = [];
  for await (const event of engine.transcribe(slow(), {}, never)) events.push(event);
  assert.deepEqual(events.at(-1), { kind: "final", text: "Good morning." });
  await upstream.close();
});

let refused: Awaited<ReturnType<typeof startSocketUpstream>> | undefined;
after(() => refused?.close());

test("realtime transcription: an error is told in its own words", async () => {
  const script = server("openai")();
  refused = await startSocketUpstream(() => ({
    ...script,
    onEvent: (_event, send) => send({ type: "error", error: { message: "no such model" } }),
  }));
  await assert.rejects(collect(refused.url, "openai", once(second)), /no such model/);
});

async function collect(url: string, dialect: RealtimeSttDialect, audio: AsyncIterable<Pcm>, stt = {}) {
  const events: SttEvent[] = [];
  const engine = createRealtimeTranscription({ url: `${url}/realtime`, model: "m", dialect });
  for await (const event of engine.transcribe(audio, stt, never)) events.push(event);
  return events;
}

async function* once(pcm: Pcm): AsyncGenerator<Pcm> {
  yield pcm;
}
