/**
 * One interruption in virtual time, with real sound: a caller's microphone by Opus and RED over a lossy path, the real
 * uplink, voice activity and conversation, and the agent's voice by the real downlink and another lossy path to the ear.
 * Nothing waits: a hundred of them take seconds. Every chance comes from the seed.
 */
import {
  Conversation,
  type ConversationCommand,
  type FloorDecision,
  type Milli,
  type Pcm,
  ProsodyMeter,
  SAMPLE_RATE,
  SAMPLES_PER_MS,
  type Utterance,
  type Vad,
  type VadEngine,
  type VoiceWindow,
} from "@sluice/conversation";
import { createRandom, Link, type Random } from "@sluice/netem";
import { createSession, parseClientEvent, type ServerEvent, type SessionPatch } from "@sluice/realtime";
import {
  FRAME_MS,
  FRAME_SAMPLES,
  type OpusCodec,
  type OpusEncoder,
} from "../../packages/transceiver/src/media/opus.ts";
import { VoiceActivity } from "../../packages/transceiver/src/node/voice-activity.ts";
import { Downlink } from "../../packages/transceiver/src/webrtc/downlink.ts";
import { decodeRtp } from "../../packages/transceiver/src/webrtc/rtp.ts";
import { Uplink } from "../../packages/transceiver/src/webrtc/uplink.ts";

/** What happens. */
export interface BargeInOptions {
  readonly vad: VadEngine;
  readonly opus: OpusCodec;
  /** What the caller lets hear, 24 kHz, and where in it the vocal cords begin (undefined: nowhere). */
  readonly sound: Pcm;
  readonly voicedOnsetMs: Milli;
  /** What the agent says meanwhile; longer than all that happens. */
  readonly speech: Pcm;
  /** Share of packets lost, on each way. */
  readonly loss: number;
  /** One-way delay of each path. */
  readonly delayMs?: Milli;
  readonly seed: number;
  readonly session?: SessionPatch;
  /** The agent says nothing: what the caller lets hear is a turn, or none. Default: it speaks. */
  readonly silent?: boolean;
  /** The loudspeaker is in the microphone. Default: it is not. */
  readonly echo?: Echo;
  /** Whether the agent's own voice is looked for in the caller's audio. Default true. */
  readonly looksForEcho?: boolean;
  /** Told of every window, for a person who looks for a reason. */
  readonly trace?: (line: string) => void;
}

/** How the agent comes back. */
export interface Echo {
  readonly gainDb: number;
  /** From the pipe's end to the sample at the microphone: jitter buffer, sound devices, air. */
  readonly delayMs: Milli;
  /** A room that sounds on for `t60Ms`, its sum `directDb` below the direct sound. Default: none. */
  readonly room?: { readonly t60Ms: Milli; readonly directDb: number };
}

/** What became of it. Times from the first voiced sample at the caller's mouth; at the ear without a jitter buffer. */
export interface BargeInOutcome {
  /** The first softer sample of the agent reached the ear. */
  readonly duckMs: Milli | undefined;
  /** The last sample of the agent's speech did; `undefined`: it was not stopped. */
  readonly stopMs: Milli | undefined;
  readonly decisions: readonly FloorDecision[];
  /** Speech of the agent that was skipped although it went on. */
  readonly skippedMs: Milli;
  /** Gain at the end. */
  readonly gain: number;
  readonly events: readonly ServerEvent["type"][];
  /** Turns that were told of: from the first voiced sample to where each is said to begin and end, and when that was told. */
  readonly turns: readonly Turn[];
}

/** One turn of the caller, on the clock of a {@link BargeInOutcome}. */
export interface Turn {
  readonly fromMs: Milli;
  readonly startedAfterMs: Milli;
  toMs: Milli;
  committedAfterMs: Milli | undefined;
}

