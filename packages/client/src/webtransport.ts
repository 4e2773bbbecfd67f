/**
 * The WebTransport channel (docs/webtransport.md): events on one bidirectional stream, a stream per talkspurt up, the newest
 * frame once more as a datagram, a stream per utterance down.
 */
import {
  closeCodes,
  EventDecoder,
  encodeEvent,
  encodeEventsStart,
  encodeFrame,
  encodeFrameDatagram,
  encodeTalkspurtStart,
  KindDecoder,
  streamCodes,
  streamKinds,
  UtteranceDecoder,
  type WebTransportCallAnswer,
} from "@sluice/realtime";
import type { Channel, ChannelListener, SpokenUtterance } from "./buffered.ts";
import type { CapturedFrame } from "./capture/recorder.ts";
import { BadAnswer, ConnectionLost, ServerUnreachable, SessionEnded } from "./errors.ts";
import { postCall } from "./signaling.ts";

/** What a WebTransport session needs to be opened. */
export interface WebTransportOptions {
  readonly callsUrl: URL;
  readonly token: string | undefined;
  /** How far ahead of the ear the server may send. */
  readonly leadMs: number;
  /** Ends the dialling. */
  readonly signal: AbortSignal;
}

/** Answers that were fetched ahead, by what was asked; each opens one session. */
const ahead = new Map<string, Ahead>();

interface Ahead {
  readonly answer: Promise<WebTransportCallAnswer>;
  /** The same once it is there: what it opens is then opened within the click. */
  known: WebTransportCallAnswer | undefined;
  readonly until: number;
}

/** Less than the server's 30 s: the answer travelled, and the session has to be opened yet. */
const AHEAD_MS = 25_000;
const keyOf = ({ callsUrl, token }: Pick<WebTransportOptions, "callsUrl" | "token">) => `${callsUrl} ${token ?? ""}`;

/** Asks for what the next session is opened with, and keeps it for as long as it is good. */
export async function prepareWebTransport(options: Omit<WebTransportOptions, "signal">): Promise<void> {
  const answer = ask({ ...options, signal: new AbortController().signal });
  ahead.clear(); // one page, one server: nothing heaps up
  const fetched: Ahead = { answer, known: undefined, until: performance.now() + AHEAD_MS };
  ahead.set(keyOf(options), fetched);
  fetched.known = await answer;
}

async function ask({ callsUrl, token, leadMs, signal }: WebTransportOptions): Promise<WebTransportCallAnswer> {
  const text = JSON.stringify({ transport: "webtransport", lead_ms: leadMs, events: "server" });
  const response = await postCall(callsUrl, token, { type: "application/json", text }, signal);
  const answer = (await response.json().catch(() => undefined)) as Partial<WebTransportCallAnswer> | undefined;
  if (typeof answer?.url !== "string" || !Array.isArray(answer.certificate_hashes)) {
    throw new BadAnswer(`${callsUrl.origin} offers no WebTransport`);
  }
  return answer as WebTransportCallAnswer;
}

/** More waits in the recorder, not in the stack. */
const MAX_UNSENT = 1024 * 1024;

/** More frames at once are a backlog, which needs a while to get through. */
const BACKLOG = 5;
const BACKLOG_MS = 500;

/** Frames of one write where the path is narrow: what each packet costs on top, 45 bytes, would be as much as a frame. */
const NARROW_FRAMES = 3;

/** A connection over WebTransport. */
export class WebTransportChannel implements Channel {
  readonly kind = "webtransport";
  readonly frames = true;
  readonly #options: WebTransportOptions;
  readonly #listener: ChannelListener;
  #session: WebTransport | undefined;
  #events: Outgoing | undefined;
  #talkspurt: Outgoing | undefined;
  #datagrams: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #talkspurts = 0;
  #backlogUntil = 0;
  #isNarrow = false;
  #hasRoom = false;
  #queued: string[] = [];
  #closed = false;
  #hangUp: (() => void) | undefined;
  received = 0;
  sent = 0;

  constructor(options: WebTransportOptions, listener: ChannelListener) {
    this.#options = options;
    this.#listener = listener;
  }

