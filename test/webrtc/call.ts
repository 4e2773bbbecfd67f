/**
 * Calls for tests: a server of ours and a node-datachannel client, with a UDP proxy between them that sees every
 * datagram, sends what the client never sent from the client's own address, and can move to another address.
 */
import { createHash, randomBytes } from "node:crypto";
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { AudioOrigin, Link, LinkListener } from "@sluice/conversation";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { loadOpus, serveWebRtc, type WebRtcServer, type WebRtcServerOptions } from "@sluice/transceiver";
import ndc from "node-datachannel";
import { pino } from "pino";

const OPUS_SILENCE = Buffer.of(0xf8, 0xff, 0xfe); // 20 ms

/** A server on loopback, at any port. */
export async function openServer(options: Partial<WebRtcServerOptions> = {}): Promise<WebRtcServer> {
  return serveWebRtc({
    udpPort: 0,
    host: "127.0.0.1",
    keyRing: createKeyRing([generateKey(randomBytes)]),
    serverId: createServerId(0, 1),
    opus: await loadOpus(),
    now: () => performance.now(),
    log: pino({ level: "silent" }),
    ...options,
  });
}

/** What the server's end of a call heard and said. */
export interface ServerEnd {
  link: Link | undefined;
  opened: boolean;
  closed: string | undefined;
  readonly messages: string[];
  /** Pieces of audio by how they came to be. */
  readonly origins: Partial<Record<AudioOrigin, number>>;
}

/** A listener that echoes every message as an event. */
export function echo(end: ServerEnd): (link: Link) => LinkListener {
  return (link) => {
    end.link = link;
    return {
      onOpen: () => {
        end.opened = true;
      },
      onMessage: (_now, text) => {
        end.messages.push(text);
        link.sendEvent({ type: "echo", size: text.length, hash: hashOf(text) } as { type: string });
      },
      onEarlyAudio: () => {},
      onOrderedAudio: (_now, { origin }) => {
        end.origins[origin] = (end.origins[origin] ?? 0) + 1;
      },
      onSent: () => {},
      onUtteranceEnded: () => {},
      onClosed: (_now, reason) => {
        end.closed = reason;
      },
    };
  };
}

/** How to make a {@link Call}. */
export interface CallOptions {
  /** Changes the client's offer before the server sees it. */
  readonly editOffer?: (sdp: string) => string;
  /** Do not wait for the data channel. */
  readonly impatient?: boolean;
}

/** Sits between client and server; the server knows the client by `upstream`'s address. */
export class UdpProxy {
  readonly toServer: Buffer[] = [];
  readonly toClient: Buffer[] = [];
  readonly #client: Socket;
  readonly #serverPort: number;
  #upstream: Socket;
  #clientAddress: RemoteInfo | undefined;
  /** Whether a datagram may pass to the server. */
  passes: (datagram: Buffer) => boolean = () => true;

  private constructor(client: Socket, upstream: Socket, serverPort: number) {
    this.#client = client;
    this.#upstream = upstream;
    this.#serverPort = serverPort;
    client.on("message", (datagram, from) => {
      this.#clientAddress = from;
      if (!this.passes(datagram)) return;
      this.toServer.push(datagram);
      this.inject(datagram);
    });
    this.#listen(upstream);
  }

  static async open(serverPort: number): Promise<UdpProxy> {
    const [client, upstream] = await Promise.all([openSocket(), openSocket()]);
    return new UdpProxy(client, upstream, serverPort);
  }

  /** Where clients send to. */
  get port(): number {
    return this.#client.address().port;
  }

  /** Sends to the server as if the client had. */
  inject(datagram: Uint8Array): void {
    this.#upstream.send(datagram, this.#serverPort, "127.0.0.1", () => {});
  }

  /** Moves the client to another address, as a NAT does that forgot it. */
  async rebind(): Promise<void> {
    const old = this.#upstream;
    this.#upstream = await openSocket();
    this.#listen(this.#upstream);
    old.close();
  }

  close(): void {
    this.#client.close();
    this.#upstream.close();
    this.toServer.length = 0;
    this.toClient.length = 0;
  }