/** The agent has spoken for this long when the caller begins, and up to a frame and a window more. */
const AGENT_ALONE_MS = 1200;
const AFTERWARDS_MS = 2200;
/** A silent agent needs no time to speak, and a turn is over after 500 ms. */
const SILENT_ALONE_MS = 400;
const SILENT_AFTERWARDS_MS = 900;
/** A microphone is never silent: -66 dB of noise. */
const MICROPHONE_NOISE = 16;
/** Windows of several callers are run together: what that may cost (docs/decisions/0002-vad.md), and the run. */
const VAD_MS = 5;
const STEP_MS = 1;
const OPUS = 111;
const RED = 63;

/** Runs one interruption. */
export async function runBargeIn(options: BargeInOptions): Promise<BargeInOutcome> {
  const call = await VirtualCall.open(options);
  await call.run();
  return call.outcome();
}

interface SentFrame {
  /** Where in the agent's speech its first sample is from; `undefined`: silence, or what is left of cut speech. */
  readonly from: number | undefined;
  readonly audible: boolean;
  readonly gain: number;
}

class VirtualCall {
  readonly #options: BargeInOptions;
  readonly #random: Random;
  readonly #microphone: Pcm;
  readonly #beginsAt: Milli; // of the caller's sound
  readonly #endsAt: Milli;
  readonly #conversation: Conversation;
  readonly #caller: Downlink; // an RTP sender is an RTP sender
  readonly #uplink: Uplink;
  readonly #downlink: Downlink;
  readonly #up: Link;
  readonly #down: Link<number>;
  readonly #voice: VoiceActivity;
  readonly #windows: { readonly due: Milli; readonly window: VoiceWindow }[] = [];
  readonly #detecting = new Set<Promise<unknown>>();
  readonly #decisions: FloorDecision[] = [];
  readonly #events: ServerEvent["type"][] = [];
  readonly #turns: Turn[] = [];
  readonly #frames: SentFrame[] = [];
  readonly #heard = new Map<number, Milli>(); // when each frame first reached the ear
  #encoded = 0; // energy of the newest frame
  #sounding: Pcm = new Int16Array(0); // the newest frame
  readonly #reflections: readonly (readonly [delay: number, gain: number])[]; // in samples
  #flushed = false;
  #now: Milli = 0;

