import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { TtsEvent } from "@sluice/conversation";
import { createEncoder } from "libopus-wasm";
import { testFaults } from "../contract/faults.ts";
import { testTextToSpeech } from "../contract/index.ts";
import { type HttpReply, startHttpUpstream } from "../contract/upstream.ts";
import { encodePcm16, encodeWav } from "../stt/wav.ts";
import { createOpenAiSpeech, type OpenAiSpeechOptions } from "./openai.ts";

const never = new AbortController().signal;

/** A tone at `rate`; 100 ms for each character. */
function tone(text: string, rate = 24_000): Int16Array {
  return Int16Array.from({ length: (text.length * rate) / 10 }, (_, at) =>
    Math.round(8000 * Math.sin((2 * Math.PI * 440 * at) / rate)),
  );
}

/** Pieces of odd sizes, so that samples are cut. */
function odd(bytes: Buffer, size = 4801): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, at) => bytes.subarray(at * size, (at + 1) * size));
}

/** A WAV of which the length was not known when it began. */
function streamedWav(pcm: Int16Array, rate: number): Buffer {
  const wav = encodeWav(pcm, rate);
  wav.writeUInt32LE(0xffffffff, 4);
  wav.writeUInt32LE(0xffffffff, 40);
  return wav;
}

/** Ogg Opus as servers make it: two headers, then a page a packet, one of them over two pages. */
async function oggOpus(pcm: Int16Array): Promise<Buffer> {
  const encoder = await createEncoder({ sampleRate: 24_000, channels: 1, frameSize: 480 });
  const head = Buffer.from("OpusHead\x01\x01\x38\x01\xc0\x5d\x00\x00\x00\x00\x00", "latin1");
  const pages = [page(head, 2), page(Buffer.from("OpusTags\x00\x00\x00\x00\x00\x00\x00\x00", "latin1"))];
  for (let at = 0; at + 480 <= pcm.length; at += 480)
    pages.push(page(Buffer.from(encoder.encode(pcm.subarray(at, at + 480)))));
  encoder.free();
  return Buffer.concat(pages);
}

function page(packet: Buffer, flags = 0): Buffer {
  const lacing = [...Array<number>(Math.floor(packet.length / 255)).fill(255), packet.length % 255];
  const header = Buffer.alloc(27);
  header.write("OggS", "latin1");
  header[5] = flags;
  header[26] = lacing.length;
  return Buffer.concat([header, Buffer.from(lacing), packet]);
}

type Request = { readonly input: string; readonly response_format: string; readonly [name: string]: unknown };

/** Answers as a server of each format does. */
function answer({ input, response_format, stream_format }: Request): HttpReply {
  const pcm = tone(input);
  if (stream_format === "sse") {
    const deltas = odd(encodePcm16(pcm)).map(
      (bytes) => `data: ${JSON.stringify({ type: "speech.audio.delta", audio: bytes.toString("base64") })}\n\n`,
    );
    const done = 'data: {"type":"speech.audio.done","usage":{}}\n\n';
    return { contentType: "text/event-stream", parts: [...deltas, done], nothing: [done] };
  }
  if (response_format === "wav") {
    return { contentType: "audio/wav", parts: odd(streamedWav(pcm, 24_000)), nothing: [encodeWav(new Int16Array(0))] };
  }
  if (response_format === "opus") return { contentType: "audio/ogg", parts: odd(opusSpeech, 333), nothing: [] };
  return { contentType: "audio/pcm", parts: odd(encodePcm16(pcm)), nothing: [] };
}

let opusSpeech: Buffer = Buffer.alloc(0);
before(async () => {
  opusSpeech = await oggOpus(tone("Hello there."));
});

let requests: Request[] = [];
let custom: HttpReply | undefined;
const upstream = startHttpUpstream((_request, body) => {
  const request = JSON.parse(body.toString("utf8")) as Request;
  requests.push(request);
  return custom ?? answer(request);
});
after(async () => (await upstream).close());

testTextToSpeech("audio/speech", async () => createOpenAiSpeech({ baseUrl: (await upstream).url, model: "m" }));

for (const format of ["pcm", "sse"] as const) {
  testFaults(`audio/speech as ${format}`, {
    start: () => startHttpUpstream((_request, body) => answer(JSON.parse(body.toString("utf8")))),
    call: ({ url, ...options }, signal) =>
      createOpenAiSpeech({ baseUrl: url, model: "m", format, ...options }).speak(once("Hello there."), {}, signal),
    check: (events) => {
      const samples = samplesOf(events as readonly TtsEvent[]).length;
      assert.ok(Math.abs(samples - 28_800) < 500, `${samples}`);
    },
    // Raw audio may be anything.
    immune: format === "pcm" ? ["malformed", "endless"] : [],
  });
}