  #listen(socket: Socket): void {
    socket.on("message", (datagram) => {
      if (socket !== this.#upstream) return;
      this.toClient.push(datagram);
      if (this.#clientAddress) this.#client.send(datagram, this.#clientAddress.port, "127.0.0.1", () => {});
    });
  }
}

/** A call under way, seen from the client. */
export class Call {
  readonly server: ServerEnd = { link: undefined, opened: false, closed: undefined, messages: [], origins: {} };
  readonly events: { type: string; size?: number; hash?: string }[] = [];
  callId = "";
  answer = "";
  received = 0; // RTP packets
  readonly proxy: UdpProxy;
  readonly #peer: ndc.PeerConnection;
  readonly #channel: ndc.DataChannel;
  readonly #track: ndc.Track;
  #sequenceNumber = 1;

  private constructor(proxy: UdpProxy) {
    this.proxy = proxy;
    this.#peer = new ndc.PeerConnection("client", { iceServers: [], bindAddress: "127.0.0.1" });
    const audio = new ndc.Audio("0", "SendRecv");
    audio.addOpusCodec(111);
    audio.addSSRC(0x1234, "client");
    this.#track = this.#peer.addTrack(audio);
    this.#track.onMessage(() => {
      this.received += 1;
    });
    this.#channel = this.#peer.createDataChannel("oai-events");
    this.#channel.onMessage((message) => this.events.push(JSON.parse(String(message))));
  }

  static async open(server: WebRtcServer, options: CallOptions = {}): Promise<Call> {
    const call = new Call(await UdpProxy.open(server.udpPort));
    call.#peer.setLocalDescription();
    const offer = call.#peer.localDescription()!.sdp;
    try {
      Object.assign(call, await server.answer(options.editOffer?.(offer) ?? offer, echo(call.server)));
    } catch (error) {
      call.#free();
      throw error;
    }
    call.#peer.setRemoteDescription(
      call.answer.replaceAll(` ${server.udpPort} `, ` ${call.proxy.port} `),
      "answer" as never,
    );
    if (!options.impatient) {
      await until("the data channel opens", () => call.#channel.isOpen() && call.server.opened);
    }
    return call;
  }

  /** Our ICE credentials, as the answer tells them. */
  get ice(): { ufrag: string; password: string } {
    const value = (name: string) => this.answer.match(new RegExp(`a=${name}:(.*)\r`))![1]!;
    return { ufrag: value("ice-ufrag"), password: value("ice-pwd") };
  }

  /** Sends a text message. */
  send(text: string): void {
    this.#channel.sendMessage(text);
  }

  /** Sends `count` packets of 20 ms. */
  speak(count: number): void {
    for (let i = 0; i < count; i++) {
      const packet = Buffer.alloc(12 + OPUS_SILENCE.length);
      packet.writeUInt16BE(0x806f, 0);
      packet.writeUInt16BE(this.#sequenceNumber, 2);
      packet.writeUInt32BE(this.#sequenceNumber * 960, 4);
      packet.writeUInt32BE(0x1234, 8);
      OPUS_SILENCE.copy(packet, 12);
      this.#sequenceNumber += 1;
      this.#track.sendMessageBinary(packet);
    }
  }

  /** Sends 50 messages and 50 packets of audio, and waits until all are there and echoed. */
  async exchange(): Promise<void> {
    const events = this.events.length;
    const heard = this.heard;
    for (let i = 0; i < 50; i++) this.send(`message ${i}`);
    this.speak(50);
    await until("50 messages are echoed", () => this.events.length >= events + 50);
    await until("50 packets are heard", () => this.heard >= heard + 50);
  }

  /** Pieces of audio that the conversation got. */
  get heard(): number {
    return Object.values(this.server.origins).reduce((sum, count) => sum + count, 0);
  }

  /** Hangs up, and waits until the server knows. */
  async close(): Promise<void> {
    this.#peer.close();
    await until("the server knows of the end", () => this.server.closed !== undefined);
    this.#free();
  }

  /** node-datachannel never lets go of its callbacks, nor so of this call: it must not hold on to the server. */
  #free(): void {
    this.#peer.close();
    this.proxy.close();
    this.server.link = undefined;
    this.events.length = 0;
  }
}

/** A short name of `text`. */
export function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** A socket on loopback. */
export async function openSocket(): Promise<Socket> {
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 * 1024 * 1024 });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}

/** Waits until `done`, 15 s at most. */
export async function until(what: string, done: () => boolean, limitMs = 15_000): Promise<void> {
  const end = performance.now() + limitMs;
  while (!done()) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(5);
  }
}

/** Lets node-datachannel's threads end; to be called after the last call. */
export function endClients(): void {
  ndc.cleanup();
}
