import assert from "node:assert/strict";
import { test } from "node:test";
import type { ServerEvent } from "@sluice/realtime";
import { BufferedTransport, type Channel, type ChannelListener } from "./buffered.ts";
import type { CapturedFrame } from "./capture/recorder.ts";
import type { SpeakerReport } from "./playout/speaker.ts";
import type { Sound } from "./sound.ts";
import type { TransportListener } from "./transport.ts";

const frame = (n: number): CapturedFrame => ({
  time: n * 960,
  packet: Uint8Array.of(n),
  begins: n === 0,
  pcm: new Float32Array(960).fill(0.5),
});

/** A pipe over a channel and a sound device that note what is done with them. */
function begin({ frames = true, opening }: { frames?: boolean; opening?: Promise<void> } = {}) {
  const done: string[] = [];
  const outgoing: { readonly type: string }[] = [];
  const captured: CapturedFrame[] = [];
  let room = true;
  let isNarrow = false;
  let heard!: ChannelListener;
  const channel: Channel = {
    kind: "websocket",
    frames,
    received: 0,
    sent: 0,
    dial: async () => {},
    send: (text) => done.push(text),
    sendFrames: (them) => {
      if (room) done.push(`frames ${them.map(({ packet }) => packet[0]).join(" ")}`);
      return room;
    },
    fit: ({ narrow, datagrams }) => done.push(`fit ${narrow} ${datagrams}`),
    close: () => done.push("close"),
  };
  const recorder = {
    get end() {
      return captured.length * 960;
    },
    setNarrow: (is: boolean) => {
      if (is !== isNarrow) done.push(`narrow ${is}`);
      isNarrow = is;
    },
    since: (time: number) => captured.filter((it) => it.time >= time),
    onFrame: undefined as (() => void) | undefined,
  };
  const speaker = {
    play: (item: string, at: number) => done.push(`play ${item} ${at}`),
    playPcm: (item: string, at: number, pcm: Float32Array) => done.push(`pcm ${item} ${at}+${pcm.length}`),
    end: (item: string) => done.push(`end ${item}`),
    cut: (items?: readonly string[]) => done.push(`cut ${items}`),
    duck: (gain: number, ms: number) => done.push(`duck ${gain} ${ms}`),
    onReport: undefined as ((report: SpeakerReport) => void) | undefined,
  };
  const sound = { context: { state: "running" }, recorder, speaker } as unknown as Sound;
  const played: string[] = [];
  const listener: TransportListener = {
    onMessage: (text) => done.push(`message ${text}`),
    onPath: () => {},
    onPlayoutBlocked: () => {},
    onPlayed: ({ itemId, positionMs }) => played.push(`${itemId} ${positionMs}`),
    onOutgoing: (event) => outgoing.push(event),
    onClosed: (reason, lost) => done.push(`closed ${reason?.message} ${lost}`),
  };
  const transport = new BufferedTransport(
    (it) => {
      heard = it;
      return channel;
    },
    opening ? () => opening.then(() => sound) : sound,
    listener,
  );
  return {
    transport,
    heard,
    speaker,
    done,
    outgoing,
    played,
    capture: (count = 1) => {
      for (let i = 0; i < count; i++) {
        captured.push(frame(captured.length));
        recorder.onFrame?.();
      }
    },
    fill: (full: boolean) => {
      room = !full;
    },
  };
}

const report = (patch: Partial<SpeakerReport>): SpeakerReport => ({
  kind: "playing",
  itemId: "a",
  startedMs: 0,
  positionMs: 100,
  atMs: 100,
  unheard: false,
  ...patch,
});
const utterance = { responseId: "r", itemId: "a" };

test("what was said before the session is there goes first, all of it", () => {
  const { transport, capture, done } = begin();
  capture(3);
  assert.deepEqual(done, []);
  transport.begin(0);
  capture(1);
  assert.deepEqual(done, ["frames 0 1 2", "frames 3"]);
});

test("dialling does not wait for the sound device; what comes before it is open is played then", async () => {
  const { promise: opening, resolve: open } = Promise.withResolvers<void>();
  const { transport, heard, done } = begin({ opening });
  let isUp = false;
  const up = transport.dial().then(() => (isUp = true));
  heard.onMessage("first");
  heard.onFrames(utterance, [{ time: 0, packet: Uint8Array.of(1) }]);
  await new Promise(setImmediate);
  assert.deepEqual([done, isUp], [[], false]);
  open();
  await up;
  assert.deepEqual(done, ["message first", "play a 0"]);
});

test("a resumed connection sends what the last one did not bring over", () => {
  const { transport, capture, done } = begin();
  capture(4);
  transport.begin(40);
  assert.deepEqual(done, ["frames 2 3"]);
});

