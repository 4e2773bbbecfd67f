/**
 * A caller in a real browser with nothing but the browser's own WebTransport and WebCodecs: the page speaks the wire format
 * of docs/webtransport.md by hand, so that it tests the document and not our codec.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { BrowserContext, Page } from "playwright-core";

/** An utterance of the agent, as the page got it. */
export interface PageUtterance {
  readonly header: { readonly item_id: string; readonly start: number };
  readonly frames: number;
  readonly ended: boolean;
  /** Code that its stream was reset with; `null`: it was not. */
  readonly resetCode: number | null;
}

/** What the page knows of its call. */
export interface PageReport {
  readonly events: readonly { readonly type: string; readonly [field: string]: unknown }[];
  readonly utterances: readonly PageUtterance[];
  /** Frames of the caller that were sent. */
  readonly framesSent: number;
  /** Code and reason, once the session is over. */
  readonly closed: { readonly closeCode: number; readonly reason: string } | null;
  /** Milliseconds from `new WebTransport()` to `ready`. */
  readonly readyMs: number;
}

/** A call under way. */
export interface PageCaller {
  readonly page: Page;
  report(): Promise<PageReport>;
  /** Says 48 kHz mono samples, in real time, as a talkspurt of its own; resolves when all is said. */
  say(pcm: Int16Array): Promise<void>;
  /** The agent's speech of one utterance so far, 48 kHz mono. */
  recording(utterance: number): Promise<Int16Array>;
  send(event: unknown): Promise<void>;
  hangUp(): Promise<void>;
}

/** Where a call goes. */
export interface PageTarget {
  /** The server's API. */
  readonly url: string;
  readonly key?: string | undefined;
  /** The session asked for. */
  readonly session?: object;
}

// Plain JavaScript on purpose: it is sent as text.
const PAGE = `<!doctype html><title>a call over WebTransport</title><script>
  const call = { events: [], utterances: [], framesSent: 0, closed: null, talkspurts: 0, clock: 0 };
  const varint = (n) => n < 64 ? [n] : n < 16384 ? [64 | n >> 8, n & 255]
    : n < 2 ** 30 ? [128 | n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255]
    : [192, 0, n / 2 ** 40 & 255, n / 2 ** 32 & 255, n >>> 24, n >> 16 & 255, n >> 8 & 255, n & 255];
  const readVarint = (bytes, at) => {
    if (at >= bytes.length) return;
    const size = 1 << (bytes[at] >> 6);
    if (at + size > bytes.length) return;
    let value = bytes[at] & 63;
    for (let i = 1; i < size; i++) value = value * 256 + bytes[at + i];
    return { value, end: at + size };
  };
  const join = (...parts) => {
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { bytes.set(part, at); at += part.length; }
    return bytes;
  };
  const base64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

  async function readEvents(readable) {
    let kept = new Uint8Array(0);
    for await (const piece of readable) {
      kept = join(kept, piece);
      for (;;) {
        const length = readVarint(kept, 0);
        if (!length || length.end + length.value > kept.length) break;
        const end = length.end + length.value;
        call.events.push(JSON.parse(new TextDecoder().decode(kept.subarray(length.end, end))));
        kept = kept.slice(end);
      }
    }
  }

  async function readUtterance(stream) {
    const utterance = { header: null, frames: 0, ended: false, resetCode: null, pcm: [] };
    call.utterances.push(utterance);
    const decoder = new AudioDecoder({
      output(data) {
        const pcm = new Float32Array(data.numberOfFrames);
        data.copyTo(pcm, { planeIndex: 0, format: "f32-planar" });
        utterance.pcm.push(pcm);
        data.close();
      },
      error: (error) => call.events.push({ type: "page.error", message: String(error) }),
    });
    decoder.configure({ codec: "opus", sampleRate: 48000, numberOfChannels: 1 });
    let kept = new Uint8Array(0);
    try {
      for await (const piece of stream) {
        kept = join(kept, piece);
        if (!utterance.header) {
          const kind = readVarint(kept, 0), size = kind && readVarint(kept, kind.end);
          if (!size || size.end + size.value > kept.length) continue;
          if (kind.value !== 2) throw new Error("not an utterance");
          utterance.header = JSON.parse(new TextDecoder().decode(kept.subarray(size.end, size.end + size.value)));
          kept = kept.slice(size.end + size.value);
        }
        for (;;) {
          const size = readVarint(kept, 0), time = size && readVarint(kept, size.end);
          if (!time || time.end + size.value > kept.length) break;
          const data = kept.slice(time.end, time.end + size.value);
          decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: time.value * 1000 / 48, data }));
          utterance.frames += 1;
          kept = kept.slice(time.end + size.value);
        }
      }
      utterance.ended = true;
      await decoder.flush();
    } catch (error) {
      utterance.resetCode = error.streamErrorCode ?? -1;
    }
  }

  window.placeCall = async (url, key, session) => {
    const headers = { "content-type": "application/json", ...(key ? { authorization: "Bearer " + key } : {}) };
    const body = JSON.stringify({ transport: "webtransport", session });
    const response = await fetch(url + "/v1/realtime/calls", { method: "POST", headers, body });
    if (!response.ok) throw new Error(response.status + " " + await response.text());
    const answer = await response.json();
    const began = performance.now();
    const hashes = answer.certificate_hashes.map((hash) => ({ algorithm: "sha-256", value: base64(hash) }));
    const transport = call.transport = new WebTransport(answer.url, { serverCertificateHashes: hashes });
    await transport.ready;
    call.readyMs = performance.now() - began;
    transport.closed.then((info) => call.closed = info, (error) => call.closed = { closeCode: -1, reason: String(error) });
    const events = await transport.createBidirectionalStream();
    call.writer = events.writable.getWriter();
    call.datagrams = transport.datagrams.writable.getWriter();
    await call.writer.write(Uint8Array.of(0));
    readEvents(events.readable).catch(() => {});
    (async () => { for await (const stream of transport.incomingUnidirectionalStreams) readUtterance(stream); })().catch(() => {});
  };

  window.sendEvent = (event) => {
    const json = new TextEncoder().encode(JSON.stringify(event));
    return call.writer.write(join(varint(json.length), json));
  };

  window.say = async (text) => {
    const bytes = base64(text);
    const pcm = new Int16Array(bytes.buffer);
    const stream = (await call.transport.createUnidirectionalStream()).getWriter();
    stream.write(join([1], varint(call.talkspurts++)));
    const first = call.clock;
    const encoder = new AudioEncoder({
      output(chunk) {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        const time = Math.round(chunk.timestamp * 48 / 1000);
        stream.write(join(varint(packet.length), varint(time), packet));
        call.datagrams.write(join(varint(time), packet));
        call.framesSent += 1;
      },
      error: (error) => call.events.push({ type: "page.error", message: String(error) }),
    });
    encoder.configure({ codec: "opus", sampleRate: 48000, numberOfChannels: 1, bitrate: 32000, opus: { frameDuration: 20000 } });
    const began = performance.now();
    for (let at = 0; at + 960 <= pcm.length; at += 960) {
      const due = began + at / 48;
      if (due > performance.now()) await new Promise((done) => setTimeout(done, due - performance.now()));
      const data = pcm.slice(at, at + 960);
      const timestamp = (first + at) * 1000 / 48;
      const audio = new AudioData({ format: "s16", sampleRate: 48000, numberOfFrames: 960, numberOfChannels: 1, timestamp, data });
      encoder.encode(audio);
      audio.close();
      call.clock = first + at + 960;
    }
    await encoder.flush();
    await stream.close();
  };

  window.takeReport = () => ({
    events: call.events.splice(0),
    utterances: call.utterances.map(({ header, frames, ended, resetCode }) => ({ header, frames, ended, resetCode })),
    framesSent: call.framesSent,
    closed: call.closed,
    readyMs: call.readyMs,
  });
  window.recordingOf = (index) => {
    const pieces = call.utterances[index].pcm;
    const all = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces) for (const sample of piece) all[at++] = Math.max(-1, Math.min(1, sample)) * 32767;
    const bytes = new Uint8Array(all.buffer);
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(text);
  };
  window.hangUp = () => call.transport.close({ closeCode: 0, reason: "goodbye" });
</script>`;

