/** Condenses what the browser counts about a call (W3C webrtc-stats) into the numbers a person asks for. */
import type { Milli } from "./clock-sync.ts";

/** The state of a call's media. Rates and delays are of the time since the digest before; counts are totals. */
export interface StatsDigest {
  readonly roundTripMs: Milli | undefined;
  /** How long the agent's audio waits before it is played. */
  readonly jitterBufferMs: Milli | undefined;
  readonly jitterMs: Milli | undefined;
  /** From the browser to the loudspeaker, as far as the browser knows. */
  readonly outputLatencyMs: Milli | undefined;
  readonly received: PacketCounts;
  readonly sent: PacketCounts;
}

/** One direction of the audio. */
export interface PacketCounts {
  readonly packets: number;
  readonly lost: number;
  /** Of the lost, what was sent again or restored from what came after; `undefined`: the pipe does not say. */
  readonly repaired: number | undefined;
  /** Speech that had to be invented because it was missing when it was due; only known of received audio. */
  readonly concealedMs: Milli;
  readonly kbitPerSecond: number | undefined;
}

type Entry = Record<string, unknown> & { readonly type: string };

const SAMPLES_PER_MS = 48;

/** Digests reports of one call; remembers the one before for rates. */
export class StatsReader {
  #missed = 0;
  #concealedBefore: number | undefined;
  #before: { timestamp: number; bytesIn: number; bytesOut: number; delay: number; emitted: number } | undefined;

  /**
   * The agent begins or ends to speak. Between utterances nothing is sent, which a jitter buffer conceals as it does a
   * loss; only what is concealed within an utterance was missing.
   */
  handlePlayout(entries: Iterable<Entry>, playing: boolean): void {
    const concealed = concealedSamples(entries);
    this.#missed += this.#concealedBefore === undefined ? 0 : concealed - this.#concealedBefore;
    this.#concealedBefore = playing ? concealed : undefined;
  }

  /** Takes the entries of an `RTCStatsReport`. */
  digest(entries: Iterable<Entry>, outputLatencyMs: Milli | undefined): StatsDigest {
    let inbound: Entry | undefined;
    let outbound: Entry | undefined;
    let remote: Entry | undefined;
    let pair: Entry | undefined;
    for (const entry of entries) {
      if (entry.type === "inbound-rtp") inbound = entry;
      else if (entry.type === "outbound-rtp") outbound = entry;
      else if (entry.type === "remote-inbound-rtp") remote = entry;
      else if (entry.type === "candidate-pair" && (entry.nominated || !pair)) pair = entry;
    }
    const now = {
      timestamp: number(inbound?.timestamp) ?? number(outbound?.timestamp) ?? 0,
      bytesIn: number(inbound?.bytesReceived) ?? 0,
      bytesOut: number(outbound?.bytesSent) ?? 0,
      delay: number(inbound?.jitterBufferDelay) ?? 0,
      emitted: number(inbound?.jitterBufferEmittedCount) ?? 0,
    };
    const before = this.#before;
    this.#before = now;
    const elapsedMs = before ? now.timestamp - before.timestamp : 0;
    const rate = (bytes: number) => (elapsedMs > 0 ? (bytes * 8) / elapsedMs : undefined);
    const emitted = now.emitted - (before?.emitted ?? 0);
    const underWay =
      this.#concealedBefore === undefined || !inbound ? 0 : concealedSamples([inbound]) - this.#concealedBefore;
    return {
      roundTripMs: seconds(pair?.currentRoundTripTime),
      jitterBufferMs: emitted > 0 ? ((now.delay - (before?.delay ?? 0)) / emitted) * 1000 : undefined,
      jitterMs: seconds(inbound?.jitter),
      outputLatencyMs,
      received: {
        packets: number(inbound?.packetsReceived) ?? 0,
        lost: number(inbound?.packetsLost) ?? 0,
        repaired: repairedOf(inbound),
        concealedMs: (this.#missed + underWay) / SAMPLES_PER_MS,
        kbitPerSecond: before && rate(now.bytesIn - before.bytesIn),
      },
      sent: {
        packets: number(outbound?.packetsSent) ?? 0,
        lost: number(remote?.packetsLost) ?? 0,
        repaired: number(outbound?.retransmittedPacketsSent),
        concealedMs: 0,
        kbitPerSecond: before && rate(now.bytesOut - before.bytesOut),
      },
    };
  }
}

/** Copies that came for what was missing: sent again, or in later packets (RED), less those that were not needed. */
function repairedOf(inbound: Entry | undefined): number | undefined {
  if (!inbound) return undefined;
  const { retransmittedPacketsReceived, fecPacketsReceived, fecPacketsDiscarded } = inbound;
  const copies = (number(fecPacketsReceived) ?? 0) - (number(fecPacketsDiscarded) ?? 0);
  return (number(retransmittedPacketsReceived) ?? 0) + Math.max(0, copies);
}

function concealedSamples(entries: Iterable<Entry>): number {
  let samples = 0;
  for (const entry of entries) if (entry.type === "inbound-rtp") samples = number(entry.concealedSamples) ?? 0;
  return samples;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function seconds(value: unknown): Milli | undefined {
  const inSeconds = number(value);
  return inSeconds === undefined ? undefined : inSeconds * 1000;
}
