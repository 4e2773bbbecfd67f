/** `sluice start` and `sluice transceiver`: bring engines and transceiver together, and say what is there. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createEspeak, createMcpServers, createSileroVad, createSmartTurn, type SmartTurn } from "@sluice/engines";
import { createKeyRing, createServerId, formatServerId, generateKey } from "@sluice/routing";
import {
  loadQuicEngine,
  PortInUse,
  serveTransceiver,
  type TransceiverOptions,
  UdpPortInUse,
} from "@sluice/transceiver";
import { pino } from "pino";
import { createAgent } from "./agent.ts";
import type { StartSettings, TransceiverSettings } from "./commands.ts";
import { examine, formatFinding } from "./doctor.ts";
import { isLoopback, UsageError } from "./flags.ts";
import { findLab, LabProcess } from "./lab.ts";
import type { Running } from "./running.ts";
import { readTls, watchTls } from "./tls.ts";
import { createTracing } from "./tracing.ts";

/** Starts page, API, media and agent in one process; throws {@link UsageError} for what the user can mend. */
export async function start(settings: StartSettings, version: string): Promise<Running> {
  const own = {
    keyRing: createKeyRing([generateKey(randomBytes)]),
    serverId: createServerId(0, 0),
    lab: offerLab(settings.host),
  };
  const { transceiver, agent, quic, close } = await serve(settings, own, version);
  const access = settings.apiKey === undefined ? "open to this machine only" : "with SLUICE_API_KEY";
  const lines = [
    `sluice ${version}`,
    "",
    findConsole() === undefined ? "  the page is not built: npm run build" : `  talk       ${transceiver.url}`,
    `  agent      ${agent}`,
    `  media      udp ${transceiver.udpPort}, all calls on one port`,
    `  quic       ${quic}`,
    `  protocol   OpenAI Realtime at ${transceiver.url}/v1/realtime, ${access}`,
  ];
  if (!isLoopback(settings.host) && settings["tls-cert"] === undefined) {
    lines.push("", "  Browsers give the microphone to https and localhost only: put TLS in front of this port.");
  }
  const end = async () => {
    await transceiver.close("the server is shutting down");
    await close();
  };
  return { greeting: `${lines.join("\n")}\n`, stop: end };
}

/** Starts a transceiver behind relays. */
export async function startTransceiver(settings: TransceiverSettings, version: string): Promise<Running> {
  const serverId = settings["server-id"]!;
  const fleet = {
    keyRing: createKeyRing(settings.keys),
    serverId,
    relays: {
      from: settings["relays-from"],
      public: settings.relays,
      direct: settings.direct,
      tagged: settings["hop-tag"],
      regionHeaders: settings["region-header"],
    },
    conversations: settings.redis ? { redis: settings.redis } : undefined,
    registry: settings.redis ? { redis: settings.redis, address: settings["register-as"]! } : undefined,
  };
  const { transceiver, agent, quic, close } = await serve(settings, fleet, version);
  const relays = settings.relays.map(({ address, port }) => `${address}:${port}`).join(", ");
  const lines = [
    `sluice ${version}, transceiver ${formatServerId(serverId)}`,
    "",
    `  protocol   OpenAI Realtime at ${transceiver.url}/v1/realtime, with SLUICE_API_KEY`,
    `  agent      ${agent}`,
    `  media      udp ${transceiver.udpPort}, behind ${relays}`,
    `  quic       ${quic}`,
  ];
  return {
    greeting: `${lines.join("\n")}\n`,
    async stop() {
      await transceiver.drain("the server is shutting down", settings.grace * 1000);
      await close();
    },
  };
}

/** Examines the engines, prints what it finds, and gives the exit code: 1 when one of them failed. */
export async function runDoctor(settings: StartSettings, version: string): Promise<number> {
  const mcp = createMcpServers({ servers: settings.mcp, version });
  const espeak = await createEspeak();
  let failed = false;
  process.stdout.write(`sluice ${version}\n\n`);
  try {
    for await (const finding of examine(settings, { env: process.env, espeak, mcp })) {
      process.stdout.write(formatFinding(finding));
      failed ||= finding.verdict === "failed";
    }
  } finally {
    await Promise.all([mcp.close(), espeak?.close()]);
  }
  return failed ? 1 : 0;
}