/** Opens a page in `context` and calls; rejects when the call is refused or does not come up. */
export async function placeWebTransportCall(
  context: BrowserContext,
  { url, key, session }: PageTarget,
): Promise<PageCaller> {
  const page = await context.newPage();
  await page.goto(await servePage());
  await page.evaluate(([to, secret, asked]) => (globalThis as unknown as PageSide).placeCall(to!, secret, asked), [
    url,
    key,
    session,
  ] as [string, string | undefined, object | undefined]);
  return {
    page,
    report: () => page.evaluate(() => (globalThis as unknown as PageSide).takeReport()),
    say: (pcm) =>
      page.evaluate(
        (text) => (globalThis as unknown as PageSide).say(text),
        Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).toString("base64"),
      ),
    async recording(utterance) {
      const text = await page.evaluate((index) => (globalThis as unknown as PageSide).recordingOf(index), utterance);
      const bytes = Buffer.from(text, "base64");
      return new Int16Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    },
    send: (event) => page.evaluate((sent) => (globalThis as unknown as PageSide).sendEvent(sent), event),
    async hangUp() {
      if (page.isClosed()) return;
      await page.evaluate(() => (globalThis as unknown as PageSide).hangUp());
      await page.close();
    },
  };
}

let served: Promise<string> | undefined;

/**
 * Where the page is: on a server of its own, because to Chromium a page that the test itself gives is not of this machine, and
 * may not reach it by WebTransport (Local Network Access).
 */
function servePage(): Promise<string> {
  served ??= (async () => {
    const server = createServer((_request, response) => {
      response.writeHead(200, { "content-type": "text/html" }).end(PAGE);
    });
    server.listen(0, "127.0.0.1").unref();
    await once(server, "listening");
    return `http://localhost:${(server.address() as AddressInfo).port}/`;
  })();
  return served;
}

interface PageSide {
  placeCall(url: string, key: string | undefined, session: object | undefined): Promise<void>;
  say(pcm: string): Promise<void>;
  takeReport(): PageReport;
  recordingOf(utterance: number): string;
  sendEvent(event: unknown): Promise<void>;
  hangUp(): void;
}
