/** One worker: its sockets around a forwarder. Does I/O, decides nothing. */
import { isIPv6 } from "node:net";
import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import type { MessagePort } from "node:worker_threads";
import { createKeyRing, formatIp, parseIp } from "@sluice/routing";
import { openUdp, type UdpSocket } from "@sluice/udp";
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
  const onRefused = (count: number) => {
    counters.sendErrors += count;
  };
  const post = (message: FromWorker) => port.postMessage(message);
  let publicSocket: UdpSocket | undefined;

  const send = (forward: Forward): void => {
    const { to, packet, header, transceiver, copy } = forward;
    if (to === "transceiver") {
      const upstream = transceiver && upstreams.get(transceiver);
      if (upstream?.socket) upstream.socket.send(packet, undefined, header);
      else counters.sendErrors += 1;
      return;
    }
    publicSocket?.send(packet, forward, header);
    if (copy) publicSocket?.send(packet, copy, header);
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
    const ipv6 = isIPv6(transceiver.address);
    const ip = parseIp(transceiver.address);
    const address = ip && formatIp(ip);
    const upstream: Upstream = { socket: undefined };
    upstreams.set(transceiver, upstream);
    const opening = openUdp({
      // Sockets to all transceivers have one port: the kernel tells them apart by whom they are connected to.
      address: ipv6 ? "::" : "0.0.0.0",
      port: upstreamPort,
      peer: transceiver,
      reuseAddress: upstreamPort !== 0,
      ipv6Only: ipv6,
      bufferSize: SOCKET_BUFFER,
      mode: setup.udp,
      onRefused,
      onDatagram: (datagram, from) => {
        // Anybody may have sent to a port that is known, before the socket was connected.
        if (from.port !== transceiver.port || from.address !== address) return;
        const forward = forwarder.handleTransceiverPacket(clock(), datagram, transceiver);
        if (forward) send(forward);
        settle();
      },
    });
    opening.then(
      (socket) => {
        if (upstreams.get(transceiver) === upstream) upstream.socket = socket;
        else void socket.close();
      },
      () => {
        counters.sendErrors += 1;
        if (upstreams.get(transceiver) === upstream) upstreams.delete(transceiver); // the next check tries again
      },
    );
  };
  const syncUpstreams = (): void => {
    const live = new Set(directory.transceivers(clock()));
    for (const transceiver of live) if (!upstreams.has(transceiver)) openUpstream(transceiver);
    for (const [transceiver, { socket }] of upstreams) {
      if (live.has(transceiver)) continue;
      upstreams.delete(transceiver);
      void socket?.close();
    }
  };

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
    for (const { socket } of upstreams.values()) void socket?.close();
    upstreams.clear();
    void Promise.resolve(publicSocket?.close()).then(() => {
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
    publicSocket = await openUdp({
      address: setup.host,
      port: setup.port,
      reusePort: setup.reusePort,
      bufferSize: SOCKET_BUFFER,
      mode: setup.udp,
      onRefused,
      onDatagram: (packet, from) => {
        const forward = forwarder.handlePublicPacket(clock(), packet, from.address, from.port);
        if (forward) send(forward);
        settle();
      },
    });
  } catch (error) {
    post({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
    close();
    return;
  }
  post({ kind: "listening", port: publicSocket.port, batches: publicSocket.batches });
}

interface Upstream {
  /** Once it is connected. */
  socket: UdpSocket | undefined;
}

/** `port` if nobody has it; else 0, which takes any. Sharing it with another program would share its packets. */
async function reserve(port: number): Promise<number> {
  if (port === 0) return 0;
  const ignore = () => undefined;
  try {
    const socket = await openUdp({ address: "0.0.0.0", port, mode: "dgram", onDatagram: ignore, onRefused: ignore });
    await socket.close();
    return port;
  } catch {
    return 0;
  }
}

/** Unix time in milliseconds that never steps back. */
function clock(): number {
  return performance.timeOrigin + performance.now();
}
