/**
 * Talks in Node, over a WebSocket: says a WAV file (24 kHz, mono, 16 bit) and writes the answer into another.
 *
 *     node --conditions=sluice-source examples/node/talk.ts http://localhost:8080 question.wav answer.wav
 */
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "@sluice/client";

const [url = "http://localhost:8080", question = "question.wav", answer = "answer.wav"] = process.argv.slice(2);
const RATE = 24_000;
const PIECE_MS = 20;
const HEADER_SIZE = 44;

// Without a browser there is no sound device: audio comes and goes as events, and is ours to play.
const conversation = await connect({ url, transport: "websocket", microphone: false, playout: false });
const heard: Buffer[] = [];
conversation.on("response.output_audio.delta", ({ delta }) => heard.push(Buffer.from(delta, "base64")));
conversation.on("transcript", ({ role, text, complete }) => {
  if (complete && text) console.log(`${role}: ${text}`);
});
const answered = new Promise<void>((resolve) => conversation.on("response.done", () => resolve()));

const spoken = (await readFile(question)).subarray(HEADER_SIZE);
// A pause after the last word tells the server that the turn is over.
const said = Buffer.concat([spoken, Buffer.alloc(RATE * 2)]);
const size = (RATE * 2 * PIECE_MS) / 1000;
for (let at = 0; at < said.length; at += size) {
  conversation.send({ type: "input_audio_buffer.append", audio: said.subarray(at, at + size).toString("base64") });
  await sleep(PIECE_MS);
}
await answered;
await writeFile(answer, wav(Buffer.concat(heard)));
console.log(`${answer}: ${(Buffer.concat(heard).length / 2 / RATE).toFixed(1)} s`);
conversation.close();

function wav(pcm: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_SIZE);
  header.write("RIFF", 0);
  header.writeUInt32LE(HEADER_SIZE - 8 + pcm.length, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20); // PCM
  header.writeUInt16LE(1, 22); // mono
  header.writeUInt32LE(RATE, 24);
  header.writeUInt32LE(RATE * 2, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(pcm.length, 40);
  return Buffer.concat([header, pcm]);
}
