/**
 * One WebRTC session: ICE-lite, DTLS, SRTP, the uplink and downlink of its audio, and its events channel, as a pipe of
 * a conversation. Drive rule: one input (`handlePacket`, a call of `Link`, or `handleTimeout`), then re-arm
 * `pollTimeout`; inputs that the owner does not see, those of `Link`, are told by `onInput`.
 */
import type { Link, LinkCapabilities, LinkListener, Milli, Pcm, Utterance } from "@sluice/conversation";
import type { StunMessage } from "@sluice/routing";
import type { Downlink, DownlinkFrame } from "./downlink.ts";
import type { Dtls, DtlsFactory, SrtpKeys } from "./dtls.ts";
import { DtlsGuard, type DtlsGuardCounts } from "./dtls-guard.ts";
import { type Address, type IceCounts, IceLite } from "./ice-lite.ts";
import { decodeRtcp, encodeNack, encodeReceiverReport, encodeSenderReport, type RtcpPacket } from "./rtcp.ts";
import { decodeRtp } from "./rtp.ts";
import type { Sctp, SctpCounts, SctpFactory } from "./sctp.ts";
import type { Offer } from "./sdp.ts";
import { createSrtpContext, type SrtpContext, type SrtpCounters } from "./srtp.ts";
import type { GcmKeyFactory } from "./srtp-suite.ts";
import type { Uplink, UplinkAudio } from "./uplink.ts";

/** What a session is made of. */
export interface WebRtcSessionOptions {
  readonly callId: string;
  readonly offer: Offer;
  readonly iceUfrag: string;
  readonly icePassword: string;
  readonly dtls: DtlsFactory;
  readonly sctp: SctpFactory;
  /** Does the work of AEAD_AES_128_GCM; default: Node's ciphers. */
  readonly gcm?: GcmKeyFactory | undefined;
  readonly uplink: Uplink;
  readonly downlink: Downlink;
  /** SSRC of the downlink; also of our RTCP. */
  readonly ssrc: number;
  readonly cname: string;
  /** Monotonic clock. */
  readonly now: () => Milli;
  /** Unix time less monotonic time, for RTCP. */
  readonly wallOffsetMs: Milli;
  /** Unpredictable bytes. */
  readonly random: (size: number) => Uint8Array;
  /** Default 15,000: from the answer to the end of the handshake. */
  readonly handshakeTimeoutMs?: Milli;
  /** Default 30,000: without an ICE check (RFC 7675). */
  readonly consentMs?: Milli;
  /** Media tells of a new address before a check does. Default true; false where a relay in front does it. */
  readonly followsMedia?: boolean;
  /** Sends a datagram. */
  readonly send: (packet: Uint8Array, to: Address) => void;
  /** `pollTimeout` may have changed outside a call of the owner's. */
  readonly onInput: () => void;
  /** The session is over and holds nothing; called once. */
  readonly onEnded: (reason: string) => void;
  /** The conversation threw. */
  readonly onListenerError: (error: unknown) => void;
}

/** Numbers of a session, for logs and metrics. */
export interface WebRtcSessionStats {
  readonly ice: Readonly<IceCounts>;
  readonly dtls: Readonly<DtlsGuardCounts>;
  readonly srtp: Readonly<SrtpCounters>;
  readonly sctp: Readonly<SctpCounts>;
  /** Events that were not sent: the queue was full, or the peer takes no message so large. */
  readonly droppedEvents: number;
  readonly roundTripMs: Milli | undefined;
  readonly downlinkLossPercent: number | undefined;
}

const NO_SRTP: SrtpCounters = { authFailed: 0, replayed: 0, malformed: 0 };
const NO_SCTP: SctpCounts = { malformed: 0, binary: 0, tooLong: 0 };
const MAX_PENDING_BYTES = 4 * 1024 * 1024;
const FIRST_REPORT_MS = 250;
const REPORT_INTERVAL_MS = 1_000;

/** A session under way. */
export class WebRtcSession implements Link {
  readonly capabilities: LinkCapabilities = {
    playout: "server",
    leadMs: 0,
    audioInEvents: false,
    reset: false, // the client's jitter buffer plays what it has
    playoutReports: false,
  };
  readonly callId: string;
  readonly #options: WebRtcSessionOptions;
  readonly #ice: IceLite;
  readonly #guard: DtlsGuard;
  readonly #dtls: Dtls;
  readonly #handshakeDeadline: Milli;
  #listener: LinkListener | undefined;
  #sctp: Sctp | undefined;
  #ingress: SrtpContext | undefined;
  #egress: SrtpContext | undefined;
  #connected = false;
  #pending: string[] = [];
  #pendingBytes = 0;
  #droppedEvents = 0;
  #reportAt: Milli | undefined;
  readonly #probationReports = new Set<number>();
  #sendingFrames = false;
  #ended = false;

