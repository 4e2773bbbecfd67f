/** `sluice start`: brings engines and transceiver together in one process, and says what is there. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createEspeak, createParrot, createSileroVad } from "@sluice/engines";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { PortInUse, serveTransceiver, UdpPortInUse } from "@sluice/transceiver";
import { pino } from "pino";
import { isLoopback, type StartOptions, UsageError } from "./flags.ts";

/** A server of `sluice start`. */
export interface Started {
  /** What to print: where it is and what it can do. */
  readonly greeting: string;
  /** Ends calls, saying why, and then the server. */
  close(reason: string): Promise<void>;
}

/** Starts everything; throws {@link UsageError} for what the user can mend. */
export async function start(options: StartOptions, version: string): Promise<Started> {
  const staticDir = findConsole();
  const [vad, tts] = await Promise.all([createSileroVad(), createEspeak()]);
  const parrot = createParrot({ tts });
  const log = pino({ level: options.logLevel }, pino.destination({ dest: 2, sync: true }));
  const transceiver = await serveTransceiver({
    ...options,
    keyRing: createKeyRing([generateKey(randomBytes)]),
    serverId: createServerId(0, 0),
    engines: { vad, speech: parrot },
    model: options.agent,
    version,
    staticDir,
    log,
  }).catch((cause: unknown) => {
    throw explain(cause, options);
  });
  return {
    greeting: greet(transceiver.url, transceiver.udpPort, parrot.description, options, version, staticDir),
    async close(reason) {
      await transceiver.close(reason);
      await Promise.all([vad.close(), tts?.close()]);
    },
  };
}

/** The built page: beside this file in a published package, in the workspace otherwise. */
function findConsole(): string | undefined {
  const places = [join(import.meta.dirname, "console"), join(import.meta.dirname, "..", "..", "console", "dist")];
  return places.find((place) => existsSync(join(place, "index.html")));
}

function greet(
  url: string,
  udpPort: number,
  agent: string,
  options: StartOptions,
  version: string,
  staticDir: string | undefined,
): string {
  const open = isLoopback(options.host);
  const lines = [
    `sluice ${version}`,
    "",
    staticDir === undefined
      ? `  API        ${url}/v1/realtime (the page is not built: npm run build)`
      : `  talk       ${url}`,
    `  agent      ${agent}`,
    `  media      udp ${udpPort}, all calls on one port`,
    `  protocol   OpenAI Realtime at ${url}/v1/realtime, ${open && options.apiKey === undefined ? "open to this machine only" : "with SLUICE_API_KEY"}`,
  ];
  if (!open) {
    lines.push(
      "",
      "  Browsers give the microphone to https and localhost only: put TLS in front of this port for others.",
    );
  }
  return `${lines.join("\n")}\n`;
}

/** What the user can do about a failed start. */
function explain(cause: unknown, options: StartOptions): unknown {
  if (cause instanceof PortInUse) {
    return new UsageError(
      `${cause.message}; stop that program, or choose another: npm start -- --port ${options.port + 1}`,
      {
        cause,
      },
    );
  }
  if (cause instanceof UdpPortInUse) {
    return new UsageError(
      `${cause.message}; stop that program, or choose another: npm start -- --udp-port ${options.udpPort + 1}`,
      { cause },
    );
  }
  const { code } = cause as NodeJS.ErrnoException;
  if (code === "EACCES")
    return new UsageError(`no permission to listen: ports below 1024 need it; try --port 8080`, { cause });
  if (code === "EADDRNOTAVAIL")
    return new UsageError(`${options.host} is no address of this machine; check --host`, { cause });
  return cause;
}
