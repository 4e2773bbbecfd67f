import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeFrame, encodeFrameDatagram, encodeTalkspurtStart } from "@sluice/realtime";
import fc from "fast-check";
import type { OpusDecoder } from "../media/opus.ts";
import type { QuicStream } from "./quic-engine.ts";
import { Uplink, type UplinkAudio } from "./uplink.ts";

const FRAME = 960;
/** A CELT packet of 20 ms that says which it is. */
const packet = (n: number) => Uint8Array.of(0xf8, n >> 8, n);
const frame = (n: number) => encodeFrame({ time: n * FRAME, packet: packet(n) });
const datagram = (n: number) => encodeFrameDatagram({ time: n * FRAME, packet: packet(n) });
const stream = (n: number) => (2 + 4 * n) as QuicStream;
const join = (...parts: readonly Uint8Array[]) => Uint8Array.from(Buffer.concat(parts));
const start = (sequence: number) => encodeTalkspurtStart(sequence).subarray(1);

/** An uplink whose decoders say which packet they were given. */
function listen() {
  const decoded = { ordered: 0, early: 0 };
  const decoder = (which: "ordered" | "early"): OpusDecoder => ({
    decode: (bytes) => {
      decoded[which] += 1;
      return bytes[1] === 0xff ? undefined : new Int16Array(480).fill((bytes[1]! << 8) | bytes[2]!);
    },
    decodeFec: () => assert.fail(),
    conceal: () => new Int16Array(480).fill(-1),
    free: () => {},
  });
  const uplink = new Uplink(0, { decoder: decoder("ordered"), earlyDecoder: decoder("early") });
  const early: number[] = [];
  const ordered: number[] = [];
  const take = (audio: UplinkAudio) => {
    for (const { pcm, mediaMs } of audio.early) {
      early.push(pcm[0]!);
      if (pcm[0]! >= 0) assert.equal(mediaMs, pcm[0]! * 20);
    }
    for (const { pcm, mediaMs, origin } of audio.ordered) {
      if (origin === "concealed") ordered.push(-pcm.length);
      else ordered.push(pcm[0]!);
      if (origin === "received" && pcm[0]! >= 0) assert.equal(mediaMs, pcm[0]! * 20);
    }
  };
  return {
    uplink,
    decoded,
    early,
    ordered,
    data: (n: number, bytes: Uint8Array, isEnd = false, now = 0) =>
      take(uplink.handleStream(now, stream(n), bytes, isEnd)),
    reset: (n: number) => take(uplink.handleReset(0, stream(n))),
    datagram: (n: number) => take(uplink.handleDatagram(0, datagram(n))),
    raw: (bytes: Uint8Array) => take(uplink.handleDatagram(0, bytes)),
  };
}

test("a talkspurt is heard as it comes, decoded once for both clocks", () => {
  const { data, early, ordered, decoded } = listen();
  data(0, join(start(0), frame(0), frame(1)));
  data(0, frame(2), true);
  assert.deepEqual(ordered, [0, 1, 2]);
  assert.deepEqual(early, [0, 1, 2]);
  assert.deepEqual(decoded, { ordered: 3, early: 0 });
});

test("a datagram that is next is used at once, and its stream's copy is not decoded again", () => {
  const { data, datagram, early, ordered, decoded, uplink } = listen();
  data(0, join(start(0), frame(0)));
  datagram(1);
  datagram(2);
  assert.deepEqual(ordered, [0, 1, 2]);
  data(0, join(frame(1), frame(2), frame(3)));
  datagram(3);
  assert.deepEqual(ordered, [0, 1, 2, 3]);
  assert.deepEqual(early, [0, 1, 2, 3]);
  assert.deepEqual(decoded, { ordered: 4, early: 0 });
  assert.deepEqual([uplink.counts.byDatagram, uplink.counts.uselessDatagrams], [2, 1]);
});

test("voice activity does not wait for what recognition waits for", () => {
  const { data, datagram, early, ordered } = listen();
  data(0, join(start(0), frame(0)));
  datagram(5); // 1 to 4 were lost, and their stream waits for them
  datagram(6);
  assert.deepEqual(early, [0, 5, 6]);
  assert.deepEqual(ordered, [0]);
  data(0, join(frame(1), frame(2), frame(3), frame(4), frame(5), frame(6), frame(7)));
  assert.deepEqual(ordered, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(early, [0, 5, 6, 7]);
});

test("a later talkspurt is heard early and recognised in its turn", () => {
  const { data, early, ordered } = listen();
  data(0, join(start(0), frame(0)));
  data(1, join(start(1), frame(3)));
  data(1, frame(4), true);
  assert.deepEqual([early.length, ordered.length], [3, 1]);
  data(0, join(frame(1), frame(2)), true);
  assert.deepEqual(ordered, [0, 1, 2, 3, 4]);
  data(2, join(start(2), frame(5)), true);
  assert.deepEqual(ordered, [0, 1, 2, 3, 4, 5]);
});

test("talkspurts that come in any order, cut anywhere, are recognised whole and in order", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 }),
      fc.infiniteStream(fc.nat(1000)),
      fc.boolean(),
      (lengths, random, withDatagrams) => {
        const { data, datagram, ordered, early, uplink } = listen();
        let next = 0;
        const spurts = lengths.map((length, sequence) => {
          const frames = Array.from({ length }, () => frame(next++));
          return { sequence, bytes: join(start(sequence), ...frames), at: 0 };
        });
        const total = next;
        for (let open = [...spurts]; open.length > 0; ) {
          const spurt = open[random.next().value! % open.length]!;
          const end = Math.min(spurt.bytes.length, spurt.at + 1 + (random.next().value! % 12));
          const isEnd = end === spurt.bytes.length;
          data(spurt.sequence, spurt.bytes.slice(spurt.at, end), isEnd);
          spurt.at = end;
          if (isEnd) open = open.filter((one) => one !== spurt);
          if (withDatagrams) datagram(random.next().value! % total);
        }
        assert.equal(uplink.fault, undefined);
        assert.deepEqual(
          ordered,
          Array.from({ length: total }, (_, n) => n),
        );
        assert.deepEqual(
          early,
          early.toSorted((a, b) => a - b),
        );
      },
    ),
  );
});

