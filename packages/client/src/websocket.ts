/**
 * The WebSocket channel (docs/websocket.md): events as text, frames in binary messages where the server takes
 * `sluice-opus.v1`, else base64 in events. One TCP stream: it works where UDP does not.
 */
import { AUDIO_SUBPROTOCOL, decodeAudioMessage, encodeTalkMessage } from "@sluice/realtime";
import type { Channel, ChannelListener, SpokenUtterance } from "./buffered.ts";
import type { CapturedFrame } from "./capture/recorder.ts";
import { ConnectionLost, ServerUnreachable } from "./errors.ts";

/** What a WebSocket needs to be opened. */
export interface WebSocketOptions {
  /** `ws:` or `wss:` address of `/v1/realtime`. */
  readonly url: URL;
  readonly token: string | undefined;
  /** Whether to offer audio in binary messages. */
  readonly audio: boolean;
}

const MAX_QUEUED_EVENTS = 1_000;
/** Frames of one message: a server takes half a minute. */
const MAX_FRAMES = 1_000;
/** More waits in the recorder, not in the socket. */
const MAX_BUFFERED = 1024 * 1024;

/** A connection over WebSocket. */
export class WebSocketChannel implements Channel {
  readonly kind = "websocket";
  readonly #options: WebSocketOptions;
  readonly #listener: ChannelListener;
  #socket: WebSocket | undefined;
  #queued: string[] = [];
  #utterance: SpokenUtterance | undefined;
  #closed = false;
  received = 0;
  sent = 0;

  constructor(options: WebSocketOptions, listener: ChannelListener) {
    this.#options = options;
    this.#listener = listener;
  }

  get frames(): boolean {
    return this.#socket?.protocol === AUDIO_SUBPROTOCOL;
  }

  dial(): Promise<void> {
    const { url, token, audio } = this.#options;
    // The key is a subprotocol because browsers send no headers with a WebSocket; no server echoes it.
    const key = token === undefined ? [] : [`openai-insecure-api-key.${token}`];
    const socket = new WebSocket(url, [...(audio ? [AUDIO_SUBPROTOCOL] : []), "realtime", ...key]);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(data);
    return new Promise((resolve, reject) => {
      let opened = false;
      socket.onopen = () => {
        opened = true;
        for (const text of this.#queued.splice(0)) this.send(text);
        resolve();
      };
      socket.onclose = ({ code, reason }) => {
        if (opened) return this.#handleClosed(code, reason);
        this.#closed = true;
        // A handshake that was refused says no more than this: browsers hide the status.
        reject(new ServerUnreachable(`no WebSocket to ${url.origin}`));
      };
    });
  }

  send(text: string): void {
    const socket = this.#socket;
    if (this.#closed) return;
    if (socket?.readyState === 1) {
      this.sent += text.length;
      socket.send(text);
    } else if (!socket || socket.readyState === 0) {
      if (this.#queued.length < MAX_QUEUED_EVENTS) this.#queued.push(text);
    }
  }

  sendFrames(frames: readonly CapturedFrame[]): boolean {
    const socket = this.#socket;
    if (this.#closed || socket?.readyState !== 1 || socket.bufferedAmount > MAX_BUFFERED) return false;
    for (let at = 0; at < frames.length; at += MAX_FRAMES) {
      const message = encodeTalkMessage(frames.slice(at, at + MAX_FRAMES));
      this.sent += message.length;
      socket.send(message as Uint8Array<ArrayBuffer>);
    }
    return true;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#socket?.close(1000);
  }

  #receive(data: unknown): void {
    if (this.#closed) return;
    if (typeof data === "string") {
      this.received += data.length;
      this.#listener.onMessage(data);
      return;
    }
    const bytes = new Uint8Array(data as ArrayBuffer);
    this.received += bytes.length;
    const message = decodeAudioMessage(bytes);
    if (message?.kind === "utterance") {
      this.#utterance = { responseId: message.header.response_id, itemId: message.header.item_id };
    } else if (message && this.#utterance) {
      if (message.kind === "more") this.#listener.onFrames(this.#utterance, message.frames);
      else if (message.kind === "finished") this.#listener.onFinished(this.#utterance);
      else this.#listener.onReset(this.#utterance);
    }
  }

  #handleClosed(code: number, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    // 1001: the server is going; 1000: it hung up. Both were meant.
    if (code === 1000 || code === 1001) this.#listener.onClosed(undefined, false);
    else this.#listener.onClosed(new ConnectionLost(reason || `the WebSocket was lost (${code})`), true);
  }
}
