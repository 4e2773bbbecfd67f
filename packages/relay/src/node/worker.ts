/** One worker: its sockets around a forwarder. Does I/O, decides nothing. */
import { createSocket, type RemoteInfo, type Socket, type SocketOptions } from "node:dgram";
import { once } from "node:events";
import { isIPv6 } from "node:net";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { MessagePort } from "node:worker_threads";
import { createKeyRing, formatIp, parseIp } from "@sluice/routing";
import { Directory, type Transceiver } from "../directory.ts";
import { type Forward, Forwarder } from "../forwarder.ts";
import type { FromWorker, ToWorker, WorkerReport, WorkerSetup } from "./protocol.ts";

const SOCKET_BUFFER = 4 * 1024 * 1024; // bursts wait here while the garbage collector works
const CHECK_MS = 1000;

/** Runs a worker until it is told to close; talks to the main thread through `port`. */
export async function runWorker(port: MessagePort, setup: WorkerSetup): Promise<void> {
  const directory = new Directory(setup.directory);
  const { admission, flows, hopTag, cache } = setup;
  const ring = createKeyRing(setup.keys);
  const forwarder = new Forwarder({ ring, directory, admission, flows, hopTag, lookups: cache ? {} : undefined });
  const lag = monitorEventLoopDelay({ resolution: 10 });
  lag.enable();
  const upstreams = new Map<Transceiver, Upstream>();
  const counters = { sendErrors: 0 };
  // Without a callback Node loses send errors silently.
  const onSent = (error: Error | null) => {
    if (error) counters.sendErrors += 1;
  };
  const post = (message: FromWorker) => port.postMessage(message);
  const publicSocket = createSocket(socketOptions(setup.host, { reusePort: setup.reusePort }));

  const send = (forward: Forward): void => {
    const { to, packet, transceiver, copy } = forward;
    if (to === "transceiver") {
      const upstream = transceiver && upstreams.get(transceiver);
      if (upstream?.connected) upstream.socket.send(packet, onSent);
      else counters.sendErrors += 1;
      return;
    }
    publicSocket.send(packet, forward.port, forward.address, onSent);
    if (copy) publicSocket.send(packet, copy.port, copy.address, onSent);
  };

  let timer: NodeJS.Timeout | undefined;
  let armedFor: number | undefined;
  const onTimeout = () => {
    armedFor = undefined;
    forwarder.handleTimeout(clock());
    settle();
  };
  const settle = (): void => {
    for (let command = forwarder.nextCommand(); command; command = forwarder.nextCommand()) {
      if (command.kind === "forward") send(command.forward);
      else if (command.kind === "lookUp") {
        const { address, port, entryRelay } = command;
        post({ kind: "lookUp", lookup: { address, port, entryRelay } });
      } else post(command);
    }
    const deadline = forwarder.pollTimeout();
    if (deadline === armedFor) return;
    clearTimeout(timer);
    armedFor = deadline;
    if (deadline !== undefined) timer = setTimeout(onTimeout, Math.max(0, deadline - clock()));
  };

  const upstreamPort = await reserve(setup.upstreamPort);
  if (upstreamPort !== setup.upstreamPort) post({ kind: "upstreamPortTaken", port: setup.upstreamPort });
  const openUpstream = (transceiver: Transceiver): void => {
    // Sockets to all transceivers have one port: the kernel tells them apart by whom they are connected to.
    const ipv6Only = isIPv6(transceiver.address);
    const socket = createSocket(socketOptions(transceiver.address, { reuseAddr: upstreamPort !== 0, ipv6Only }));
    const peer = parseIp(transceiver.address);
    const address = peer && formatIp(peer);
    const upstream: Upstream = { socket, connected: false };
    upstreams.set(transceiver, upstream);
    // ECONNREFUSED and its like: the transceiver is away, and its clients will knock again.
    socket.on("error", onSent);
    socket.on("message", (datagram: Buffer, from: RemoteInfo) => {
      // Anybody may have sent to a port that is known, before the socket was connected.
      if (from.port !== transceiver.port || from.address !== address) return;
      const forward = forwarder.handleTransceiverPacket(clock(), datagram, transceiver);
      if (forward) send(forward);
      settle();
    });
    if (upstreamPort !== 0) socket.bind(upstreamPort);
    socket.connect(transceiver.port, transceiver.address, () => {
      upstream.connected = true;
      growBuffers(socket);
    });
  };
  const syncUpstreams = (): void => {
    const live = new Set(directory.transceivers(clock()));
    for (const transceiver of live) if (!upstreams.has(transceiver)) openUpstream(transceiver);
    for (const [transceiver, { socket }] of upstreams) {
      if (live.has(transceiver)) continue;
      upstreams.delete(transceiver);
      socket.close();
    }
  };

  publicSocket.on("message", (packet: Buffer, from: RemoteInfo) => {
    const forward = forwarder.handlePublicPacket(clock(), packet, from.address, from.port);
    if (forward) send(forward);
    settle();
  });
  const report = (): WorkerReport => {
    const eventLoopLagMs = lag.percentile(99) / 1e6;
    lag.reset();
    const { confirmedSize: confirmed, tentativeSize: tentative } = forwarder.flows;
    const { sendErrors } = counters;
    return { stats: forwarder.stats, confirmed, tentative, lookups: forwarder.lookupsSize, sendErrors, eventLoopLagMs };
  };
  const checking = setInterval(() => {
    syncUpstreams();
    post({ kind: "report", report: report() }); // what is known of a worker that crashes later
  }, CHECK_MS);
  const close = (): void => {
    clearInterval(checking);
    clearTimeout(timer);
    lag.disable();
    for (const { socket } of upstreams.values()) socket.close();
    upstreams.clear();
    publicSocket.close(() => {
      post({ kind: "closed" });
      port.close();
    });
  };

  port.on("message", (message: ToWorker) => {
    const now = clock();
    switch (message.kind) {
      case "registrations":
        directory.handleRegistrations(now, message.transceivers);
        syncUpstreams();
        break;
      case "registryLost":
        directory.handleRegistryLost(now);
        break;
      case "replica":
        forwarder.handleReplica(now, message.record);
        break;
      case "found":
        forwarder.handleLookup(now, message.lookup, message.serverId);
        break;
      case "report":
        post({ kind: "report", report: report() });
        break;
      case "records":
        post({ kind: "records", records: [...forwarder.records()] });
        break;
      case "close":
        close();
        return;
    }
    settle();
  });

  syncUpstreams();
  try {
    const listening = once(publicSocket, "listening"); // first: our lookup is synchronous, and so is the event
    publicSocket.bind(setup.port, setup.host);
    await listening; // rejects with the socket's error
  } catch (error) {
    post({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
    close();
    return;
  }
  publicSocket.on("error", onSent);
  growBuffers(publicSocket);
  post({ kind: "listening", port: publicSocket.address().port });
}

interface Upstream {
  readonly socket: Socket;
  connected: boolean;
}

/** `port` if nobody has it; else 0, which takes any. Sharing it with another program would share its packets. */
async function reserve(port: number): Promise<number> {
  if (port === 0) return 0;
  const socket = createSocket("udp4");
  try {
    const listening = once(socket, "listening");
    socket.bind(port);
    await listening;
    return port;
  } catch {
    return 0;
  } finally {
    const closed = once(socket, "close");
    socket.close();
    await closed;
  }
}

/** Unix time in milliseconds that never steps back. */
function clock(): number {
  return performance.timeOrigin + performance.now();
}

/** Cores give numeric addresses; the resolver would cost every packet a turn of the event loop. */
function socketOptions(address: string, options: Partial<SocketOptions>): SocketOptions {
  const ipv6 = isIPv6(address);
  return {
    type: ipv6 ? "udp6" : "udp4",
    lookup: (host, _options, done) => done(null, host, ipv6 ? 6 : 4),
    ...options,
  };
}

function growBuffers(socket: Socket): void {
  try {
    socket.setRecvBufferSize(SOCKET_BUFFER);
    socket.setSendBufferSize(SOCKET_BUFFER);
  } catch {
    // The kernel's limit is lower: its default size serves, with less room for bursts.
  }
}