  async dial(): Promise<void> {
    const { signal } = this.#options;
    const key = keyOf(this.#options);
    const fetched = ahead.get(key);
    ahead.delete(key);
    const isFresh = fetched !== undefined && performance.now() < fetched.until;
    // One that failed, or that the server no longer knows, is as good as none.
    const early = isFresh ? await this.#openFetched(fetched).catch(() => undefined) : undefined;
    signal.throwIfAborted();
    const opened = early ?? (await this.#open(await ask(this.#options)));
    signal.throwIfAborted();
    if (!opened) return;
    const { session, answer } = opened;
    session.closed.then(
      (info) => this.#handleClosed(info.closeCode ?? 0, info.reason ?? ""),
      (cause) => this.#handleLost(cause),
    );
    const isTheirs = answer.events === "server";
    const stream = isTheirs
      ? await firstOf(session.incomingBidirectionalStreams)
      : await session.createBidirectionalStream();
    this.#events = new Outgoing(stream.writable, (bytes) => this.#count(bytes));
    if (!isTheirs) this.#events.write(encodeEventsStart());
    for (const text of this.#queued.splice(0)) this.send(text);
    this.#datagrams = session.datagrams.writable.getWriter();
    this.#hangUp = () => session.close({ closeCode: closeCodes.ended, reason: "" });
    // Streams break when the session is closed; `closed` tells why.
    this.#readEvents(stream.readable, isTheirs).catch(() => undefined);
    this.#readUtterances(session.incomingUnidirectionalStreams).catch(() => undefined);
  }

  #openFetched({ known, answer }: Ahead) {
    return known ? this.#open(known) : answer.then((it) => this.#open(it));
  }

  async #open(answer: WebTransportCallAnswer) {
    this.#options.signal.throwIfAborted();
    if (this.#closed) return undefined;
    const hashes = answer.certificate_hashes.map((hash) => ({
      algorithm: "sha-256",
      value: Uint8Array.from(atob(hash), (char) => char.charCodeAt(0)),
    }));
    const session = new WebTransport(answer.url, {
      requireUnreliable: true,
      ...(hashes.length > 0 && { serverCertificateHashes: hashes }),
    });
    this.#session = session;
    session.closed.catch(() => undefined);
    try {
      await session.ready;
    } catch (cause) {
      throw new ServerUnreachable(`no QUIC to ${new URL(answer.url).host}`, { cause });
    }
    return { session, answer };
  }

  send(text: string): void {
    if (this.#closed) return;
    if (this.#events) this.#events.write(encodeEvent(text));
    else this.#queued.push(text);
  }

  sendFrames(frames: readonly CapturedFrame[]): boolean {
    const session = this.#session;
    if (this.#closed || !session || !this.#events || (this.#talkspurt?.unsent ?? 0) > MAX_UNSENT) return false;
    // They come again with the next one. Where voice begins nothing waits.
    if (this.#isNarrow && frames.length < NARROW_FRAMES && !frames.some(({ begins }) => begins)) return false;
    // Written in one turn they gather to one write, and travel in one packet.
    for (const frame of frames) {
      if (frame.begins || !this.#talkspurt) {
        this.#talkspurt?.finish();
        this.#talkspurt = new Outgoing(session.createUnidirectionalStream(), (bytes) => this.#count(bytes));
        this.#talkspurt.write(encodeTalkspurtStart(this.#talkspurts++));
      }
      this.#talkspurt.write(encodeFrame(frame));
    }
    if (this.#hasRoom) this.#sendNewest(frames);
    return true;
  }

  fit({ narrow, datagrams }: { readonly narrow: boolean; readonly datagrams: boolean }): void {
    this.#isNarrow = narrow;
    this.#hasRoom = datagrams;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#hangUp) this.#hangUp();
    else
      this.#session?.ready.then(
        () => this.#session?.close(),
        () => undefined,
      );
  }

  /** The newest frame once more, for voice activity: it is not held up by a lost one before it. */
  #sendNewest(frames: readonly CapturedFrame[]): void {
    const now = performance.now();
    // A datagram that overtook what was said before the connection was up would have it taken for the past.
    if (frames.length > BACKLOG) this.#backlogUntil = now + BACKLOG_MS;
    const newest = frames.at(-1);
    if (!newest || newest.packet.length === 0 || now < this.#backlogUntil) return;
    const datagram = encodeFrameDatagram(newest);
    this.#count(datagram.length);
    this.#datagrams?.write(datagram).catch(() => undefined);
  }

  #count(bytes: number): void {
    this.sent += bytes;
  }

  async #readEvents(readable: ReadableStream<Uint8Array>, saysKind: boolean): Promise<void> {
    const decoder = new EventDecoder();
    let kind = saysKind ? new KindDecoder() : undefined;
    for await (const bytes of pieces(readable)) {
      if (this.#closed) return;
      this.received += bytes.length;
      const start = kind ? kind.push(bytes) : { kind: streamKinds.events, rest: bytes };
      if (!start) continue;
      kind = undefined;
      const events = start.kind === streamKinds.events ? decoder.push(start.rest) : undefined;
      if (!events) return this.#break("the server broke the wire format");
      for (const event of events) this.#listener.onMessage(event);
    }
  }

  async #readUtterances(streams: ReadableStream<ReadableStream<Uint8Array>>): Promise<void> {
    for await (const stream of pieces(streams)) {
      if (this.#closed) return;
      // One that is reset, or breaks the format, is told by #readUtterance itself.
      this.#readUtterance(stream).catch(() => undefined);
    }
  }

  async #readUtterance(stream: ReadableStream<Uint8Array>): Promise<void> {
    const kind = new KindDecoder();
    const decoder = new UtteranceDecoder();
    let known = false;
    let utterance: SpokenUtterance | undefined;
    const reader = stream.getReader();
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (this.#closed) return;
        if (done) break;
        this.received += value.length;
        let bytes = value;
        if (!known) {
          const start = kind.push(bytes);
          if (!start) continue;
          if (start.kind !== streamKinds.utterance) return void (await reader.cancel(unknownKind()));
          known = true;
          bytes = start.rest as Uint8Array<ArrayBuffer>;
        }
        const piece = decoder.push(bytes);
        if (!piece) return this.#break("the server broke the wire format");
        if (piece.header) utterance = { responseId: piece.header.response_id, itemId: piece.header.item_id };
        if (utterance && piece.frames.length > 0) this.#listener.onFrames(utterance, piece.frames);
      }
      if (utterance) this.#listener.onFinished(utterance);
    } catch (cause) {
      // A reset by the server means that it is void; a session that dies, that the rest comes over the next.
      const reset = typeof WebTransportError !== "undefined" && cause instanceof WebTransportError;
      if (utterance && reset && cause.source === "stream" && !this.#closed) this.#listener.onReset(utterance);
    }
  }

  #break(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#session?.close({ closeCode: closeCodes.broken, reason });
    this.#listener.onClosed(new BadAnswer(reason), false);
  }

  #handleClosed(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    // A server's last event may be lost with its stream: the reason stands in. The conversations of one that goes away end
    // with it, since nobody else has them.
    if (code === closeCodes.ended || code === closeCodes.draining) {
      this.#listener.onClosed(reason === "" ? undefined : new SessionEnded(reason), false);
    } else {
      const words = reason || `the session was closed with code ${code}`;
      this.#listener.onClosed(new ConnectionLost(words), code !== closeCodes.broken);
    }
  }

  #handleLost(cause: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.onClosed(new ConnectionLost("the WebTransport session was lost", { cause }), true);
  }
}

/** A stream that is written in order, from before it is open. */
class Outgoing {
  #chain: Promise<WritableStreamDefaultWriter<Uint8Array> | undefined>;
  readonly #onSent: (bytes: number) => void;
  #waiting: Uint8Array[] = [];
  /** Bytes that were given and not taken. */
  unsent = 0;