test("a pipe that begins a clock of its own sends from now on", () => {
  const { transport, capture, done } = begin();
  capture(4);
  transport.begin(undefined);
  capture(1);
  assert.deepEqual(done, ["frames 4"]);
});

test("frames that a full channel does not take are sent later, none is left out", () => {
  const { transport, capture, done, fill } = begin();
  transport.begin(0);
  fill(true);
  capture(3);
  fill(false);
  capture(1);
  assert.deepEqual(done, ["frames 0 1 2 3"]);
});

test("speech is played as it comes, ended, ducked, and cut when it is void", () => {
  const { transport, heard, done } = begin();
  heard.onFrames(utterance, [{ time: 960, packet: Uint8Array.of(1) }]);
  heard.onFinished(utterance);
  transport.handleEvent({ type: "sluice.duck", event_id: "1", gain: 0.3, ramp_ms: 50 });
  transport.handleEvent({ type: "output_audio_buffer.cleared", event_id: "2", response_id: "other" } as ServerEvent);
  transport.handleEvent({ type: "output_audio_buffer.cleared", event_id: "3", response_id: "r" } as ServerEvent);
  heard.onReset({ responseId: "r", itemId: "b" });
  assert.deepEqual(done, ["play a 960", "end a", "duck 0.3 50", "cut a", "cut b"]);
});

test("what was heard is told, but not of what was cut before it was heard", () => {
  const { transport, speaker, played, outgoing } = begin();
  transport.begin(0);
  speaker.onReport?.(report({}));
  speaker.onReport?.(report({ kind: "cut", itemId: "b", unheard: true }));
  assert.deepEqual(played, ["a 100"]);
  assert.deepEqual(outgoing, [], "the server truncates by itself");
});

test("over base64 the microphone goes into events, and so does the agent's voice come out of them", () => {
  const { transport, capture, done, outgoing } = begin({ frames: false });
  transport.begin(0);
  capture(1);
  const [append] = outgoing as { type: string; audio: string }[];
  assert.equal(append?.type, "input_audio_buffer.append");
  const pcm = Buffer.from(append!.audio, "base64");
  assert.deepEqual([pcm.length, pcm.readInt16LE(100)], [960, 16_383]);
  const place = { event_id: "1", response_id: "r", item_id: "a", output_index: 0, content_index: 0 };
  const delta = Buffer.alloc(4800).toString("base64");
  transport.handleEvent({ type: "response.output_audio.delta", ...place, delta });
  transport.handleEvent({ type: "response.output_audio.delta", ...place, delta });
  transport.handleEvent({ type: "response.output_audio.done", ...place });
  const samples = done.filter((line) => line.startsWith("pcm a")).map((line) => Number(line.split("+")[1]));
  assert.equal(samples.length, 2);
  assert(Math.abs(samples[0]! + samples[1]! - 9600) < 100, "200 ms at 48 kHz");
  assert.equal(done.at(-1), "end a");
});

test("over base64 the client stops the agent when the caller speaks, and says what was heard", () => {
  const { transport, done, speaker, outgoing } = begin({ frames: false });
  transport.begin(0);
  const place = { event_id: "1", response_id: "r", item_id: "a", output_index: 0, content_index: 0 };
  transport.handleEvent({ type: "response.output_audio.delta", ...place, delta: "AAAA" });
  transport.handleEvent({ type: "input_audio_buffer.speech_started", event_id: "2", audio_start_ms: 0, item_id: "u" });
  assert.equal(done.at(-1), "cut a");
  speaker.onReport?.(report({ kind: "cut", positionMs: 421.7 }));
  assert.deepEqual(outgoing.at(-1), {
    type: "conversation.item.truncate",
    item_id: "a",
    content_index: 0,
    audio_end_ms: 421,
  });
});

test("what the path carries is told to the channel and the encoder; the next connection begins anew", () => {
  const { transport, speaker, played, done } = begin();
  transport.begin(undefined);
  transport.handleEvent({ type: "sluice.uplink", event_id: "1", narrow: true, datagrams: false });
  assert.deepEqual(done.splice(0), ["fit true false", "narrow true"]);
  for (const positionMs of [100, 500, 600, 700]) speaker.onReport?.(report({ positionMs }));
  speaker.onReport?.(report({ kind: "ended", positionMs: 750 }));
  assert.deepEqual(played, ["a 100", "a 750"], "of reports within 400 ms the first, and the last of all");
  transport.begin(undefined);
  assert.deepEqual(done, ["narrow false"]);
});

test("a pipe that is closed says nothing more, and leaves the sound device to the next", () => {
  const { transport, heard, speaker, done } = begin();
  transport.begin(0);
  transport.close();
  heard.onClosed(undefined, false);
  assert.deepEqual(done, ["close"]);
  assert.equal(speaker.onReport, undefined);
});
