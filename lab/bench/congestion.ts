/**
 * An answer over QUIC on bad networks, in virtual time: how long the ear waits in the middle of it, and what a congestion
 * window with a floor at what a voice needs changes. The engine is the product's, the networks are `@sluice/netem`'s, seeded; a round
 * trip of 100 ms. The agent makes 200 ms of speech each 33 ms up to 10 s of lead, the caller sends a datagram each 20 ms.
 *
 *     npm run bench -- congestion --json [--calls 40] [--only blackout] [--bitrate 32000]
 *
 * Per network and sender: `gap_ms` is the longest silence within an answer (of each call; percentiles over calls), `first_ms` the
 * wait for its first 200 ms, `event_ms_p95` how late an event of 60 bytes comes that is sent each 100 ms (the queue in front of a narrow link), `resumed_ms`
 * what passes between the end of a blackout and the next byte of speech that was not there yet, or the event after it.
 */
import { type Impairments, Link } from "@sluice/netem";
import { loadQuicEngine } from "../../packages/transceiver/src/node/quic-engine.ts";
import type { Address } from "../../packages/transceiver/src/webrtc/ice-lite.ts";
import type { QuicEngine, QuicTransportOptions } from "../../packages/transceiver/src/webtransport/quic-engine.ts";
import { QuicPair } from "../../packages/transceiver/src/webtransport/quic-pair.ts";
import { quantile } from "../quantile.ts";
import type { Bench } from "./run.ts";

const DELAY_MS = 50;
const plain: Impairments = { delayMs: DELAY_MS };
const BLACKOUT_MS = 3000;

interface Path {
  readonly name: string;
  readonly impairments: Impairments;
  /** When nothing comes through any more for a while, from the answer's beginning. */
  readonly blackoutAtMs?: number;
}

const PATHS: readonly Path[] = [
  { name: "loss 0 %", impairments: plain },
  { name: "loss 10 %", impairments: { ...plain, loss: 0.1 } },
  { name: "loss 20 %", impairments: { ...plain, loss: 0.2 } },
  { name: "loss 20 %, 300 ms", impairments: { delayMs: 150, loss: 0.2 } },
  { name: "bursts", impairments: { ...plain, loss: { goodToBad: 0.036, badToGood: 0.25 } } },
  { name: "40 kbit/s", impairments: { ...plain, jitterMs: 5, bitsPerSecond: 40_000, queueBytes: 8000 } },
  { name: "128 kbit/s", impairments: { ...plain, jitterMs: 5, bitsPerSecond: 128_000, queueBytes: 16_000 } },
  { name: "128 kbit/s, no queue", impairments: { ...plain, jitterMs: 5, bitsPerSecond: 128_000, queueBytes: 2500 } },
  { name: "blackout at 0.3 s", impairments: plain, blackoutAtMs: 300 },
  { name: "blackout at 3 s", impairments: plain, blackoutAtMs: 3000 },
  { name: "blackout at 3 s, loss 5 %", impairments: { ...plain, loss: 0.05 }, blackoutAtMs: 3000 },
];

const SENDERS: readonly { readonly name: string; readonly transport: QuicTransportOptions }[] = [
  { name: "cubic", transport: { floorBitsPerSecond: 0 } },
  { name: "floor", transport: {} },
  { name: "bbr", transport: { congestion: "bbr", floorBitsPerSecond: 0 } },
];

const TICK_MS = 20;
const PIECE_MS = 200;
const MADE_EVERY_MS = 33;
const ANSWER_MS = 11_000;
const LEAD_MS = 10_000;
/** What a caller says first, while events come as they do of a prompt: their losses have shrunk the window by then. */
const PROMPT_MS = 6000;
const EVENT_EVERY_MS = 100;
const EVENT_BYTES = 60;
/** A call is over at the latest after this; what did not come by then counts as a gap of that length. */
const LIMIT_MS = 60_000;
/** What the server makes of a caller who says nothing of the ear: played in real time. */
const WATCHED_MS = 10_000;

interface Call {
  readonly firstMs: number;
  readonly gapMs: number;
  readonly eventMs: readonly number[];
  readonly resumedMs: number | undefined;
  readonly lost: number;
  readonly sent: number;
}

/** Runs the bench. */
export const run: Bench = async ({ flags }) => {
  const { engine, reason = "" } = { reason: undefined, ...loadQuicEngine() };
  if (!engine) throw new Error(reason);
  const calls = Number(flags.calls ?? 40);
  const bytesPerPiece = Math.round((Number(flags.bitrate ?? 32_000) / 8000) * PIECE_MS);
  const paths = PATHS.filter(({ name }) => flags.only === undefined || name.includes(flags.only));
  const rows: Record<string, string | number>[] = [];
  for (const path of paths) {
    for (const sender of SENDERS) {
      const made = Array.from({ length: calls }, (_, seed) =>
        call(engine, path, sender.transport, bytesPerPiece, seed + 1),
      );
      const gaps = made.map(({ gapMs }) => gapMs);
      const resumed = made.flatMap(({ resumedMs }) => resumedMs ?? []);
      const row = {
        path: path.name,
        sender: sender.name,
        calls,
        gap_ms_p50: quantile(gaps, 0.5),
        gap_ms_p95: quantile(gaps, 0.95),
        gap_ms_max: Math.max(...gaps),
        first_ms_p50: quantile(
          made.map(({ firstMs }) => firstMs),
          0.5,
        ),
        first_ms_p95: quantile(
          made.map(({ firstMs }) => firstMs),
          0.95,
        ),
        event_ms_p50: quantile(
          made.flatMap(({ eventMs }) => eventMs),
          0.5,
        ),
        event_ms_p95: quantile(
          made.flatMap(({ eventMs }) => eventMs),
          0.95,
        ),
        ...(resumed.length > 0 && { resumed_ms_p50: quantile(resumed, 0.5), resumed_ms_max: Math.max(...resumed) }),
        sent_packets: made.reduce((sum, { sent }) => sum + sent, 0) / calls,
        lost_packets: made.reduce((sum, { lost }) => sum + lost, 0) / calls,
      };
      rows.push(row);
      console.error(
        Object.entries(row)
          .map(([name, value]) => (typeof value === "number" ? `${name} ${value.toFixed(0)}` : value))
          .join(", "),
      );
    }
  }
  const of = (sender: string, path: string) => rows.find((row) => row.sender === sender && row.path === path);
  const worst = of("floor", "loss 20 %")?.gap_ms_p95;
  return { metrics: typeof worst === "number" ? { gap_ms_p95_loss20: worst } : {}, rows };
};