type Place = Pick<TransceiverOptions, "keyRing" | "serverId" | "relays" | "registry" | "conversations" | "lab">;

/** A bad network to try: from a checkout, and only where nobody else can call. */
function offerLab(host: string): TransceiverOptions["lab"] {
  const program = isLoopback(host) ? findLab() : undefined;
  return program === undefined ? undefined : (udpPort) => new LabProcess(program, udpPort);
}

async function serve(settings: StartSettings, place: Place, version: string) {
  const { "tls-cert": certFile, "tls-key": keyFile } = settings;
  const tls = certFile === undefined || keyFile === undefined ? undefined : readTls(certFile, keyFile);
  const toolServers = createMcpServers({ servers: settings.mcp, allowedHosts: settings["mcp-hosts"], version });
  const [vad, tts, turn] = await Promise.all([createSileroVad(), createEspeak(), loadTurnModel(settings)]);
  const log = pino({ level: settings["log-level"] }, pino.destination({ dest: 2, sync: true }));
  const agent = createAgent(settings, process.env, tts, (err, line) => log.warn({ err }, line));
  const tracing = await createTracing(process.env, version);
  const quic = loadQuicEngine();
  const transceiver = await serveTransceiver({
    ...place,
    host: settings.host,
    port: settings.port,
    udpPort: settings["udp-port"],
    udp: settings.udp,
    advertise: settings.advertise,
    apiKey: settings.apiKey,
    tls,
    engines: { vad, speech: agent.speech, turn, toolServers },
    webTransport: quic.engine && { engine: quic.engine },
    pipeline: agent.pipeline,
    model: agent.name,
    instructions: agent.instructions,
    version,
    staticDir: findConsole(),
    maxCalls: settings["max-calls"],
    tracer: tracing?.tracer,
    log,
  }).catch((cause: unknown) => {
    throw explain(cause, settings);
  });
  const renewed = tls && watchTls(certFile!, keyFile!, (files) => transceiver.setTls(files));
  const close = async () => {
    renewed?.();
    await Promise.all([vad.close(), tts?.close(), turn?.close(), tracing?.close(), toolServers.close()]);
  };
  const quicLine = quic.engine ? `with ${quic.engine.name}` : quic.reason;
  return { transceiver, agent: agent.speech.description, quic: quicLine, close };
}

async function loadTurnModel({ "turn-model": path }: StartSettings): Promise<SmartTurn | undefined> {
  if (path === undefined) return undefined;
  return createSmartTurn(path).catch((cause: unknown) => {
    throw new UsageError(`--turn-model: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  });
}

/** The built page: beside this file in a published package, in the workspace otherwise. */
function findConsole(): string | undefined {
  const places = [join(import.meta.dirname, "console"), join(import.meta.dirname, "..", "..", "console", "dist")];
  return places.find((place) => existsSync(join(place, "index.html")));
}

/** What the user can do about a failed start. */
function explain(cause: unknown, settings: StartSettings): unknown {
  const mend = (flag: string, port: number) => `stop that program, or choose another port: --${flag} ${port + 1}`;
  if (cause instanceof PortInUse) {
    return new UsageError(`${cause.message}; ${mend("port", settings.port)}`, { cause });
  }
  if (cause instanceof UdpPortInUse) {
    return new UsageError(`${cause.message} by another program; ${mend("udp-port", settings["udp-port"])}`, { cause });
  }
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "EACCES") {
    return new UsageError("no permission to listen: ports below 1024 need it; try --port 8080", { cause });
  }
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
    return new UsageError(`${settings.host} is no address of this machine; check --host`, { cause });
  }
  return cause;
}
