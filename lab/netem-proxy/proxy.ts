/**
 * A bad network as a UDP proxy: clients send to it instead of to the server, and each client reaches the server from a
 * socket of its own. Impairments are those of `@sluice/netem`, seeded; an address change is another socket.
 */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { performance } from "node:perf_hooks";
import { type Address, type Impairments, Link, type LinkStats, type NetworkProfile } from "@sluice/netem";

/** Settings of a proxy. */
export interface NetemProxyOptions {
  /** Where clients send to; port 0 takes any. */
  readonly listen: Address;
  /** The server. */
  readonly target: Address;
  /** Decides every random event. */
  readonly seed: number;
  /** What befalls packets to the server. Default: nothing. */
  readonly up?: Impairments;
  /** What befalls packets to clients. Default: nothing. */
  readonly down?: Impairments;
  /** Local address that the server sees. Default: the one of `listen`. */
  readonly outer?: string;
  /** How often every client gets a new source port. Default: never. */
  readonly rebindEveryMs?: number;
  /** Told of every packet as it is handed to the client at `inner`. */
  readonly onDelivered?: (packet: Uint8Array, inner: Address) => void;
  /** Told of every packet as it comes, and whether the network lost it. */
  readonly onTaken?: (direction: "up" | "down", packet: Uint8Array, isLost: boolean) => void;
}

interface Client {
  readonly inner: Address;
  socket: Socket;
}

const MAX_CLIENTS = 4096;
const OLD_SOCKET_MS = 60_000;

/** A running proxy. */
export class NetemProxy {
  readonly #socket: Socket;
  readonly #clients = new Map<string, Client>();
  readonly #retired = new Set<Socket>();
  readonly #up: Link<Client>;
  readonly #down: Link<Client>;
  readonly #onDelivered: NetemProxyOptions["onDelivered"];
  readonly #onTaken: NetemProxyOptions["onTaken"];
  #outer: string;
  #target: Address;
  #timer: NodeJS.Timeout | undefined;
  #rebinding: NodeJS.Timeout | undefined;
  #sendErrors = 0;
  #darkUntil = 0;

  /** Starts a proxy. */
  static async open(options: NetemProxyOptions): Promise<NetemProxy> {
    const proxy = new NetemProxy(options);
    const listening = once(proxy.#socket, "listening"); // first: our lookup is synchronous, and so is the event
    proxy.#socket.bind(options.listen.port, options.listen.address);
    await listening;
    return proxy;
  }

  private constructor(options: NetemProxyOptions) {
    this.#outer = options.outer ?? options.listen.address;
    this.#target = options.target;
    this.#onDelivered = options.onDelivered;
    this.#onTaken = options.onTaken;
    this.#up = new Link(options.up ?? {}, options.seed, options.seed);
    this.#down = new Link(options.down ?? {}, options.seed ^ 0x5bd1e995, options.seed);
    if (options.rebindEveryMs) this.#rebinding = setInterval(() => this.rebind(), options.rebindEveryMs);
    this.#socket = createUdpSocket(options.listen.address);
    this.#socket.on("message", (packet, { address, port }) => {
      const client = this.#clientAt({ address, port });
      if (!client || this.#swallows(this.#up)) return;
      this.#take("up", packet, client);
    });
  }

  /** The port that clients send to. */
  get port(): number {
    return this.#socket.address().port;
  }

