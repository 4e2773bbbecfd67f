/**
 * A whole call in virtual time: a phone, a network, the transceiver's own session, uplink and downlink, the real call and
 * conversation, and engines. Only DTLS and SCTP are stand-ins (`call/channel.ts`); all chance comes from the seed.
 */
import type { SpeechToSpeech, TurnReport } from "@sluice/conversation";
import { type Address, createRandom, Link, Nat, type NetworkProfile } from "@sluice/netem";
import { createSession, type ServerEvent } from "@sluice/realtime";
import { classify, parseStun } from "@sluice/routing";
import { loadOpus } from "@sluice/transceiver";
import { Timeline } from "../packages/client/src/timeline.ts";
import { Call } from "../packages/transceiver/src/node/call.ts";
import { Downlink } from "../packages/transceiver/src/webrtc/downlink.ts";
import { WebRtcSession } from "../packages/transceiver/src/webrtc/session.ts";
import { Uplink, type UplinkCounts } from "../packages/transceiver/src/webrtc/uplink.ts";
import { labDtls, labSctp } from "./call/channel.ts";
import { PAYLOAD_TYPES, PHONE_ICE, Phone } from "./call/phone.ts";
import type { VirtualTime } from "./call/virtual-time.ts";
import { createToneVad } from "./tone-speech/engines.ts";

/** How a call is to be. */
export interface VirtualCallOptions {
  /** Decides everything that is left to chance. */
  readonly seed: number;
  readonly network: NetworkProfile;
  readonly speech: SpeechToSpeech;
  /** Settings of the session, as a client sends them. */
  readonly session?: Readonly<Record<string, unknown>>;
  /** `legacy`: nothing is sent again, nothing twice, the ear waits 200 ms whatever comes. Default `webrtc`. */
  readonly pipe?: "webrtc" | "legacy";
  /** Virtual time; default: its own. */
  readonly time: VirtualTime;
}

/** A call under way, as the caller has it. */
export interface VirtualCall {
  readonly time: VirtualTime;
  readonly phone: Phone;
  /** Changes the network under the call. */
  become(network: NetworkProfile): void;
  /** Gives the caller another port, as a NAT does that forgot it. */
  rebind(): void;
  /** Gives the caller another address, as from Wi-Fi to cellular. */
  changePath(): void;
  /** What the server sent so far. */
  readonly events: readonly CallEvent[];
  /** Turns as the server measured them. */
  readonly turns: readonly TurnReport[];
}

/** An event and when the caller got it. */
export interface CallEvent {
  readonly at: number;
  readonly event: ServerEvent;
}

/** What became of a call. */
export interface CallRecord {
  readonly seed: number;
  readonly mouth: Int16Array;
  readonly ear: Int16Array;
  /** Per 20 ms of the ear, whether a packet was played: else it was silence, or invented. */
  readonly received: readonly boolean[];
  /** When both tracks begin, on the clock of the events. */
  readonly startedAt: number;
  readonly events: readonly CallEvent[];
  readonly turns: readonly TurnReport[];
  readonly uplink: Readonly<UplinkCounts>;
  readonly playout: { readonly played: number; readonly concealed: number; readonly dropped: number };
  readonly durationMs: number;
}

const SERVER = { ufrag: "server-ufrag", password: "a-password-of-the-server" };
const LEGACY_PLAYOUT_MS = 200;
const DIAL_WITHIN_MS = 10_000;
const LONGEST_CALL_MS = 3_600_000;