  private constructor(options: BargeInOptions, encoders: readonly [OpusEncoder, OpusEncoder], uplink: Uplink) {
    const { seed, sound, loss, delayMs = 0 } = options;
    this.#options = options;
    this.#random = createRandom(seed);
    const [aloneMs, afterwardsMs] = options.silent
      ? [SILENT_ALONE_MS, SILENT_AFTERWARDS_MS]
      : [AGENT_ALONE_MS, AFTERWARDS_MS];
    this.#beginsAt = aloneMs + this.#random() * 160; // every phase of frames of 20 and windows of 32 ms
    this.#endsAt = this.#beginsAt + sound.length / SAMPLES_PER_MS + afterwardsMs;
    this.#microphone = this.#record();
    this.#reflections = options.echo ? reflections(options.echo, createRandom(seed)) : [];
    const ids = { next: 0 };
    this.#conversation = new Conversation({
      session: createSession({
        id: "sess_1",
        model: "scripted",
        expiresAt: 2_000_000_000,
        defaults: { sluice: { timeline: true }, ...options.session },
      }),
      capabilities: { playout: "server", leadMs: 0, audioInEvents: false, reset: false, playoutReports: false },
      createId: (prefix) => `${prefix}_${ids.next++}`,
      expiresAt: 3_600_000,
      expiresAfterMinutes: 60,
    });
    const rtp = { payloadTypes: { opus: OPUS, red: RED }, firstSequenceNumber: 100, firstTimestamp: 5000 };
    this.#caller = new Downlink({ ...rtp, ssrc: 1, encoder: encoders[0] });
    this.#downlink = new Downlink({ ...rtp, ssrc: 2, encoder: this.#watched(encoders[1]) });
    this.#uplink = uplink;
    this.#up = new Link({ loss, delayMs }, seed * 2 + 1);
    this.#down = new Link<number>({ loss, delayMs }, seed * 2 + 2);
    this.#voice = new VoiceActivity({
      vad: this.#followed(options.vad.open()),
      onWindow: ({ samples, ...rest }) => {
        const window = options.looksForEcho === false || !samples ? rest : { ...rest, samples };
        this.#windows.push({ due: this.#now + VAD_MS, window });
      },
      onError: (error) => {
        throw error;
      },
    });
  }

  static async open(options: BargeInOptions): Promise<VirtualCall> {
    const { opus } = options;
    const encoders = [await opus.createEncoder({ mode: "voip" }), await opus.createEncoder()] as const;
    const uplink = new Uplink({
      decoder: await opus.createDecoder(),
      earlyDecoder: await opus.createDecoder(),
      payloadTypes: { opus: OPUS, red: RED },
      nack: false,
    });
    return new VirtualCall(options, encoders, uplink);
  }

  async run(): Promise<void> {
    const create = parseClientEvent('{"type":"response.create"}');
    if (!create.ok) throw new Error("a response could not be asked for");
    if (!this.#options.silent) this.#conversation.handleEvent(0, create.event);
    this.#drain();
    for (; this.#now < this.#endsAt; this.#now += STEP_MS) {
      this.#speak();
      for (let packet = this.#up.nextArrival(this.#now); packet; packet = this.#up.nextArrival(this.#now)) {
        const rtp = decodeRtp(packet.packet);
        if (rtp) this.#hear(this.#uplink.handleRtp(this.#now, rtp));
      }
      if ((this.#uplink.pollTimeout() ?? Infinity) <= this.#now) this.#hear(this.#uplink.handleTimeout(this.#now));
      while (this.#detecting.size > 0) await Promise.all(this.#detecting);
      while (this.#windows[0] && this.#windows[0].due <= this.#now) {
        const { window } = this.#windows.shift()!;
        this.#trace(window);
        this.#conversation.handleVoice(this.#now, window);
        this.#drain();
      }
      if ((this.#conversation.pollTimeout() ?? Infinity) <= this.#now) this.#conversation.handleTimeout(this.#now);
      this.#drain();
      this.#play();
    }
    this.#voice.close();
  }

  outcome(): BargeInOutcome {
    const voicedAt = this.#beginsAt + this.#options.voicedOnsetMs;
    const spoken = this.#frames.flatMap((frame, index) => (frame.from === undefined ? [] : [{ ...frame, index }]));
    const softened = spoken.find((frame) => frame.gain < 0.99);
    const lastAudible = this.#frames.findLastIndex((frame) => frame.audible);
    const skipped = spoken.reduce(
      (sum, frame, at) => sum + frame.from! - (spoken[at - 1]?.from ?? -FRAME_SAMPLES) - FRAME_SAMPLES,
      0,
    );
    const atEar = (index: number) => this.#heard.get(index) ?? Infinity;
    return {
      duckMs: softened && atEar(softened.index) - voicedAt,
      // The last frame is the one that fades: 10 ms of it are heard.
      stopMs: this.#flushed ? atEar(lastAudible) + FRAME_MS / 2 - voicedAt : undefined,
      decisions: this.#decisions,
      skippedMs: skipped / SAMPLES_PER_MS,
      gain: spoken.at(-1)?.gain ?? 1,
      events: this.#events,
      turns: this.#turns,
    };
  }

  /** The caller's audio from the beginning: noise, and the sound in its place. */
  #record(): Pcm {
    const length = Math.ceil((this.#endsAt / 1000) * SAMPLE_RATE);
    const pcm = Int16Array.from({ length }, () => Math.round((this.#random() * 2 - 1) * MICROPHONE_NOISE * 1.7));
    const at = Math.round(this.#beginsAt * SAMPLES_PER_MS);
    this.#options.sound.forEach((sample, index) => {
      pcm[at + index] = Math.max(-32768, Math.min(32767, pcm[at + index]! + sample));
    });
    return pcm;
  }

  /** A frame leaves the mouth when its last sample was spoken. */
  #speak(): void {
    if (this.#now === 0 || this.#now % FRAME_MS !== 0) return;
    const at = (this.#now / FRAME_MS - 1) * FRAME_SAMPLES;
    this.#caller.play(this.#now, CALLER, this.#microphone.slice(at, at + FRAME_SAMPLES));
    for (let frame = this.#caller.nextFrame(this.#now); frame; frame = this.#caller.nextFrame(this.#now)) {
      if (frame.packet) this.#up.handlePacket(this.#now, frame.packet, undefined);
    }
  }

  #hear({ early, ordered }: ReturnType<Uplink["handleRtp"]>): void {
    for (const audio of early) {
      this.#conversation.handleArrival(this.#now, audio.mediaMs + audio.pcm.length / SAMPLES_PER_MS);
      this.#voice.handleAudio(audio);
    }
    for (const audio of ordered) this.#conversation.handleAudio(this.#now, audio);
    this.#drain();
  }

  #drain(): void {
    for (let next = this.#conversation.nextCommand(); next; next = this.#conversation.nextCommand())
      this.#carryOut(next);
  }

  #carryOut(command: ConversationCommand): void {
    switch (command.kind) {
      case "respond":
        // Only the first is answered: what the caller says in the end finds an agent that thinks.
        if (this.#frames.length > 0 || this.#options.silent) return;
        this.#conversation.handleEngine(this.#now, command.responseId, { kind: "audio", pcm: this.#options.speech });
        this.#conversation.handleEngineEnded(this.#now, command.responseId);
        return;
      case "play":
        return this.#downlink.play(this.#now, command.utterance, command.pcm);
      case "endUtterance":
        return this.#downlink.endUtterance(this.#now, command.utterance);
      case "flush":
        this.#flushed = true;
        return this.#downlink.flush();
      case "duck":
        return this.#downlink.setGain(command.gain, command.rampMs);
      case "decided":
        this.#decisions.push(command.decision);
        return;
      case "send":
        this.#events.push(command.event.type);
        this.#follow(command.event);
    }
  }

  #follow(event: ServerEvent): void {
    const voicedAt = this.#beginsAt + this.#options.voicedOnsetMs;
    const turn = this.#turns.at(-1);
    if (event.type === "input_audio_buffer.speech_started") {
      const fromMs = event.audio_start_ms - voicedAt;
      this.#turns.push({ fromMs, startedAfterMs: this.#now - voicedAt, toMs: fromMs, committedAfterMs: undefined });
    } else if (event.type === "input_audio_buffer.speech_stopped" && turn) turn.toMs = event.audio_end_ms - voicedAt;
    else if (event.type === "input_audio_buffer.committed" && turn) turn.committedAfterMs = this.#now - voicedAt;
  }

  #play(): void {
    for (let frame = this.#downlink.nextFrame(this.#now); frame; frame = this.#downlink.nextFrame(this.#now)) {
      if (frame.packet) {
        this.#down.handlePacket(this.#now, frame.packet, this.#frames.length);
        const from = frame.sent && Math.round(frame.sent.sentMs * SAMPLES_PER_MS) - FRAME_SAMPLES;
        this.#reflect();
        this.#frames.push({ from, audible: this.#encoded > 0, gain: from === undefined ? 1 : this.#gainAt(from) });
      }
      if (frame.sent)
        this.#conversation.handleSent(this.#now, frame.sent.utterance, frame.sent.sentMs, frame.sent.rtpTimestamp);
      for (const utterance of frame.ended) this.#conversation.handleUtteranceEnded(this.#now, utterance);
    }
    this.#drain();
    for (let packet = this.#down.nextArrival(this.#now); packet; packet = this.#down.nextArrival(this.#now)) {
      // RED: the frame before comes along, should it be missing.
      for (const index of [packet.label, packet.label - 1]) {
        if (!this.#heard.has(index)) this.#heard.set(index, packet.at);
      }
    }
  }

  /** The newest frame comes out of the loudspeaker, and back. */
  #reflect(): void {
    const from = Math.round((this.#now + (this.#options.delayMs ?? 0)) * SAMPLES_PER_MS);
    for (const [delay, gain] of this.#reflections) {
      for (let at = 0; at < this.#sounding.length && from + delay + at < this.#microphone.length; at++) {
        const heard = this.#microphone[from + delay + at]! + gain * this.#sounding[at]!;
        this.#microphone[from + delay + at] = Math.max(-32_768, Math.min(32_767, heard));
      }
    }
  }

  #trace({ mediaMs, durationMs, probability, levels, prosody }: VoiceWindow): void {
    const fromMs = mediaMs - this.#beginsAt - this.#options.voicedOnsetMs;
    if (!this.#options.trace || fromMs < -200 || fromMs > 600) return;
    const { periodicity = 0, pitchHz = 0, vowelDb = 0, brightDb = 0 } = prosody ?? {};
    const sound = `${Math.max(...levels).toFixed(0)} dB, period ${periodicity.toFixed(2)}, ${pitchHz.toFixed(0)} Hz, vowel ${vowelDb.toFixed(0)}, bright ${brightDb.toFixed(0)} dB`;
    this.#options.trace(
      `${fromMs.toFixed(0)} to ${(fromMs + durationMs).toFixed(0)} ms: ${probability.toFixed(2)}, ${sound}`,
    );
  }

  #gainAt(from: number): number {
    const reference = energy(this.#options.speech.subarray(from, from + FRAME_SAMPLES));
    return reference < 1e4 ? 1 : Math.sqrt(this.#encoded / reference);
  }

  /** Sees how loud what is encoded is. */
  #watched(encoder: OpusEncoder): OpusEncoder {
    return {
      ...encoder,
      encode: (frame) => {
        this.#encoded = energy(frame);
        this.#sounding = frame.slice();
        return encoder.encode(frame);
      },
    };
  }

  /** The model answers in real time; virtual time waits for it. */
  #followed(vad: Vad): Vad {
    const { sampleRate, windowSize } = vad;
    return {
      sampleRate,
      windowSize,
      detect: (window) => {
        const answer = vad.detect(window);
        const settled = answer.finally(() => this.#detecting.delete(settled));
        this.#detecting.add(settled);
        return answer;
      },
      reset: () => vad.reset(),
      close: () => vad.close(),
    };
  }
}

const CALLER: Utterance = { responseId: "caller", itemId: "caller", outputIndex: 0, contentIndex: 0 };

/** The direct sound, and 200 reflections of a room that grow denser and fainter. */
function reflections({ gainDb, delayMs, room }: Echo, random: Random): (readonly [number, number])[] {
  const gain = 10 ** (gainDb / 20);
  const direct = Math.round(delayMs * SAMPLES_PER_MS);
  const heard: [number, number][] = [[direct, gain]];
  if (!room) return heard;
  const late = Array.from({ length: 200 }, () => {
    const ms = 2 + room.t60Ms * 0.6 * random();
    return [ms, (random() * 2 - 1) * 10 ** ((-3 * ms) / room.t60Ms)] as const;
  });
  const sum = Math.sqrt(late.reduce((all, [, one]) => all + one * one, 0));
  const level = (gain * 10 ** (-room.directDb / 20)) / sum;
  for (const [ms, one] of late) heard.push([direct + Math.round(ms * SAMPLES_PER_MS), one * level]);
  return heard;
}

function energy(pcm: Pcm): number {
  return pcm.reduce((sum, sample) => sum + sample * sample, 0);
}

/**
 * Where in `pcm` (24 kHz) the vocal cords first move: the sound repeats itself over 40 ms and is within 26 dB of the loudest.
 * The hiss that "stop" begins with is no voice. To 5 ms, rather early than late.
 */
export function voicedOnset(pcm: Pcm): Milli {
  const loudest = pcm.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
  const piece = (fromMs: Milli) => {
    const from = Math.round(fromMs * SAMPLES_PER_MS);
    return Float32Array.from({ length: 20 * SAMPLES_PER_MS }, (_, i) => (pcm[from + i] ?? 0) / 32_768);
  };
  for (let ms = -20; ms + 20 < pcm.length / SAMPLES_PER_MS; ms += 5) {
    const meter = new ProsodyMeter(SAMPLE_RATE);
    const newest = piece(ms + 20);
    meter.measure(piece(ms));
    const peak = newest.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    if (peak * 32_768 > loudest / 20 && meter.measure(newest).periodicity >= 0.6) return Math.max(0, ms + 15);
  }
  return 0;
}
