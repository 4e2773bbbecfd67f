/**
 * A conversation's pipe over Media over QUIC (docs/moq.md). One call has one or a few sessions, since a page's publisher and
 * player each open their own: each is given the agent's broadcast, and the first broadcast that any of them announces is the
 * caller. The agent's speech is paced, for players take what comes early for a reason to skip. What `@moq/net` promises is
 * awaited here; clock and timers are the owner's: `handleTimeout` is due at `pollTimeout()`.
 */
import type { Link, LinkCapabilities, LinkListener, Milli, Pcm, Utterance } from "@sluice/conversation";
import type { OpusDecoder, OpusEncoder } from "../media/opus.ts";
import { OPUS_TICKS_PER_MS } from "../media/opus-packet.ts";
import { Downlink, type DownlinkFrame } from "../webrtc/downlink.ts";
import { decodeRtp } from "../webrtc/rtp.ts";
import { AgentBroadcast, EventLog } from "./agent-broadcast.ts";
import { type AudioRendition, CATALOG_TRACK, parseCatalog } from "./catalog.ts";
import { decodeMediaFrame } from "./container.ts";
import type { MoqConnection, MoqGroup, MoqRemoteBroadcast, MoqSubscription } from "./net.ts";
import { MoqUplink, type MoqUplinkAudio, type MoqUplinkCounts } from "./uplink.ts";

/** Name of the agent's broadcast, beneath the URL's path. The suffix says that its catalog is hang's. */
export const AGENT_BROADCAST = "agent.hang";
/** Sessions of one call at once. */
export const MAX_SEATS = 4;

/** Settings of {@link MoqLink}. */
export interface MoqLinkOptions {
  readonly encoder: OpusEncoder;
  readonly decoder: OpusDecoder;
  readonly earlyDecoder: OpusDecoder;
  /** How long a call lives without a session: a page that is reloaded, or whose player comes first; default 5 s. */
  readonly graceMs?: Milli | undefined;
  /** Monotonic clock. */
  readonly now: () => Milli;
  /** The link's deadlines may have changed. */
  readonly onInput: () => void;
  /** The link is over: {@link MoqLink.free} it once the calls under way have returned. Called once. */
  readonly onEnded: (reason: string) => void;
}

/** What a link asks of a session. */
export interface SeatedSession {
  close(reason: string): void;
  /** Tells the client that the session should end soon. */
  drain(): void;
}

/** A session's place in a call. */
export interface MoqSeat {
  /** The session speaks MoQ. */
  join(connection: MoqConnection): void;
  /** The session is over. */
  leave(reason: string): void;
}

/** Numbers of a link. */
export interface MoqLinkStats extends MoqUplinkCounts {
  /** Sessions that joined, those that left included. */
  readonly sessions: number;
  /** Catalogs that were none. */
  readonly malformedCatalogs: number;
}

interface Seat {
  readonly session: SeatedSession;
  connection: MoqConnection | undefined;
  agent: AgentBroadcast | undefined;
  /** Broadcasts that it announced and that are not ours, the oldest first. */
  readonly offers: Set<string>;
}

/** The broadcast that is heard. */
interface Caller {
  readonly seat: Seat;
  readonly path: string;
  readonly broadcast: MoqRemoteBroadcast;
  readonly catalog: MoqSubscription;
  audio: { readonly rendition: AudioRendition; readonly track: MoqSubscription } | undefined;
}

const GRACE_MS: Milli = 5000;
/** Broadcasts that one session may announce. */
const MAX_OFFERS = 64;
/** As hang's publishers and players rank their tracks. */
const CATALOG_PRIORITY = 100;
const AUDIO_PRIORITY = 80;
/** Speech this old is still wanted: recognition hears all of it. */
const AUDIO_LATENCY_MS: Milli = 10_000;
/** Players hold 100 ms by default: so much may be made up for after a stall. */
const MAX_LATE_MS: Milli = 80;
const MICROS_PER_MS = 1000;

/** One caller's sessions, as a conversation sees them. */
export class MoqLink implements Link {
  readonly capabilities: LinkCapabilities = {
    playout: "server",
    leadMs: 0,
    audioInEvents: false,
    reset: false, // the player plays what it has: its jitter buffer
    playoutReports: false,
  };
  readonly #options: MoqLinkOptions;
  readonly #uplink: MoqUplink;
  readonly #downlink: Downlink;
  readonly #events: EventLog;
  readonly #seats = new Set<Seat>();
  #listener: LinkListener | undefined;
  #caller: Caller | undefined;
  #isOpen = false;
  #sessions = 0;
  #malformedCatalogs = 0;
  #emptySince: Milli | undefined;
  #lastReason = "no session came";
  #ended = false;