/** Places a call, lets `drive` lead it, hangs up, and tells what was said and heard. Runs in virtual time of its own. */
export async function placeVirtualCall(
  options: VirtualCallOptions,
  drive: (call: VirtualCall) => Promise<void>,
): Promise<CallRecord> {
  const { time } = options;
  const opus = await loadOpus();
  const legacy = options.pipe === "legacy";
  const red = legacy ? undefined : PAYLOAD_TYPES.red;
  const random = createRandom(options.seed);
  const randomBytes = (size: number) => Uint8Array.from({ length: size }, () => Math.floor(random() * 256));
  const [decoder, earlyDecoder, encoder] = await Promise.all([
    opus.createDecoder(),
    opus.createDecoder(),
    opus.createEncoder({ mode: legacy ? "voip" : "lowDelay" }),
  ]);
  const errors: unknown[] = [];
  const log = silentLog((error) => errors.push(error));
  const events: CallEvent[] = [];
  const turns: TurnReport[] = [];

  return time.run(async () => {
    // The wire.
    const seeds = [0, 1].map(() => Math.floor(random() * 2 ** 32)) as [number, number];
    const up = new Link<Address>(options.network.up, seeds[0], options.seed);
    const down = new Link<Address>(options.network.down, seeds[1], options.seed);
    const nat = new Nat("198.51.100.1", options.seed);
    const inner: Address = { address: "10.0.0.2", port: 5000 };
    let rebindEveryMs = options.network.rebindEveryMs;

    const uplink = new Uplink({
      decoder,
      earlyDecoder,
      payloadTypes: { opus: PAYLOAD_TYPES.opus, red },
      nack: !legacy,
      ...(legacy ? { minWaitMs: 0, maxWaitMs: 0 } : {}),
    });
    const session: WebRtcSession = new WebRtcSession({
      callId: "rtc_lab",
      offer: {
        sections: [],
        audio: {
          mid: "0",
          direction: "sendrecv",
          opusPayloadType: 111,
          redPayloadType: red,
          nack: true,
          ssrc: undefined,
        },
        data: { mid: "1", sctpPort: 5000, maxMessageSize: 262_144 },
        iceUfrag: PHONE_ICE.ufrag,
        icePassword: PHONE_ICE.password,
        fingerprints: [{ algorithm: "sha-256", digest: "00" }],
      },
      iceUfrag: SERVER.ufrag,
      icePassword: SERVER.password,
      dtls: labDtls,
      sctp: labSctp,
      uplink,
      downlink: new Downlink({
        encoder,
        ssrc: 0x55667788,
        payloadTypes: { opus: PAYLOAD_TYPES.opus, red },
        firstSequenceNumber: 1000,
        firstTimestamp: 100_000,
      }),
      ssrc: 0x55667788,
      cname: "server",
      now: time.now,
      wallOffsetMs: 1_800_000_000_000,
      random: randomBytes,
      send: (packet, to) => {
        down.handlePacket(time.now(), Uint8Array.from(packet), to);
        wire();
      },
      onInput: () => schedule(),
      onEnded: () => {},
      onListenerError: (error) => errors.push(error),
    });
    let ids = 0;
    const speechCall = new Call(session, {
      id: "rtc_lab",
      session: createSession({ id: "sess_lab", model: "lab", expiresAt: 2_000_000_000 }),
      modelLocked: false,
      engines: { vad: createToneVad(), speech: options.speech },
      now: time.now,
      createId: (prefix) => `${prefix}_${++ids}`,
      maxDurationMs: LONGEST_CALL_MS * 2,
      log,
      onTurn: (report) => turns.push(report),
      onEnded: () => {},
    });
    session.attach(speechCall);

    // The session's own timer, at the very moment.
    let cancelTimer = () => {};
    let timerAt = Infinity;
    function schedule(): void {
      const due = session.pollTimeout() ?? Infinity;
      if (due === timerAt) return;
      cancelTimer();
      timerAt = due;
      if (due < Infinity)
        cancelTimer = time.at(due, () => {
          timerAt = Infinity;
          session.handleTimeout(time.now());
          schedule();
        });
    }

    // The wire's timer.
    let cancelWire = () => {};
    let wireAt = Infinity;
    function wire(): void {
      const due = Math.min(up.pollTimeout() ?? Infinity, down.pollTimeout() ?? Infinity);
      if (due >= wireAt) return;
      cancelWire();
      wireAt = due;
      cancelWire = time.at(due, () => {
        wireAt = Infinity;
        const now = time.now();
        for (let next = up.nextArrival(now); next; next = up.nextArrival(now)) deliver(next.packet, next.label);
        for (let next = down.nextArrival(now); next; next = down.nextArrival(now))
          if (nat.inward(next.label)) phone.handlePacket(next.packet);
        wire();
      });
    }
    function deliver(packet: Uint8Array, from: Address): void {
      const kind = classify(packet);
      const now = time.now();
      if (kind === "stun") {
        const message = parseStun(packet);
        if (message) session.handleStun(now, message, from);
      } else if (kind !== undefined && kind !== "quic") session.handlePacket(now, kind, packet, from);
      schedule();
    }

    const timeline = new Timeline(time.now(), () => phone.played());
    let cancelTimeline = () => {};
    function report(): void {
      for (let event = timeline.nextEvent(); event; event = timeline.nextEvent()) phone.sendEvent(event);
      cancelTimeline();
      cancelTimeline = time.at(Math.max(time.now() + 0.1, timeline.pollTimeout()), () => {
        if (hungUp) return;
        timeline.handleTimeout(time.now());
        report();
      });
    }
    let hungUp = false;
    let updated = () => {};
    const ready = new Promise<void>((resolve) => (updated = resolve));
    const phone = new Phone({
      time,
      opus,
      serverUfrag: SERVER.ufrag,
      serverPassword: SERVER.password,
      random: randomBytes,
      repair: !legacy,
      ...(legacy ? { fixedPlayoutMs: LEGACY_PLAYOUT_MS } : {}),
      send: (packet) => {
        up.handlePacket(time.now(), Uint8Array.from(packet), nat.outward(inner));
        wire();
      },
      onEvent: (event) => {
        const arrived = event as ServerEvent;
        events.push({ at: time.now(), event: arrived });
        if (arrived.type === "session.created") {
          const settings = { type: "realtime", sluice: { timeline: true }, ...options.session };
          phone.sendEvent({ type: "session.update", session: settings } as { type: string });
        }
        if (arrived.type === "session.updated") {
          updated();
          report();
        }
        timeline.handleEvent(time.now(), arrived);
        report();
      },
      onMouth: (frame, endMs) => {
        // As a meter in a browser tells it: 2.5 ms at a time.
        for (let block = 0; block < 8; block++) {
          const part = frame.subarray(block * 60, block * 60 + 60);
          const rms = Math.sqrt(part.reduce((sum, sample) => sum + sample * sample, 0) / part.length) / 32_768;
          timeline.handleLevel({ endMs: endMs - 20 + (block + 1) * 2.5, durationMs: 2.5, rms });
        }
        report();
      },
    });
    await phone.open();
    schedule();
    const rebindLater = () => {
      if (rebindEveryMs === undefined) return;
      time.at(time.now() + rebindEveryMs, () => {
        if (hungUp || rebindEveryMs === undefined) return;
        nat.rebind(inner);
        rebindLater();
      });
    };
    rebindLater();
    phone.dial();
    let paths = 1;
    const call: VirtualCall = {
      time,
      phone,
      become: (network) => {
        up.impair(network.up);
        down.impair(network.down);
        rebindEveryMs = network.rebindEveryMs;
        rebindLater();
      },
      rebind: () => void nat.rebind(inner),
      changePath: () => nat.changePath(`198.51.100.${++paths}`),
      events,
      turns,
    };
    await Promise.race([
      ready,
      time.sleep(DIAL_WITHIN_MS).then(() => Promise.reject(new Error("the call did not come up"))),
    ]);
    try {
      await drive(call);
    } finally {
      hungUp = true;
      phone.hangUp();
      speechCall.close("the caller hung up");
      cancelWire();
      cancelTimer();
      cancelTimeline();
      for (const codec of [decoder, earlyDecoder, encoder]) codec.free();
    }
    if (errors.length > 0) throw errors[0];
    const { mouth, ear, played, startedAt } = phone.recording();
    return {
      seed: options.seed,
      mouth,
      ear,
      received: played,
      startedAt,
      events,
      turns,
      uplink: uplink.totals,
      playout: phone.playoutCounts,
      durationMs: time.now(),
    };
  }, LONGEST_CALL_MS);
}

/** A log that is not written; errors are ours. */
function silentLog(onError: (error: unknown) => void): ConstructorParameters<typeof Call>[1]["log"] {
  const quiet = () => {};
  const error = (context: { readonly err?: unknown }) => onError(context.err ?? context);
  return { info: quiet, warn: quiet, debug: quiet, trace: quiet, error } as unknown as ReturnType<typeof silentLog>;
}
