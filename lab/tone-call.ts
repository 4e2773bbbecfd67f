/**
 * A call of tone words in a real Chromium over loopback: the console page talks to a transceiver of this process whose
 * agent hears and speaks tones. What the timeline says of each turn is held against the recorded sound, to the sample.
 */

import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { SAMPLE_RATE } from "@sluice/conversation";
import type { Quantiles } from "@sluice/engines";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { serveTransceiver } from "@sluice/transceiver";
import { launchChromium } from "../test/chromium.ts";
import { deviceLatency, EAR_RATE, installEar, takeRecording } from "./ear.ts";
import { microphoneWav, silence } from "./speech.ts";
import { createToneAgent, createToneVad } from "./tone-speech/engines.ts";
import { type HeardWord, hearTones } from "./tone-speech/listen.ts";
import { speakTones, WORD_MS } from "./tone-speech/voice.ts";

/** One turn as the sound has it and as the timeline has it. */
export interface ToneTurn {
  /** From the last sample of the last word at the microphone's track to the first sound of the answer at the loudspeaker's. */
  readonly recordedMs: number;
  /** The same to the air: with the output's latency, as the browser tells it. The microphone's own is in its timestamps. */
  readonly mouthToEarMs: number;
  /** As the timeline has it. */
  readonly timelineMs: number;
  readonly clock: string;
  readonly stages: Readonly<Record<string, number>>;
  /** The first word that was heard lies so much later than the sound began: 0 where no jitter buffer drew it out or cut into it. */
  readonly bentMs: number;
  /** Words of the answer that were heard, and that the agent said. */
  readonly heard: number;
  readonly said: number;
}

const PROMPT = "please tell me the news";
const REPLY = "this is good news for you";
const GAP_MS = 3600;
/** -50 dB of full scale: above what a codec makes of silence. */
const SOUND = 100;
/** From the first sample of the answer as it was spoken to the first that counts as sound. */
const RISE_MS = firstSoundMs(speakTones(REPLY).pcm, 0, SAMPLE_RATE);
const at = (ms: number): Quantiles => ({ min: ms, p50: ms });

/** Talks for `turns` turns. Needs Chromium and the built console. */
export async function measureToneCall(turns: number): Promise<ToneTurn[]> {
  const log = {
    info() {},
    warn: console.error,
    debug() {},
    trace() {},
    error: console.error,
    child: () => log,
  } as unknown as Parameters<typeof serveTransceiver>[0]["log"];
  const profile = {
    sttFinal: { ...at(20), source: "none" },
    sttPartialEveryMs: 0,
    llmFirst: { ...at(20), source: "none" },
    llmWord: { ...at(1), source: "none" },
    ttsFirst: { ...at(20), source: "none" },
    ttsRate: { realTimeFactor: 8, pieceMs: 200, source: "none" },
  };
  const server = await serveTransceiver({
    host: "127.0.0.1",
    port: 0,
    udpPort: 0,
    advertise: [], // its default: Chromium does not come to 127.0.0.1 alone
    apiKey: undefined,
    keyRing: createKeyRing([generateKey(randomBytes, 0)]),
    serverId: createServerId(1, 1),
    engines: { vad: createToneVad(), speech: createToneAgent({ profile, seed: 1, reply: () => REPLY }) },
    model: "tones",
    version: "0",
    staticDir: join(import.meta.dirname, "..", "console", "dist"),
    maxCalls: 4,
    log,
  });
  const parts = [silence(2500)];
  const prompt = speakTones(PROMPT).pcm;
  for (let turn = 0; turn < turns; turn++) parts.push(prompt, silence(GAP_MS));
  const browser = await launchChromium({ microphoneWav: await microphoneWav(parts) });
  try {
    const context = await browser.newContext();
    await context.addInitScript(PLAIN_MICROPHONE);
    await installEar(context);
    await context.addInitScript(WATCH);
    const page = await context.newPage();
    await page.goto(`${server.url}?transport=webrtc`);
    await page.waitForSelector("#talk:enabled");
    await page.click("#talk");
    await page.waitForTimeout(parts.reduce((sum, part) => sum + part.length / 24, 0) + 500);
    const recording = await takeRecording(page);
    const devices = await deviceLatency(page);
    const events = (await page.evaluate(() => (globalThis as unknown as { __turns: TurnEvent[] }).__turns)) ?? [];
    return pair(recording.mouth, recording.ear, events, devices.outputMs);
  } finally {
    await browser.close();
    await server.close("the bench is over");
  }
}

interface TurnEvent {
  readonly total_ms: number;
  readonly clock: string;
  readonly stages: readonly { readonly name: string; readonly ms: number }[];
}

/** Brings turns and their accounts together, in order. */
function pair(mouth: Int16Array, ear: Int16Array, events: readonly TurnEvent[], outputMs: number): ToneTurn[] {
  const said = phrases(hearTones(mouth, { sampleRate: EAR_RATE }));
  const heard = phrases(hearTones(ear, { sampleRate: EAR_RATE }));
  return said.flatMap((words, turn) => {
    const endMs = words.at(-1)!.startMs + WORD_MS;
    const answer = heard.find(([first]) => first!.startMs > endMs && first!.startMs < endMs + GAP_MS);
    const event = events[turn];
    if (!answer || !event) return [];
    const soundMs = firstSoundMs(ear, endMs, EAR_RATE) - RISE_MS;
    const recordedMs = soundMs - endMs;
    return [
      {
        recordedMs,
        mouthToEarMs: recordedMs + outputMs,
        timelineMs: event.total_ms,
        clock: event.clock,
        stages: Object.fromEntries(event.stages.map(({ name, ms }) => [name, ms])),
        bentMs: answer[0]!.startMs - soundMs,
        heard: answer.length,
        said: REPLY.split(" ").length,
      },
    ];
  });
}

/** When the first sound after `fromMs` begins, to the sample. */
function firstSoundMs(pcm: Int16Array, fromMs: number, sampleRate: number): number {
  const from = Math.round((fromMs * sampleRate) / 1000);
  const at = pcm.subarray(from).findIndex((sample) => Math.abs(sample) >= SOUND);
  return at < 0 ? Number.POSITIVE_INFINITY : ((from + at) * 1000) / sampleRate;
}

/** Words that lie closer than a second belong together. */
function phrases(words: readonly HeardWord[]): HeardWord[][] {
  const all: HeardWord[][] = [];
  for (const word of words) {
    const last = all.at(-1);
    if (last && word.startMs - last.at(-1)!.startMs < 1000) last.push(word);
    else all.push([word]);
  }
  return all;
}

// The page asks for a cleaned voice; noise suppression takes tones for noise.
const PLAIN_MICROPHONE = `(() => {
  const media = navigator.mediaDevices;
  if (!media) return;
  const open = media.getUserMedia.bind(media);
  media.getUserMedia = ({ audio, ...rest }) =>
    open({ ...rest, audio: { ...(audio === true ? {} : audio), echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
})();`;

const WATCH = `(() => {
  window.__turns = [];
  const create = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...args) {
    const channel = create.apply(this, args);
    channel.addEventListener("message", ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "sluice.turn") window.__turns.push(event);
    });
    return channel;
  };
})();`;
