/** WebSockets: completes judged handshakes with `ws` and drives one {@link WebSocketLink} each. Does I/O, decides nothing. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { LinkListener, Milli } from "@sluice/conversation";
import { AUDIO_SUBPROTOCOL } from "@sluice/realtime";
import { type RawData, type WebSocket, WebSocketServer } from "ws";
import type { OpusCodec } from "../media/opus.ts";
import { SUBPROTOCOL } from "../signaling/handshake.ts";
import {
  type Socket,
  type WebSocketCodecs,
  type WebSocketCounters,
  WebSocketLink,
  type WebSocketLinkLimits,
  webSocketLinkDefaults,
} from "../websocket/link.ts";

/** Bytes of one message, at most: 15 MiB of audio and its envelope. */
const MAX_MESSAGE_SIZE = 16 * 1024 * 1024;
/** How often links look at their clocks. One timer serves all. */
const TICK_MS = 1000;
// RFC 6455, section 5.5: a control frame holds 125 bytes, two of them the code.
const MAX_REASON_SIZE = 123;

/** Settings of {@link WebSockets}. */
export interface WebSocketsOptions {
  /** Monotonic clock. */
  readonly now: () => Milli;
  readonly createEventId: () => string;
  readonly counters: WebSocketCounters;
  readonly limits?: Partial<WebSocketLinkLimits> | undefined;
  /** Present: audio in binary messages for clients that offer it. */
  readonly opus?: OpusCodec | undefined;
}

/** The open WebSockets of one server. */
export class WebSockets {
  readonly #options: WebSocketsOptions;
  readonly #limits: WebSocketLinkLimits;
  readonly #server: WebSocketServer;
  readonly #open = new Map<WebSocketLink, WebSocket>();
  readonly #emptied: (() => void)[] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(options: WebSocketsOptions) {
    this.#options = options;
    this.#limits = { ...webSocketLinkDefaults, ...options.limits };
    const server = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: MAX_MESSAGE_SIZE,
      closeTimeout: 5000, // not in the types yet
      handleProtocols: (offered: Set<string>) =>
        [...(options.opus ? [AUDIO_SUBPROTOCOL] : []), SUBPROTOCOL].find((one) => offered.has(one)) ?? (false as const),
    };
    this.#server = new WebSocketServer(server);
    this.#timer = setInterval(() => this.#tick(), Math.min(TICK_MS, this.#limits.pingMs));
    this.#timer.unref();
  }

  /** WebSockets open now. */
  get size(): number {
    return this.#open.size;
  }

  /** Completes the handshake and gives the link to `accept`, which may refuse by throwing. */
  open(
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
    accept: (link: WebSocketLink) => LinkListener,
    onError: (error: unknown) => void,
  ): void {
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const { opus } = this.#options;
      if (!opus || webSocket.protocol !== AUDIO_SUBPROTOCOL) return this.#drive(webSocket, socket, accept, onError);
      // Nothing is lost meanwhile: what comes waits in the paused socket.
      webSocket.pause();
      Promise.all([opus.createEncoder(), opus.createDecoder()]).then(
        ([encoder, decoder]) => {
          this.#drive(webSocket, socket, accept, onError, { encoder, decoder });
          webSocket.resume();
        },
        (error) => {
          onError(error);
          webSocket.terminate();
        },
      );
    });
  }

  /** Takes no more, and says goodbye to what is open; resolves when all of it is closed. */
  async close(reason: string): Promise<void> {
    this.#server.close();
    for (const link of [...this.#open.keys()]) link.close(reason);
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#emptied.push(resolve));
    clearInterval(this.#timer);
  }

  /** Drops what is still open. */
  terminate(): void {
    for (const webSocket of this.#open.values()) webSocket.terminate();
  }

  #drive(
    webSocket: WebSocket,
    stream: Duplex,
    accept: (link: WebSocketLink) => LinkListener,
    onError: (error: unknown) => void,
    coders?: Pick<WebSocketCodecs, "encoder" | "decoder">,
  ): void {
    const { now, counters, createEventId } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const arm = () => {
      clearTimeout(timer);
      const at = link.pollTimeout();
      if (at === undefined || webSocket.readyState === webSocket.CLOSED) return;
      timer = setTimeout(
        () => {
          contain(() => link.handleTimeout(now()));
          arm();
        },
        Math.max(0, Math.ceil(at - now())),
      );
    };
    const codecs = coders && { ...coders, now, onInput: arm };
    const link = new WebSocketLink(now(), wrap(webSocket, stream), {
      limits: this.#limits,
      counters,
      createEventId,
      codecs,
    });
    this.#open.set(link, webSocket);
    // A listener that throws is a bug of ours: it costs this client its socket and nobody else theirs.
    const contain = (input: () => void) => {
      try {
        input();
      } catch (error) {
        onError(error);
        webSocket.close(1011, "the server had an error");
      }
    };
    webSocket.on("message", (data, isBinary) =>
      contain(() => (isBinary ? link.handleBinary(now(), bytesOf(data)) : link.handleText(now(), String(data)))),
    );
    webSocket.on("ping", () => link.handleSign(now()));
    webSocket.on("pong", () => link.handleSign(now()));
    // ws closes by itself after an error: 1002, 1007 or 1009, by what was wrong with the frame.
    webSocket.on("error", () => {});
    webSocket.on("close", (code) => {
      this.#open.delete(link);
      contain(() => link.handleClosed(now(), code));
      clearTimeout(timer);
      if (this.#open.size === 0) for (const resolve of this.#emptied.splice(0)) resolve();
    });
    contain(() => link.start(now(), accept(link)));
  }

  #tick(): void {
    const now = this.#options.now();
    for (const link of this.#open.keys()) link.handleTick(now);
  }
}

/**
 * What is sent in one go leaves in one go: a turn's end makes five events, the first sound as many, and each would be a call of
 * the system of its own, with the far end woken in the middle of it, before the engines that wait for us are asked.
 */
function wrap(webSocket: WebSocket, stream: Duplex): Socket {
  let held = false;
  const flush = () => {
    if (held) stream.uncork();
    held = false;
  };
  return {
    get bufferedAmount() {
      return webSocket.bufferedAmount;
    },
    send(data) {
      if (webSocket.readyState !== webSocket.OPEN) return;
      if (!held) {
        held = true;
        stream.cork();
        // Once all promises of this moment have run, wherever it came from: a tick alone would come before them after a packet.
        queueMicrotask(() => process.nextTick(flush));
      }
      // A failed send is followed by a close, which is what is acted upon.
      webSocket.send(data, () => {});
    },
    flush,
    ping() {
      if (webSocket.readyState === webSocket.OPEN) webSocket.ping("", undefined, () => {});
    },
    close(code, reason) {
      let bytes = Buffer.from(reason);
      if (bytes.length > MAX_REASON_SIZE) bytes = Buffer.from(bytes.toString("ascii", 0, MAX_REASON_SIZE));
      webSocket.close(code, bytes);
    },
    terminate: () => webSocket.terminate(),
  };
}

function bytesOf(data: RawData): Uint8Array {
  if (Array.isArray(data)) return Buffer.concat(data);
  return data instanceof ArrayBuffer ? new Uint8Array(data) : data;
}
