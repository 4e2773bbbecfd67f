import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { KindDecoder, TalkspurtDecoder } from "@sluice/realtime";
import type { CapturedFrame } from "./capture/recorder.ts";
import { WebTransportChannel } from "./webtransport.ts";

/** What the page gave to the browser's session: each write of a talkspurt, each datagram. A write takes as long as `hold` is pending. */
interface Session {
  readonly talkspurts: Uint8Array[][];
  readonly datagrams: Uint8Array[];
  hold: Promise<void>;
}

let session: Session;
const { fetch } = globalThis;
const never = new Promise<never>(() => {});

beforeEach(() => {
  const made: Session = { talkspurts: [], datagrams: [], hold: Promise.resolve() };
  session = made;
  globalThis.fetch = async () => Response.json({ url: "https://127.0.0.1/", certificate_hashes: [] });
  class FakeWebTransport {
    readonly ready = Promise.resolve();
    readonly closed = never;
    readonly datagrams = { writable: new WritableStream({ write: (data) => void made.datagrams.push(data) }) };
    readonly incomingUnidirectionalStreams = new ReadableStream();
    async createBidirectionalStream() {
      return { readable: new ReadableStream(), writable: new WritableStream() };
    }
    async createUnidirectionalStream() {
      const writes: Uint8Array[] = [];
      made.talkspurts.push(writes);
      return new WritableStream({
        async write(bytes) {
          writes.push(bytes);
          await made.hold;
        },
      });
    }
    close() {}
  }
  Object.assign(globalThis, { WebTransport: FakeWebTransport });
});

afterEach(() => {
  globalThis.fetch = fetch;
  Reflect.deleteProperty(globalThis, "WebTransport");
});

async function dial(): Promise<WebTransportChannel> {
  const nothing = () => {};
  const listener = { onMessage: nothing, onFrames: nothing, onFinished: nothing, onReset: nothing, onClosed: nothing };
  const { signal } = new AbortController();
  const callsUrl = new URL("http://127.0.0.1/v1/realtime/calls");
  const channel = new WebTransportChannel({ callsUrl, token: undefined, leadMs: 1000, signal }, listener);
  await channel.dial();
  return channel;
}

const frame = (n: number, begins = false): CapturedFrame => ({
  time: n * 960,
  packet: Uint8Array.of(0xf8, n),
  begins,
  pcm: new Float32Array(),
});

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** The places of the frames of each write. */
function places(writes: readonly Uint8Array[]): number[][] {
  const kind = new KindDecoder();
  const frames = new TalkspurtDecoder();
  let isKnown = false;
  return writes.map((bytes) => {
    const rest = isKnown ? bytes : kind.push(bytes)!.rest;
    isKnown = true;
    return frames.push(rest)!.map(({ time }) => time / 960);
  });
}

test("each frame goes as it comes, and once more as a datagram while there is said to be room", async () => {
  const channel = await dial();
  for (let n = 0; n < 6; n++) {
    if (n === 2) channel.fit({ narrow: false, datagrams: true });
    if (n === 4) channel.fit({ narrow: false, datagrams: false });
    assert(channel.sendFrames([frame(n)]));
    await turn();
  }
  assert.deepEqual(places(session.talkspurts[0]!), [[0], [1], [2], [3], [4], [5]]);
  assert.deepEqual(
    session.datagrams.map((data) => data.at(-1)),
    [2, 3],
  );
});

test("where the path is narrow three frames go together, but none waits where voice begins", async () => {
  const channel = await dial();
  channel.fit({ narrow: true, datagrams: false });
  assert.equal(channel.sendFrames([frame(0)]), false);
  assert.equal(channel.sendFrames([frame(0), frame(1)]), false);
  assert(channel.sendFrames([frame(0), frame(1), frame(2)]));
  await turn();
  assert(channel.sendFrames([frame(3), frame(4, true)]));
  await turn();
  assert.deepEqual(session.talkspurts.map(places), [[[0, 1, 2], [3]], [[4]]]);
});

test("what gathers while a write is under way goes with the next one", async () => {
  const channel = await dial();
  const { promise, resolve } = Promise.withResolvers<void>();
  session.hold = promise;
  for (let n = 0; n < 10; n++) {
    channel.sendFrames([frame(n)]);
    await turn();
  }
  resolve();
  await turn();
  assert.deepEqual(places(session.talkspurts[0]!), [[0], [1, 2, 3, 4, 5, 6, 7, 8, 9]]);
});
