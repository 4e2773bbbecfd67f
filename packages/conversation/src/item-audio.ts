/** Speech in the items that clients write: read once, kept as samples, and written again for who asks to see it. */
import {
  type AudioFormat,
  createAudioDecoder,
  createAudioEncoder,
  decodeBase64,
  encodeBase64,
  type Item,
} from "@sluice/realtime";
import { concatenate, type Pcm } from "./audio.ts";
import { voicedBounds } from "./listener.ts";
import type { CallerAudio } from "./memory.ts";

/** The item without its base64, and what was in it; `undefined` for what is no audio of that format. */
export function takeAudio(item: Item, format: AudioFormat): { item: Item; caller?: CallerAudio } | undefined {
  if (item.type !== "message" || item.role !== "user") return { item };
  const decoder = createAudioDecoder(format);
  const parts: Pcm[] = [];
  for (const part of item.content) {
    if (part.type !== "input_audio" || part.audio === undefined) continue;
    const pcm = decoder.decode(part.audio);
    if (!pcm) return undefined;
    parts.push(pcm);
  }
  if (parts.length === 0) return { item };
  const pcm = concatenate(parts);
  const { startMs, endMs } = voicedBounds(pcm);
  const content = item.content.map((part) => {
    if (part.type !== "input_audio") return part;
    const { audio: _, ...rest } = part;
    return rest;
  });
  return { item: { ...item, content }, caller: { pcm, voicedStartMs: startMs, voicedEndMs: endMs } };
}

/** The item with the caller's speech in it, in the first part that can have it. */
export function giveAudio(item: Item, pcm: Pcm, format: AudioFormat): Item {
  if (item.type !== "message" || item.role !== "user") return item;
  const at = item.content.findIndex((part) => part.type === "input_audio");
  const audio = encode(pcm, format);
  const content = item.content.map((part, index) =>
    index === at && part.type === "input_audio" ? { ...part, audio } : part,
  );
  return { ...item, content };
}

function encode(pcm: Pcm, format: AudioFormat): string {
  const encoder = createAudioEncoder(format);
  const first = encoder.encodeBytes(pcm);
  const rest = decodeBase64(encoder.flush()) ?? new Uint8Array();
  const whole = new Uint8Array(first.length + rest.length);
  whole.set(first);
  whole.set(rest, first.length);
  return encodeBase64(whole);
}