  /** What became of packets in each direction. */
  get stats(): { readonly up: LinkStats; readonly down: LinkStats; readonly sendErrors: number } {
    return { up: this.#up.stats, down: this.#down.stats, sendErrors: this.#sendErrors };
  }

  /** Changes what befalls packets from now on; a direction that is not given stays as it is. */
  impair({ up, down }: { readonly up?: Impairments; readonly down?: Impairments }): void {
    if (up) this.#up.impair(up);
    if (down) this.#down.impair(down);
  }

  /** Makes the network that of `profile` from now on. */
  become({ up, down, rebindEveryMs }: NetworkProfile): void {
    this.impair({ up, down });
    clearInterval(this.#rebinding);
    this.#rebinding = rebindEveryMs === undefined ? undefined : setInterval(() => this.rebind(), rebindEveryMs);
  }

  /** Gives every client a new source port, as a NAT does that lost its state: what comes to the old ones is lost. */
  rebind(): void {
    for (const client of this.#clients.values()) this.#replaceSocket(client);
  }

  /** Swallows what is sent within the next `ms`, both ways; what is under way arrives. */
  blackout(ms: number): void {
    this.#darkUntil = performance.now() + ms;
  }

  /** Moves every client behind another local address, such as 127.0.0.2, as a change from Wi-Fi to cellular does. */
  changePath(outer: string): void {
    this.#outer = outer;
    this.rebind();
  }

  /** Sends to another server address from now on, such as another relay, from the same sockets. */
  retarget(target: Address): void {
    this.#target = target;
  }

  /** Ends the proxy. */
  close(): void {
    clearTimeout(this.#timer);
    clearInterval(this.#rebinding);
    this.#socket.close();
    for (const { socket } of this.#clients.values()) socket.close();
    for (const socket of this.#retired) socket.close();
    this.#clients.clear();
    this.#retired.clear();
  }

  #clientAt(inner: Address): Client | undefined {
    const key = `${inner.address}:${inner.port}`;
    let client = this.#clients.get(key);
    if (!client && this.#clients.size < MAX_CLIENTS) {
      const created: Client = { inner, socket: createUdpSocket(this.#outer) };
      client = created;
      this.#clients.set(key, client);
      this.#listen(client);
    }
    return client;
  }

  #take(direction: "up" | "down", packet: Uint8Array, client: Client): void {
    const link = direction === "up" ? this.#up : this.#down;
    const { lost } = link.stats;
    link.handlePacket(performance.now(), packet, client);
    this.#onTaken?.(direction, packet, link.stats.lost > lost);
    this.#settle();
  }

  #swallows(link: Link<Client>): boolean {
    if (performance.now() >= this.#darkUntil) return false;
    link.stats.sent += 1;
    link.stats.blackholed += 1;
    return true;
  }

  #replaceSocket(client: Client): void {
    const old = client.socket;
    // The old port stays taken for a while: nobody else may get what is still sent to it.
    old.removeAllListeners("message");
    this.#retired.add(old);
    setTimeout(() => this.#retired.delete(old) && old.close(), OLD_SOCKET_MS).unref();
    client.socket = createUdpSocket(this.#outer);
    this.#listen(client);
  }

  #listen(client: Client): void {
    client.socket.on("message", (packet) => {
      if (this.#swallows(this.#down)) return;
      this.#take("down", packet, client);
    });
    client.socket.on("error", this.#onSent);
    client.socket.bind(0, this.#outer);
  }

  readonly #onSent = (error: Error | null) => {
    if (error) this.#sendErrors += 1;
  };

  #settle(): void {
    const now = performance.now();
    for (let next = this.#up.nextArrival(now); next; next = this.#up.nextArrival(now))
      next.label.socket.send(next.packet, this.#target.port, this.#target.address, this.#onSent);
    for (let next = this.#down.nextArrival(now); next; next = this.#down.nextArrival(now)) {
      const { inner } = next.label;
      this.#socket.send(next.packet, inner.port, inner.address, this.#onSent);
      this.#onDelivered?.(next.packet, inner);
    }
    clearTimeout(this.#timer);
    const due = Math.min(this.#up.pollTimeout() ?? Infinity, this.#down.pollTimeout() ?? Infinity);
    if (due < Infinity) this.#timer = setTimeout(() => this.#settle(), Math.max(0, due - performance.now()));
  }
}

function createUdpSocket(address: string): Socket {
  const ipv6 = isIPv6(address);
  return createSocket({
    type: ipv6 ? "udp6" : "udp4",
    recvBufferSize: 1 << 20,
    // Numeric addresses only: the resolver would let packets overtake each other.
    lookup: (host, _options, done) => done(null, host, ipv6 ? 6 : 4),
  });
}
