/**
 * Stand-ins for DTLS, whose own code has no client here, and SCTP: keys that both ends know, and events in order over an
 * unreliable path by asking again. Everything above and below them is the real thing.
 */
import type { Dtls, DtlsFactory, SrtpKeys } from "../../packages/transceiver/src/webrtc/dtls.ts";
import { CONTENT_TYPE, encodeRecord } from "../../packages/transceiver/src/webrtc/dtls-record.ts";
import type { SctpFactory } from "../../packages/transceiver/src/webrtc/sctp.ts";

const key = (fill: number, size: number) => new Uint8Array(size).fill(fill);

/** The server's keys; the caller's are the same, crossed. */
export const SERVER_KEYS: SrtpKeys = {
  profile: "AEAD_AES_128_GCM",
  localKey: key(1, 16),
  localSalt: key(2, 12),
  remoteKey: key(3, 16),
  remoteSalt: key(4, 12),
};

/** A record of the stand-in: the first of the handshake, its last (in cipher, as DTLS has it), or data. */
export function record(kind: "hello" | "finished" | "data", sequenceNumber: number, fragment: Uint8Array): Buffer {
  const type = kind === "data" ? CONTENT_TYPE.applicationData : CONTENT_TYPE.handshake;
  return encodeRecord({ type, epoch: kind === "hello" ? 0 : 1, sequenceNumber, fragment });
}

/** DTLS that trusts the first record, and answers the last one for as long as it is repeated. */
export const labDtls: DtlsFactory = {
  fingerprint: { algorithm: "sha-256", digest: "00" },
  open: (_now, _fingerprints, sink): Dtls => {
    let [connected, sent] = [false, 0];
    return {
      handleRecord: (_at, { type, fragment }) => {
        if (type === CONTENT_TYPE.applicationData) {
          if (connected) sink.onData(fragment);
          return;
        }
        sink.onPacket(record("hello", 0, Uint8Array.of(1)));
        if (connected) return;
        connected = true;
        sink.onConnected(SERVER_KEYS);
      },
      handleMedia: () => {},
      handleTimeout: () => {},
      pollTimeout: () => undefined,
      send: (data) => sink.onPacket(record("data", ++sent, data)),
      close: () => {},
    };
  },
};

/** SCTP's place in the server. */
export const labSctp: SctpFactory = {
  open: (_now, _options, sink) => {
    const channel = new EventsChannel(sink.onPacket, sink.onText);
    queueMicrotask(() => sink.onOpen());
    return {
      counts: { malformed: 0, binary: 0, tooLong: 0 },
      handlePacket: (_at, packet) => channel.handlePacket(packet),
      handleTimeout: () => {},
      pollTimeout: () => undefined,
      sendText: (_at, text) => {
        channel.send(text);
        return true;
      },
      close: () => channel.close(),
    };
  },
};

const HEADER_SIZE = 6;
const MAX_CHUNK = 1100;
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 2000;
const DATA = 0;
const ACK = 1;

/** Texts in order, in pieces, each sent until it is acknowledged. */
export class EventsChannel {
  readonly #send: (packet: Uint8Array) => void;
  readonly #onText: (text: string) => void;
  readonly #unacknowledged = new Map<number, NodeJS.Timeout>();
  readonly #waiting = new Map<number, Uint8Array>();
  #sent = 0;
  #received = 0;
  #partial: Uint8Array[] = [];

  constructor(send: (packet: Uint8Array) => void, onText: (text: string) => void) {
    this.#send = send;
    this.#onText = onText;
  }

  send(text: string): void {
    const bytes = new TextEncoder().encode(text);
    for (let at = 0; at < bytes.length; at += MAX_CHUNK) {
      const number = this.#sent++;
      const packet = Buffer.concat([
        header(DATA, number, at + MAX_CHUNK >= bytes.length),
        bytes.subarray(at, at + MAX_CHUNK),
      ]);
      this.#transmit(number, packet, FIRST_RETRY_MS);
    }
  }

  handlePacket(packet: Uint8Array): void {
    const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
    const number = view.getUint32(2);
    if (packet[0] === ACK) {
      clearTimeout(this.#unacknowledged.get(number));
      this.#unacknowledged.delete(number);
      return;
    }
    this.#send(header(ACK, number, true));
    if (number >= this.#received) this.#waiting.set(number, packet);
    for (let next = this.#waiting.get(this.#received); next; next = this.#waiting.get(this.#received)) {
      this.#waiting.delete(this.#received++);
      this.#partial.push(next.subarray(HEADER_SIZE));
      if (next[1] === 0) continue;
      const text = Buffer.concat(this.#partial).toString();
      this.#partial = [];
      this.#onText(text);
    }
  }

  close(): void {
    for (const timer of this.#unacknowledged.values()) clearTimeout(timer);
    this.#unacknowledged.clear();
  }

  #transmit(number: number, packet: Uint8Array, retryMs: number): void {
    this.#send(packet);
    const again = () => this.#transmit(number, packet, Math.min(LAST_RETRY_MS, retryMs * 2));
    this.#unacknowledged.set(number, setTimeout(again, retryMs));
  }
}

function header(type: number, number: number, last: boolean): Buffer {
  const bytes = Buffer.alloc(HEADER_SIZE);
  bytes[0] = type;
  bytes[1] = last ? 1 : 0;
  bytes.writeUInt32BE(number, 2);
  return bytes;
}