  constructor(options: MoqLinkOptions) {
    const { now, encoder, decoder, earlyDecoder } = options;
    this.#options = options;
    this.#uplink = new MoqUplink(now(), { decoder, earlyDecoder });
    this.#downlink = new Downlink({
      encoder,
      ssrc: 0,
      payloadTypes: { opus: 0 },
      firstSequenceNumber: 0,
      firstTimestamp: 0,
      maxLateMs: MAX_LATE_MS,
    });
    this.#events = new EventLog(now());
    this.#emptySince = now();
  }

  /** Begins: `listener` hears everything from now on. */
  attach(listener: LinkListener): void {
    this.#listener = listener;
  }

  /** Whether one more session may join. */
  get hasSeat(): boolean {
    return !this.#ended && this.#seats.size < MAX_SEATS;
  }

  stats(): MoqLinkStats {
    return { ...this.#uplink.counts, sessions: this.#sessions, malformedCatalogs: this.#malformedCatalogs };
  }

  /** A session's place, while {@link hasSeat}. */
  take(session: SeatedSession): MoqSeat {
    const seat: Seat = { session, connection: undefined, agent: undefined, offers: new Set() };
    this.#seats.add(seat);
    this.#emptySince = undefined;
    this.#sessions += 1;
    this.#options.onInput();
    return {
      join: (connection) => this.#join(seat, connection),
      leave: (reason) => this.#leave(seat, reason),
    };
  }

  sendEvent(event: { readonly type: string }): void {
    if (this.#ended) return;
    const agents = [...this.#seats].flatMap(({ agent }) => agent ?? []);
    this.#events.append(this.#options.now(), JSON.stringify(event), agents);
  }

  play(utterance: Utterance, pcm: Pcm): void {
    this.#speak((now) => this.#downlink.play(now, utterance, pcm));
  }

  endUtterance(utterance: Utterance): void {
    this.#speak((now) => this.#downlink.endUtterance(now, utterance));
  }

  flush(): void {
    this.#speak(() => this.#downlink.flush());
  }

  duck(gain: number, rampMs: Milli): void {
    this.#downlink.setGain(gain, rampMs);
  }

  close(reason: string): void {
    if (this.#ended) return;
    for (const { session } of [...this.#seats]) session.close(reason); // and leaves
    this.#end(reason);
  }

  /** Asks the client to go elsewhere soon. */
  drain(): void {
    for (const { session } of this.#seats) session.drain();
  }

  pollTimeout(): Milli | undefined {
    if (this.#ended) return undefined;
    const emptyAt = this.#emptySince === undefined ? Infinity : this.#emptySince + (this.#options.graceMs ?? GRACE_MS);
    const next = Math.min(emptyAt, this.#downlink.pollTimeout() ?? Infinity, this.#uplink.pollTimeout() ?? Infinity);
    return next === Infinity ? undefined : next;
  }

  handleTimeout(now: Milli): void {
    for (let frame = this.#nextFrame(now); frame; frame = this.#nextFrame(now)) this.#send(now, frame);
    if (!this.#ended) this.#hear(this.#uplink.handleTimeout(now));
    const { graceMs = GRACE_MS } = this.#options;
    if (this.#emptySince !== undefined && now >= this.#emptySince + graceMs) this.#end(this.#lastReason);
  }

  /** Frees the codecs; not from within the link's own calls. */
  free(): void {
    const { encoder, decoder, earlyDecoder } = this.#options;
    for (const codec of [encoder, decoder, earlyDecoder]) codec.free();
  }

  #nextFrame(now: Milli): DownlinkFrame | undefined {
    return this.#ended ? undefined : this.#downlink.nextFrame(now);
  }

  #send(now: Milli, { packet, sent, ended }: DownlinkFrame): void {
    const rtp = packet && decodeRtp(packet);
    if (rtp) {
      const micros = Math.round((rtp.timestamp / OPUS_TICKS_PER_MS) * MICROS_PER_MS);
      for (const { agent } of this.#seats) agent?.speak({ micros, packet: rtp.payload });
    }
    if (sent) this.#listener?.onSent(now, sent.utterance, sent.sentMs, undefined);
    for (const utterance of ended) this.#listener?.onUtteranceEnded(now, utterance);
  }

  #speak(input: (now: Milli) => void): void {
    if (this.#ended) return;
    input(this.#options.now());
    this.#options.onInput();
  }

  #join(seat: Seat, connection: MoqConnection): void {
    if (!this.#seats.has(seat)) return connection.close();
    seat.connection = connection;
    seat.agent = new AgentBroadcast(connection.publish(AGENT_BROADCAST), this.#events);
    void this.#follow(seat, connection);
    if (this.#isOpen) return;
    this.#isOpen = true;
    this.#listener?.onOpen(this.#options.now());
    this.#options.onInput();
  }

  #leave(seat: Seat, reason: string): void {
    if (!this.#seats.delete(seat)) return;
    this.#release(seat);
    if (this.#caller?.seat === seat) this.#hangUp();
    this.#choose();
    this.#lastReason = reason === "" ? "the client hung up" : reason;
    if (this.#seats.size === 0) this.#emptySince = this.#options.now();
    this.#options.onInput();
  }

  #release({ agent, connection }: Seat): void {
    agent?.close();
    connection?.close();
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#hangUp();
    for (const seat of this.#seats) this.#release(seat);
    this.#seats.clear();
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.onClosed(this.#options.now(), reason, false);
    this.#options.onEnded(reason);
  }

  /** Which broadcasts a session has to offer. */
  async #follow(seat: Seat, connection: MoqConnection): Promise<void> {
    const announced = connection.announced();
    for (let event = await next(announced.next()); event; event = await next(announced.next())) {
      if (!this.#seats.has(seat)) break;
      const { path, active } = event;
      if (path === AGENT_BROADCAST) continue;
      // Announced anew: another publisher of the same name.
      if (this.#caller?.seat === seat && this.#caller.path === path) this.#hangUp();
      if (active) seat.offers.add(path);
      else seat.offers.delete(path);
      if (seat.offers.size > MAX_OFFERS) return seat.session.close("too many broadcasts");
      this.#choose();
    }
    announced.close();
  }

  /** Hears the first broadcast that there is, while none is heard. */
  #choose(): void {
    if (this.#caller || this.#ended) return;
    for (const seat of this.#seats) {
      const [path] = seat.offers;
      if (path === undefined || !seat.connection) continue;
      const broadcast = seat.connection.consume(path);
      const wish = { priority: CATALOG_PRIORITY, ordered: true, latencyMax: 0 };
      const catalog = broadcast.track(CATALOG_TRACK).subscribe(wish);
      this.#caller = { seat, path, broadcast, catalog, audio: undefined };
      void this.#readCatalog(this.#caller);
      return;
    }
  }

  #hangUp(): void {
    const caller = this.#caller;
    this.#caller = undefined;
    this.#uplink.end();
    caller?.audio?.track.close();
    caller?.catalog.close();
    caller?.broadcast.close();
  }

  async #readCatalog(caller: Caller): Promise<void> {
    const { catalog, seat, path } = caller;
    let newest = -1;
    for (let group = await next(catalog.recvGroup()); group; group = await next(catalog.recvGroup())) {
      if (group.sequence < newest) continue;
      newest = group.sequence;
      // The newest group may stay open for what is written later.
      void this.#readFrames(group, (payload) => {
        if (this.#caller !== caller || newest !== group.sequence) return;
        const rendition = parseCatalog(payload);
        if (rendition === undefined) this.#malformedCatalogs += 1;
        else this.#listen(caller, rendition ?? undefined);
      });
    }
    if (this.#caller !== caller) return;
    // Without a catalog it is nobody to listen to, until it is announced anew.
    this.#hangUp();
    seat.offers.delete(path);
    this.#choose();
  }

  #listen(caller: Caller, rendition: AudioRendition | undefined): void {
    const current = caller.audio?.rendition;
    if (current?.track === rendition?.track && current?.container === rendition?.container) return;
    caller.audio?.track.close();
    caller.audio = undefined;
    if (!rendition) return this.#uplink.end();
    const wish = { priority: AUDIO_PRIORITY, ordered: true, latencyMax: AUDIO_LATENCY_MS };
    const track = caller.broadcast.track(rendition.track).subscribe(wish);
    caller.audio = { rendition, track };
    this.#hear(this.#uplink.begin(this.#options.now()));
    const isCurrent = () => this.#caller === caller && caller.audio?.track === track;
    void this.#readGroups(track, rendition, isCurrent);
    void this.#readDatagrams(track, rendition, isCurrent);
  }

  async #readGroups(track: MoqSubscription, { container }: AudioRendition, isCurrent: () => boolean): Promise<void> {
    const take = async (group: MoqGroup) => {
      await this.#readFrames(group, (payload) => {
        if (isCurrent()) this.#takePacket(group.sequence, payload, container);
      });
      if (isCurrent()) this.#hear(this.#uplink.handleGroupEnd(this.#options.now(), group.sequence));
    };
    for (let group = await next(track.recvGroup()); group; group = await next(track.recvGroup())) void take(group);
  }

  async #readDatagrams(track: MoqSubscription, { container }: AudioRendition, isCurrent: () => boolean): Promise<void> {
    for (let one = await next(track.recvDatagram()); one && isCurrent(); one = await next(track.recvDatagram())) {
      this.#takePacket(one.sequence, one.payload, container);
      this.#hear(this.#uplink.handleGroupEnd(this.#options.now(), one.sequence));
    }
  }

  #takePacket(sequence: number, payload: Uint8Array, container: AudioRendition["container"]): void {
    const frame = decodeMediaFrame(container, payload);
    if (frame) this.#hear(this.#uplink.handleFrame(this.#options.now(), sequence, frame));
    else this.#uplink.handleMalformed();
  }

  async #readFrames(group: MoqGroup, take: (payload: Uint8Array) => void): Promise<void> {
    for (let frame = await next(group.readFrame()); frame; frame = await next(group.readFrame())) take(frame.payload);
  }

  #hear({ early, ordered }: MoqUplinkAudio): void {
    const now = this.#options.now();
    for (const audio of early) this.#listener?.onEarlyAudio(now, audio);
    for (const audio of ordered) this.#listener?.onOrderedAudio(now, audio);
    if (this.#uplink.tooMuch) this.close("too much audio");
    else this.#options.onInput();
  }
}

/** The next of what a peer sends; a stream that it gave up is one that has ended. */
async function next<T>(promise: Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await promise;
  } catch {
    return undefined;
  }
}