test("a pause in the capture is silence for recognition, and a long one a step", () => {
  const { data, ordered, uplink } = listen();
  data(0, join(start(0), frame(0), frame(3), frame(1000)));
  assert.deepEqual(ordered, [0, -960, 3, -24_000, 1000]);
  assert.equal(uplink.counts.frames, 3);
});

test("a frame that the encoder left out is concealed, and counts as twenty milliseconds", () => {
  const { data, ordered } = listen();
  data(0, join(start(0), frame(0), encodeFrame({ time: FRAME, packet: new Uint8Array(0) }), frame(2)));
  assert.deepEqual(ordered, [0, -1, 2]);
});

test("a talkspurt that was given up holds nobody up, known or not", () => {
  const { data, reset, ordered } = listen();
  data(0, join(start(0), frame(0)));
  data(2, join(start(2), frame(9)));
  reset(0);
  reset(1); // never said that it is talkspurt 1
  assert.deepEqual(ordered, [0, -3840, 9]);
});

test("packets that are no Opus are counted and passed over", () => {
  const { data, raw, ordered, uplink } = listen();
  const bad = encodeFrame({ time: FRAME, packet: Uint8Array.of(0xfb, 0) }); // code 3 without frames
  data(
    0,
    join(start(0), frame(0), bad, encodeFrame({ time: 2 * FRAME, packet: Uint8Array.of(0xf8, 0xff, 0) }), frame(3)),
  );
  raw(Uint8Array.of(0));
  assert.deepEqual(ordered, [0, -480, 3]);
  assert.equal(uplink.counts.malformed, 3);
  assert.equal(uplink.fault, undefined);
});

test("a stream that breaks the format is a fault: nonsense, an end in a frame, a place twice or in the past", () => {
  const broken = (act: (one: ReturnType<typeof listen>) => void) => {
    const one = listen();
    act(one);
    return one.uplink.fault;
  };
  assert.equal(
    broken(({ data }) => data(0, join(start(0), Uint8Array.of(0x7f, 0xff)))),
    "malformed",
  );
  assert.equal(
    broken(({ data }) => data(0, join(start(0), frame(0).subarray(0, 3)), true)),
    "malformed",
  );
  assert.equal(
    broken(({ data }) => data(0, new Uint8Array(0), true)),
    "malformed",
  );
  const twice = broken(({ data }) => {
    data(0, join(start(0), frame(0)));
    data(1, start(0));
  });
  assert.equal(twice, "malformed");
  const past = broken(({ data }) => {
    data(0, join(start(0), frame(0)), true);
    data(1, start(0));
  });
  assert.equal(past, "malformed");
  assert.equal(
    broken(({ data }) => data(0, start(65))),
    "malformed",
    "too far ahead",
  );
});

test("a flood of audio ends the session, whether it is heard or waits", () => {
  const flood = listen();
  for (let n = 0; n < 6000; n++) flood.data(0, n === 0 ? join(start(0), frame(0)) : frame(n));
  assert.equal(flood.uplink.fault, undefined, "two minutes may come at once");
  flood.data(0, frame(6000));
  assert.equal(flood.uplink.fault, "tooMuch");
  const waiting = listen();
  const long = (n: number) => encodeFrame({ time: n * FRAME, packet: Uint8Array.of(0xf8, ...new Uint8Array(1200)) });
  waiting.data(0, start(0));
  waiting.data(1, start(1));
  for (let n = 0; n < 1000; n++) waiting.uplink.handleStream(0, stream(1), long(n), false);
  assert.equal(waiting.uplink.fault, "tooMuch");
});

test("a client speaks for hours, with a datagram to each frame and one in five lost, without being too much", () => {
  const { data, datagram, uplink } = listen();
  data(0, start(0));
  for (let n = 0; n < 60_000; n += 5) {
    const now = n * 20;
    datagram(n % 65_000);
    data(0, join(frame(n), frame(n + 1), frame(n + 2), frame(n + 3), frame(n + 4)), false, now);
    assert.equal(uplink.fault, undefined);
  }
});