function call(
  engine: QuicEngine,
  { impairments, blackoutAtMs }: Path,
  transport: QuicTransportOptions,
  bytesPerPiece: number,
  seed: number,
): Call {
  const calm = { delayMs: impairments.delayMs ?? DELAY_MS };
  const [up, down] = [0, 1].map((at) => new Link<Address>(calm, 2 * seed + at)) as [Link<Address>, Link<Address>];
  const pair = new QuicPair({ engine, up, down, transport, clientTransport: { floorBitsPerSecond: 0 } });
  pair.connect();
  pair.run(() => pair.client.of("connected").length > 0 && pair.server.of("connected").length > 0);
  const { server, client } = pair;
  const speech = server.endpoint.openStream(server.connection, "unidirectional")!;
  const events = server.endpoint.openStream(server.connection, "unidirectional")!;
  server.endpoint.setPriority(server.connection, events, 100);
  up.impair(impairments);
  down.impair(impairments);

  const began = pair.now + PROMPT_MS;
  const arrivedAt: number[] = []; // of each whole piece
  const [eventSentAt, eventMs] = [[] as number[], [] as number[]];
  let [heard, eventBytes, resumedMs] = [0, 0, undefined as number | undefined];
  const lightAt = blackoutAtMs === undefined ? Infinity : began + blackoutAtMs + BLACKOUT_MS;
  client.onEvent = (now, event) => {
    if (event.kind !== "streamReadable") return;
    const { bytes } = client.read(event.stream);
    if (bytes.length > 0 && now >= lightAt) resumedMs ??= now - lightAt;
    if (event.stream === speech) {
      heard += bytes.length;
      while ((arrivedAt.length + 1) * bytesPerPiece <= heard) arrivedAt.push(now);
    } else {
      eventBytes += bytes.length;
      while ((eventMs.length + 1) * EVENT_BYTES <= eventBytes) eventMs.push(now - eventSentAt[eventMs.length]!);
    }
  };
  const pieces = ANSWER_MS / PIECE_MS;
  let [made, nextPiece, nextEvent] = [0, began, began - PROMPT_MS];
  let backlog = Buffer.alloc(0);
  const isOver = () => arrivedAt.length >= pieces && pair.now >= began + WATCHED_MS;
  while (!isOver() && pair.now < began + LIMIT_MS) {
    const at = pair.now - began;
    const dark = blackoutAtMs !== undefined && at >= blackoutAtMs && at < blackoutAtMs + BLACKOUT_MS;
    for (const link of [up, down]) link.impair(dark ? { ...impairments, blackhole: true } : impairments);
    while (made < pieces && at >= 0 && pair.now >= nextPiece && made * PIECE_MS <= at + LEAD_MS) {
      backlog = Buffer.concat([backlog, Buffer.alloc(bytesPerPiece)]);
      made += 1;
      nextPiece = pair.now + MADE_EVERY_MS;
    }
    if (backlog.length > 0) backlog = backlog.subarray(server.endpoint.write(server.connection, speech, backlog) ?? 0);
    if (pair.now >= nextEvent) {
      server.endpoint.write(server.connection, events, Buffer.alloc(EVENT_BYTES));
      eventSentAt.push(pair.now);
      nextEvent += EVENT_EVERY_MS;
    }
    client.endpoint.sendDatagram(client.connection, Buffer.alloc(90));
    pair.pass(TICK_MS);
  }
  const stats = server.endpoint.connectionStats(server.connection);
  return {
    firstMs: (arrivedAt[0] ?? pair.now) - began,
    gapMs: longestWait(arrivedAt, pieces, pair.now),
    eventMs,
    resumedMs,
    lost: stats?.lostPackets ?? 0,
    sent: stats?.sentPackets ?? 0,
  };
}

/** The longest silence of an ear that plays each piece as soon as it is there and its turn comes. */
function longestWait(arrivedAt: readonly number[], pieces: number, end: number): number {
  let [playsUntil, longest] = [arrivedAt[0] ?? end, 0];
  for (let piece = 0; piece < pieces; piece++) {
    const at = arrivedAt[piece] ?? end;
    longest = Math.max(longest, at - playsUntil);
    playsUntil = Math.max(playsUntil, at) + PIECE_MS;
  }
  return longest;
}
