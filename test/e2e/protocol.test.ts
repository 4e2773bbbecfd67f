/** The protocol on a real socket, beyond what clients' libraries do: G.711 both ways, and the beta's dialect. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type AudioFormat, createAudioDecoder, createAudioEncoder } from "@sluice/realtime";
import { WebSocket } from "ws";
import { type SluiceProcess, startSluice } from "../../lab/sluice.ts";
import { silence, speak } from "../../lab/speech.ts";

let server: SluiceProcess;
before(async () => {
  server = await startSluice();
});
after(() => server.stop());

type Event = { readonly type: string } & Readonly<Record<string, unknown>>;

/** A connection as old and odd clients make it. */
async function connect(headers: Readonly<Record<string, string>> = {}) {
  const socket = new WebSocket(`${server.url.replace("http", "ws")}/v1/realtime?model=any`, { headers });
  const events: Event[] = [];
  socket.on("message", (data) => events.push(JSON.parse(String(data)) as Event));
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  const send = (event: Event) => socket.send(JSON.stringify(event));
  const next = async (type: string) => {
    for (let waited = 0; waited < 15_000; waited += 20) {
      const found = events.find((event) => event.type === type);
      if (found) return found;
      await sleep(20);
    }
    assert.fail(`no ${type} among ${[...new Set(events.map((event) => event.type))].join(", ")}`);
  };
  return { socket, events, send, next };
}

/** Says `text` in the session's input format, 20 ms at a time, and then is silent. */
async function say(send: (event: Event) => void, format: AudioFormat, text: string): Promise<Int16Array> {
  const spoken = await speak(text);
  const encoder = createAudioEncoder(format);
  for (const pcm of [spoken, silence(900)]) {
    for (let at = 0; at < pcm.length; at += 480) {
      send({ type: "input_audio_buffer.append", audio: encoder.encode(pcm.slice(at, at + 480)) });
      await sleep(20);
    }
  }
  return spoken;
}

/** Loudness in steps of 50 ms: what an ear would compare. */
function envelopeOf(pcm: Int16Array): number[] {
  const levels: number[] = [];
  for (let at = 0; at + 1200 <= pcm.length; at += 1200) {
    levels.push(Math.sqrt(pcm.subarray(at, at + 1200).reduce((sum, sample) => sum + sample * sample, 0) / 1200));
  }
  return levels;
}

/** The best correlation of `part` with any stretch of `whole`. */
function likeness(part: readonly number[], whole: readonly number[]): number {
  const score = (from: number) => {
    const other = whole.slice(from, from + part.length);
    const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [a, b] = [mean(part), mean(other)];
    let [both, left, right] = [0, 0, 0];
    part.forEach((value, index) => {
      both += (value - a) * (other[index]! - b);
      left += (value - a) ** 2;
      right += (other[index]! - b) ** 2;
    });
    return both / Math.sqrt(left * right || 1);
  };
  return Math.max(...Array.from({ length: Math.max(1, whole.length - part.length) }, (_, from) => score(from)));
}

for (const type of ["audio/pcmu", "audio/pcma"] as const) {
  test(`${type} is heard and spoken: the parrot's echo is what was said`, async () => {
    const { socket, events, send, next } = await connect();
    const format = { type };
    send({ type: "session.update", session: { type: "realtime", audio: { input: { format }, output: { format } } } });
    await next("session.updated");
    const spoken = await say(send, format, "One, two, three, four.");
    const done = await next("response.done");
    socket.close();
    const decoder = createAudioDecoder(format);
    const pieces = events.flatMap((event) =>
      event.type === "response.output_audio.delta" ? [decoder.decode(String(event.delta)) ?? new Int16Array()] : [],
    );
    const heard = Int16Array.from(pieces.flatMap((piece) => [...piece]));
    assert(likeness(envelopeOf(spoken), envelopeOf(heard)) > 0.8, "the echo has the words' loudness");
    const shown = (done.response as { audio: { output: { format: unknown } } }).audio.output.format;
    assert.deepEqual(shown, format, "clients compute from it what was heard");
  });
}

test("a client that marks the beta is spoken to in the beta's words only, and is understood", async () => {
  const { socket, events, send, next } = await connect({ "openai-beta": "realtime=v1" });
  const created = (await next("session.created")).session as Record<string, unknown>;
  assert.deepEqual(created.modalities, ["audio", "text"]);
  send({
    type: "session.update",
    session: {
      modalities: ["text", "audio"],
      instructions: "Repeat.",
      voice: "alloy",
      input_audio_format: "pcm16",
      output_audio_format: "pcm16",
      turn_detection: { type: "server_vad", silence_duration_ms: 400 },
      temperature: 0.7,
    },
  });
  const updated = (await next("session.updated")).session as { turn_detection: { silence_duration_ms: number } };
  assert.equal(updated.turn_detection.silence_duration_ms, 400);
  await say(send, { type: "audio/pcm", rate: 24_000 }, "Good morning.");
  const done = await next("response.done");
  assert.match(JSON.stringify(done.response), /"type":"audio","transcript"/);
  socket.close();
  const types = new Set(events.map((event) => event.type));
  for (const type of ["conversation.item.created", "response.audio.delta", "response.audio_transcript.done"]) {
    assert(types.has(type), type);
  }
  for (const type of types) {
    assert(
      !/output_audio\.|output_audio_transcript|output_text|item\.(added|done)$/.test(
        type.replace("response.output_item.", ""),
      ),
      type,
    );
  }
});