test("gives the very samples, whatever cuts them", async () => {
  for (const format of ["pcm", "wav", "sse"] as const)
    assert.deepEqual(await speak("Hello there.", { format }), [...tone("Hello there.")], format);
});

test("gives Opus at the right pitch, without the encoder's warm-up", async () => {
  const samples = await speak("Hello there.", { format: "opus" });
  const crossings = samples.filter((sample, at) => sample >= 0 && (samples[at - 1] ?? 0) < 0).length;
  assert.ok(Math.abs(crossings / (samples.length / 24_000) - 440) < 10, `${crossings}`);
  assert.ok(Math.abs(samples.length - (28_800 - 156)) <= 1, `${samples.length}`);
});

test("converts other rates: as configured, as told by the reply, or by a WAV", async () => {
  const text = "Hello there.";
  custom = { contentType: "audio/pcm", parts: odd(encodePcm16(tone(text, 16_000))), nothing: [] };
  assert.equal((await speak(text, { sampleRate: 16_000 })).length, 28_800);
  custom = { ...custom, contentType: "audio/L16; rate=16000" };
  assert.equal((await speak(text, {})).length, 28_800);
  custom = { contentType: "audio/pcm", parts: odd(encodeWav(tone(text, 22_050), 22_050)), nothing: [] };
  assert.equal((await speak(text, {})).length, 28_800);
  custom = undefined;
});

test("plays a WAV of two channels as one, and nothing of what follows it", async () => {
  const stereo = Int16Array.from({ length: 2000 }, (_, at) => (at % 2 === 0 ? 1000 : 3000));
  const wav = encodeWav(stereo);
  wav.writeUInt16LE(2, 22);
  custom = { contentType: "audio/wav", parts: [wav, Buffer.from("LIST\x04\x00\x00\x00abcd", "latin1")], nothing: [] };
  assert.deepEqual(await speak("Hi.", { format: "wav" }), Array<number>(1000).fill(2000));
  custom = undefined;
});

test("says in words that the reply is no audio, or another kind of it", async () => {
  custom = { contentType: "application/json", parts: ['{"error":{"message":"no such voice"}}'], nothing: [] };
  await assert.rejects(speak("Hi.", {}), /no such voice/);
  custom = { contentType: "audio/mpeg", parts: ["ID3"], nothing: [] };
  await assert.rejects(speak("Hi.", {}), /audio\/mpeg/);
  custom = { contentType: "audio/ogg", parts: ["ID3 is no Ogg"], nothing: [] };
  await assert.rejects(speak("Hi.", { format: "opus" }), /no Ogg Opus/);
  custom = undefined;
});

test("asks for what was asked for", async () => {
  requests = [];
  await speak("Hi there.", { instructions: "Whisper.", body: { seed: 1 } }, { voice: "coral", speed: 9 });
  assert.deepEqual(requests, [
    {
      model: "m",
      input: "Hi there.",
      voice: "coral",
      response_format: "pcm",
      speed: 4,
      instructions: "Whisper.",
      seed: 1,
    },
  ]);
});

test("speaks a text that is there as a whole in one request, and asks nothing for what has no sound", async () => {
  requests = [];
  await speak("One. Two. Three.", {});
  await speak("— 🙂 …", {});
  assert.deepEqual(
    requests.map(({ input }) => input),
    ["One. Two. Three."],
  );
});

test("splits a long text between sentences", async () => {
  requests = [];
  const text = "This is one of many sentences. ".repeat(60);
  await speak(text, {});
  assert.equal(requests.map(({ input }) => input).join(""), text);
  assert.ok(requests.length > 2 && requests.every(({ input }) => input.length <= 600));
});

async function speak(text: string, options: Partial<OpenAiSpeechOptions>, tts = {}): Promise<number[]> {
  const engine = createOpenAiSpeech({ baseUrl: (await upstream).url, model: "m", ...options });
  const events: TtsEvent[] = [];
  for await (const event of engine.speak(once(text), tts, never)) events.push(event);
  return samplesOf(events);
}

function samplesOf(events: readonly TtsEvent[]): number[] {
  return events.flatMap((event) => (event.kind === "audio" ? [...event.pcm] : []));
}

async function* once(text: string): AsyncGenerator<string> {
  yield text;
}