  constructor(
    stream: WritableStream<Uint8Array> | Promise<WritableStream<Uint8Array>>,
    onSent: (bytes: number) => void,
  ) {
    this.#onSent = onSent;
    this.#chain = Promise.resolve(stream).then(
      (it) => it.getWriter(),
      () => undefined, // the session is gone, which tells so itself
    );
  }

  write(bytes: Uint8Array): void {
    this.unsent += bytes.length;
    // What gathers while a write is under way goes with the next, or a busy page would fall behind by a turn each.
    if (this.#waiting.push(bytes) > 1) return;
    this.#then(async (writer) => {
      const whole = join(this.#waiting.splice(0));
      await writer.write(whole);
      this.unsent -= whole.length;
      this.#onSent(whole.length);
    });
  }

  finish(): void {
    this.#then((writer) => writer.close());
  }

  #then(work: (writer: WritableStreamDefaultWriter<Uint8Array>) => Promise<void>): void {
    this.#chain = this.#chain.then(async (writer) => {
      try {
        if (writer) await work(writer);
        return writer;
      } catch {
        return undefined; // stopped by the server, or the session is gone
      } finally {
        if (!writer) this.#waiting = [];
      }
    });
  }
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

// Not `for await` on the stream itself: Safari and older Chromium have no async iterator there.
async function* pieces<Piece>(stream: ReadableStream<Piece>): AsyncGenerator<Piece> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.releaseLock();
  }
}

/** The first of them; what comes after it is nobody's. */
async function firstOf<Piece>(stream: ReadableStream<Piece>): Promise<Piece> {
  for await (const piece of pieces(stream)) return piece;
  throw new ConnectionLost("the session ended before it began");
}

/** What refuses a stream of a kind that nobody knows. */
function unknownKind(): unknown {
  return typeof WebTransportError === "undefined"
    ? undefined
    : new WebTransportError("unknown kind", { streamErrorCode: streamCodes.unknownKind } as WebTransportErrorOptions);
}
