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
  /** Audible speech that had to be invented; only known of received audio. */
  readonly concealedMs: Milli;
  readonly kbitPerSecond: number | undefined;
}

type Entry = Record<string, unknown> & { readonly type: string };

/** Digests reports of one call; remembers the one before for rates. */
export class StatsReader {
  #before: { timestamp: number; bytesIn: number; bytesOut: number; delay: number; emitted: number } | undefined;

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
    // Concealment while nothing is being sent is silence, not loss.
    const concealed = (number(inbound?.concealedSamples) ?? 0) - (number(inbound?.silentConcealedSamples) ?? 0);
    return {
      roundTripMs: seconds(pair?.currentRoundTripTime),
      jitterBufferMs: emitted > 0 ? ((now.delay - (before?.delay ?? 0)) / emitted) * 1000 : undefined,
      jitterMs: seconds(inbound?.jitter),
      outputLatencyMs,
      received: {
        packets: number(inbound?.packetsReceived) ?? 0,
        lost: number(inbound?.packetsLost) ?? 0,
        concealedMs: Math.max(0, concealed) / 48,
        kbitPerSecond: before && rate(now.bytesIn - before.bytesIn),
      },
      sent: {
        packets: number(outbound?.packetsSent) ?? 0,
        lost: number(remote?.packetsLost) ?? 0,
        concealedMs: 0,
        kbitPerSecond: before && rate(now.bytesOut - before.bytesOut),
      },
    };
  }
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function seconds(value: unknown): Milli | undefined {
  const inSeconds = number(value);
  return inSeconds === undefined ? undefined : inSeconds * 1000;
}