  constructor(options: WebRtcSessionOptions) {
    const now = options.now();
    this.#options = options;
    this.callId = options.callId;
    this.#ice = new IceLite(now, {
      ufrag: options.iceUfrag,
      password: options.icePassword,
      peerUfrag: options.offer.iceUfrag,
      peerPassword: options.offer.icePassword,
      randomTransactionId: () => options.random(12),
      ...(options.consentMs === undefined ? {} : { consentMs: options.consentMs }),
    });
    this.#guard = new DtlsGuard(now);
    this.#handshakeDeadline = now + (options.handshakeTimeoutMs ?? 15_000);
    this.#dtls = options.dtls.open(now, options.offer.fingerprints, {
      onPacket: (packet) => this.#sendToPath(packet),
      onConnected: (keys) => this.#handleConnected(keys),
      onData: (data) => this.#sctp?.handlePacket(options.now(), data),
      onClosed: (reason) => this.#end(reason),
    });
  }

  /** Takes up the conversation; to be called once, before any packet. */
  attach(listener: LinkListener): void {
    this.#listener = listener;
  }

  /** Whether `address` is where the peer is, and was heard of lately. */
  isAliveAt(now: Milli, address: Address): boolean {
    return this.#ice.isAliveAt(now, address);
  }

  /** Whether authentic media came from `address`, which waits for its first check. */
  isOnTrial(address: Address): boolean {
    return this.#ice.isOnTrial(address);
  }

  /** Whether the session is over. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Takes an ICE message; whether it was authentic, so that its source belongs to this session. */
  handleStun(now: Milli, message: StunMessage, from: Address): boolean {
    this.handleTimeout(now);
    if (this.#ended) return false;
    const wasOnProbation = this.#ice.onProbation;
    const isAuthentic = this.#ice.handleStun(now, message, from);
    this.#sendChecks();
    if (this.#ice.onProbation && !wasOnProbation) {
      this.#probationReports.clear();
      if (this.#connected) this.#reportAt = now; // only a receiver at the new path can report on it
    }
    return isAuthentic;
  }

  /** Takes another datagram; whether it was authentic media. */
  handlePacket(now: Milli, kind: "dtls" | "srtp" | "srtcp", packet: Uint8Array, from: Address): boolean {
    this.handleTimeout(now);
    if (this.#ended) return false;
    if (kind === "srtp") return this.#handleSrtp(now, packet, from);
    if (kind === "srtcp") return this.#handleSrtcp(now, packet);
    const records = this.#guard.admit(now, packet, this.#ice.isValidated(from));
    if (records.length > 0) this.#ice.handlePeerGoesOn();
    for (const record of records) this.#dtls.handleRecord(now, record);
    return false;
  }

  handleTimeout(now: Milli): void {
    if (this.#ended) return;
    this.#ice.handleTimeout(now);
    this.#sendChecks();
    if (this.#ice.expired) return this.#end("the peer stopped answering: no ICE consent for 30 s", true);
    if (!this.#connected && now >= this.#handshakeDeadline) return this.#end("the handshake was not finished in time");
    this.#dtls.handleTimeout(now);
    if (!this.#connected) return;
    this.#sctp?.handleTimeout(now);
    this.#deliver(now, this.#options.uplink.handleTimeout(now));
    this.#sendFrames(now);
    if (this.#reportAt !== undefined && now >= this.#reportAt) this.#sendReport(now);
  }

  pollTimeout(): Milli | undefined {
    if (this.#ended) return undefined;
    const { uplink, downlink } = this.#options;
    const path = Math.min(this.#ice.pollTimeout() ?? Infinity, this.#dtls.pollTimeout() ?? Infinity);
    if (!this.#connected) return Math.min(path, this.#handshakeDeadline);
    return Math.min(
      path,
      uplink.pollTimeout() ?? Infinity,
      downlink.pollTimeout() ?? Infinity,
      this.#sctp?.pollTimeout() ?? Infinity,
      this.#reportAt ?? Infinity,
    );
  }

  sendEvent(event: { readonly type: string }): void {
    if (this.#ended) return;
    const text = JSON.stringify(event);
    if (this.#sctp) {
      if (!this.#sctp.sendText(this.#options.now(), text)) this.#droppedEvents += 1;
      this.#options.onInput();
    } else if (this.#pendingBytes + text.length > MAX_PENDING_BYTES) {
      this.#droppedEvents += 1;
    } else {
      this.#pending.push(text);
      this.#pendingBytes += text.length;
    }
  }

  play(utterance: Utterance, pcm: Pcm): void {
    if (this.#ended) return;
    const now = this.#options.now();
    this.#options.downlink.play(now, utterance, pcm);
    this.#sendFrames(now);
    this.#options.onInput();
  }

  endUtterance(utterance: Utterance): void {
    if (this.#ended) return;
    const now = this.#options.now();
    this.#options.downlink.endUtterance(now, utterance);
    this.#sendFrames(now);
    this.#options.onInput();
  }

  flush(): void {
    if (!this.#ended) this.#options.downlink.flush();
  }

  duck(gain: number, rampMs: Milli): void {
    this.#options.downlink.setGain(gain, rampMs);
  }

  close(reason: string): void {
    this.#end(reason);
  }

  /** Numbers so far. */
  stats(): WebRtcSessionStats {
    return {
      ice: this.#ice.counts,
      dtls: this.#guard.counts,
      srtp: this.#ingress?.counters ?? NO_SRTP,
      sctp: this.#sctp?.counts ?? NO_SCTP,
      droppedEvents: this.#droppedEvents,
      roundTripMs: this.#options.downlink.roundTripMs,
      downlinkLossPercent: this.#options.downlink.lossPercent,
    };
  }

  #handleConnected(keys: SrtpKeys | undefined): void {
    const now = this.#options.now();
    const { offer } = this.#options;
    if (offer.audio && !keys) return this.#end("the peer does not do SRTP");
    this.#connected = true;
    this.#ice.handleEstablished();
    this.#guard.handleEstablished();
    if (keys) {
      const { profile } = keys;
      const { gcm } = this.#options;
      this.#ingress = createSrtpContext({ profile, masterKey: keys.remoteKey, masterSalt: keys.remoteSalt, gcm });
      this.#egress = createSrtpContext({ profile, masterKey: keys.localKey, masterSalt: keys.localSalt, gcm });
      this.#reportAt = now + FIRST_REPORT_MS;
    }
    if (offer.data) this.#openSctp(offer.data.sctpPort, offer.data.maxMessageSize);
    else {
      this.#pending = []; // there is no way to send events; a sideband may listen
      this.#tell((listener) => listener.onOpen(now));
    }
    this.#sendFrames(now);
  }

  #openSctp(peerPort: number, peerMaxMessageSize: number): void {
    const { sctp, now } = this.#options;
    this.#sctp = sctp.open(
      now(),
      { peerPort, peerMaxMessageSize },
      {
        onPacket: (packet) => this.#dtls.send(packet),
        onOpen: () => this.#tell((listener) => listener.onOpen(now())),
        onText: (text) => this.#tell((listener) => listener.onMessage(now(), text)),
        onClosed: (reason) => this.#end(reason),
      },
    );
    for (const text of this.#pending) if (!this.#sctp.sendText(now(), text)) this.#droppedEvents += 1;
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  #handleSrtp(now: Milli, packet: Uint8Array, from: Address): boolean {
    const plain = this.#ingress?.unprotectRtp(packet);
    if (plain && this.#ingress?.isNewest && this.#options.followsMedia !== false) {
      if (this.#ice.handleMedia(now, from, packet.length)) this.#sendChecks();
    }
    if (plain) this.#dtls.handleMedia();
    const rtp = plain && decodeRtp(plain);
    if (!rtp) return plain !== undefined;
    const direction = this.#options.offer.audio?.direction;
    if (direction === "sendrecv" || direction === "sendonly") {
      this.#deliver(now, this.#options.uplink.handleRtp(now, rtp));
    }
    return true;
  }

  #handleSrtcp(now: Milli, packet: Uint8Array): boolean {
    const plain = this.#ingress?.unprotectRtcp(packet);
    if (!plain) return false;
    for (const each of decodeRtcp(plain) ?? []) this.#handleRtcp(now, each);
    return true;
  }

  #handleRtcp(now: Milli, packet: RtcpPacket): void {
    const { uplink, downlink, ssrc } = this.#options;
    if (packet.kind === "senderReport") uplink.handleSenderReport(now, packet);
    if (packet.kind === "senderReport" || packet.kind === "receiverReport") {
      for (const report of packet.reports) {
        downlink.handleReceptionReport(now, report);
        if (downlink.roundTripMs !== undefined) uplink.handleRoundTrip(downlink.roundTripMs);
        if (report.ssrc === ssrc && this.#probationReports.has(report.lastSenderReport)) this.#ice.handleProof();
      }
    } else if (packet.kind === "nack" && packet.mediaSsrc === ssrc) {
      for (const missing of downlink.handleNack(now, packet.sequenceNumbers)) this.#sendRtp(missing);
    }
  }

  /** Hands audio to the conversation and asks the peer for what is missing. */
  #deliver(now: Milli, { early, ordered }: UplinkAudio): void {
    for (const audio of early) this.#tell((listener) => listener.onEarlyAudio(now, audio));
    for (const audio of ordered) this.#tell((listener) => listener.onOrderedAudio(now, audio));
    const { uplink, ssrc, cname } = this.#options;
    for (let missing = uplink.nextNack(); missing; missing = uplink.nextNack()) {
      if (uplink.ssrc === undefined) continue;
      const nack = encodeNack({ senderSsrc: ssrc, mediaSsrc: uplink.ssrc, sequenceNumbers: missing });
      // A compound begins with a report (RFC 3550 section 6.1); reduced-size RTCP is not negotiated.
      this.#sendRtcp(Buffer.concat([encodeReceiverReport({ ssrc, reports: [] }, cname), nack]));
    }
  }

  /** Sends the frames that are due. The conversation may speak while it hears of one, so this is not entered twice. */
  #sendFrames(now: Milli): void {
    if (!this.#connected || this.#sendingFrames || this.#ended) return;
    this.#sendingFrames = true;
    for (let frame = this.#options.downlink.nextFrame(now); frame; frame = this.#options.downlink.nextFrame(now)) {
      this.#sendFrame(now, frame);
      if (this.#ended) break;
    }
    this.#sendingFrames = false;
  }

  #sendFrame(now: Milli, { packet, repeated, sent, ended }: DownlinkFrame): void {
    if (repeated) this.#sendRtp(repeated);
    if (packet) this.#sendRtp(packet);
    if (sent) this.#tell((listener) => listener.onSent(now, sent.utterance, sent.sentMs, sent.rtpTimestamp));
    for (const utterance of ended) this.#tell((listener) => listener.onUtteranceEnded(now, utterance));
  }

  #sendRtp(packet: Uint8Array): void {
    const direction = this.#options.offer.audio?.direction;
    if (direction !== "sendrecv" && direction !== "recvonly") return;
    if (this.#egress) this.#sendToPath(this.#egress.protectRtp(packet));
  }

  #sendRtcp(packet: Uint8Array): void {
    if (this.#egress) this.#sendToPath(this.#egress.protectRtcp(packet));
  }

  #sendReport(now: Milli): void {
    const { uplink, downlink, ssrc, cname, wallOffsetMs, random } = this.#options;
    // Spread over 0.5 to 1.5 intervals, so that sessions do not fall into step (RFC 3550 section 6.2).
    this.#reportAt = now + REPORT_INTERVAL_MS * (0.5 + random(1)[0]! / 256);
    const reception = uplink.receptionReport(now);
    const reports = reception ? [reception] : [];
    const sender = downlink.senderReport(now, now + wallOffsetMs);
    if (!sender) return this.#sendRtcp(encodeReceiverReport({ ssrc, reports }, cname));
    if (this.#ice.onProbation) {
      this.#probationReports.add((((sender.ntp.seconds & 0xffff) << 16) | (sender.ntp.fraction >>> 16)) >>> 0);
      this.#ice.handleProofAsked(now);
    }
    this.#sendRtcp(encodeSenderReport({ ...sender, reports }, cname));
  }

  #sendToPath(packet: Uint8Array): void {
    const { path } = this.#ice;
    if (path) this.#options.send(packet, path);
    const copy = path && this.#ice.copyTo(this.#options.now(), packet.length);
    if (copy) this.#options.send(packet, copy);
  }

  #sendChecks(): void {
    for (let transmit = this.#ice.nextTransmit(); transmit; transmit = this.#ice.nextTransmit()) {
      this.#options.send(transmit.packet, transmit.to);
    }
  }

  /** Calls the conversation; when it throws, this session ends and no other. */
  #tell(call: (listener: LinkListener) => void): void {
    if (!this.#listener || this.#ended) return;
    try {
      call(this.#listener);
    } catch (error) {
      this.#options.onListenerError(error);
      this.#end("internal error");
    }
  }

  #end(reason: string, lost = false): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#sctp?.close();
    this.#dtls.close();
    const listener = this.#listener;
    this.#listener = undefined;
    try {
      listener?.onClosed(this.#options.now(), reason, lost);
    } catch (error) {
      this.#options.onListenerError(error);
    }
    this.#options.onEnded(reason);
    // Whoever still holds this pipe holds no keys.
    this.#ingress = undefined;
    this.#egress = undefined;
    this.#sctp = undefined;
    this.#pending = [];
  }
}
