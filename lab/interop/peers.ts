/** The stacks beside us: where they come from, whether they are here, and how they are called. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { findFirefox } from "../firefox.ts";
import { pulseMissing } from "../pulse.ts";
import { type Command, node } from "./process.ts";

/** A stack. */
export interface Peer {
  readonly name: string;
  /** Debian packages; none: it comes with `npm ci`. */
  readonly packages: readonly string[];
  /** Its version, `undefined` where it is not installed. */
  version(): string | undefined;
  /** How its client is started, before its arguments; absent: it has none. */
  readonly client?: Command;
  /** How its echo server is started; absent: it has none. `janus` is started by `janus.ts`. */
  readonly server?: Command | "janus";
  /** What the echo server does with audio. */
  readonly echo?: "passes packets on" | "decodes and encodes";
  /** Whether the relay bench knows it. */
  readonly relay?: boolean;
  /** Whether our page is tried in it. */
  readonly browser?: boolean;
}

/** Debian's own Python: packages of the system are not seen by another one. */
const PYTHON = "/usr/bin/python3";
const here = (...path: string[]) => join(import.meta.dirname, ...path);

/** Sluice itself, then its peers. */
export const PEERS: readonly Peer[] = [
  {
    name: "sluice",
    packages: [],
    version: () => "this commit",
    server: node(here("servers", "sluice.ts")),
    echo: "decodes and encodes",
    relay: true,
  },
  {
    name: "libdatachannel",
    packages: [],
    version: () => `node-datachannel ${versionOf("node-datachannel")}`,
    client: node(here("clients", "libdatachannel.ts")),
    server: node(here("servers", "libdatachannel.ts")),
    echo: "passes packets on",
  },
  {
    name: "werift",
    packages: [],
    version: () => versionOf("werift"),
    client: node(here("clients", "werift.ts")),
    server: node(here("servers", "werift.ts")),
    echo: "passes packets on",
  },
  {
    name: "aiortc",
    packages: ["python3-aiortc"],
    version: () => python("import aiortc; print(aiortc.__version__)"),
    client: [PYTHON, here("clients", "aiortc-client.py")],
    server: [PYTHON, here("servers", "aiortc-server.py")],
    echo: "decodes and encodes",
  },
  {
    name: "gstreamer",
    packages: [
      "gstreamer1.0-plugins-bad",
      "gstreamer1.0-plugins-good",
      "gstreamer1.0-plugins-base",
      "gstreamer1.0-nice",
      "gir1.2-gst-plugins-bad-1.0",
      "gir1.2-gst-plugins-base-1.0",
      "python3-gi",
      "python3-gst-1.0",
    ],
    version: () =>
      python(
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstWebRTC', '1.0')\n" +
          "from gi.repository import Gst, GstWebRTC; Gst.init(None)\n" +
          "assert all(Gst.ElementFactory.find(n) for n in ('webrtcbin', 'nicesrc', 'opusenc', 'rtpopuspay', 'sctpenc'))\n" +
          "print('.'.join(map(str, Gst.version()[:3])))",
      ),
    client: [PYTHON, here("clients", "webrtcbin-client.py")],
    server: [PYTHON, here("servers", "webrtcbin-server.py")],
    echo: "passes packets on",
  },
  {
    name: "janus",
    packages: ["janus"],
    version: () => debian("janus"),
    server: "janus",
    echo: "passes packets on",
  },
  { name: "coturn", packages: ["coturn"], version: () => debian("coturn"), relay: true },
  {
    name: "nginx",
    packages: ["nginx", "libnginx-mod-stream"],
    version: () => debian("nginx"),
    relay: true,
  },
  {
    name: "firefox",
    packages: ["firefox-esr", "pulseaudio", "pulseaudio-utils"],
    version: () => {
      const path = pulseMissing() ? undefined : findFirefox();
      return path && quiet(path, "--version")?.replace("Mozilla Firefox ", "");
    },
    browser: true,
  },
];

/** Installs what is missing of `peers` from Debian's packages; needs root. */
export function installPeers(peers: readonly Peer[]): void {
  const missing = peers.filter((peer) => peer.version() === undefined).flatMap(({ packages }) => packages);
  if (missing.length === 0) return;
  console.error(`installing ${missing.join(", ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const apt = (...args: string[]) => execFileSync("apt-get", args, { stdio: ["ignore", 2, 2], env });
  apt("update", "-qq");
  apt("install", "-y", "-qq", "--no-install-recommends", ...missing);
}

/** Why `peer` is not measured here. */
export function absence({ packages }: Peer): string {
  return `not installed; npm run interop -- --install, or: apt-get install ${packages.join(" ")}`;
}

function versionOf(name: string): string {
  const main = createRequire(import.meta.url).resolve(name);
  const folder = main.slice(0, main.lastIndexOf(`node_modules/${name}/`) + `node_modules/${name}/`.length);
  return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string }).version;
}

function python(script: string): string | undefined {
  return existsSync(PYTHON) ? quiet(PYTHON, "-c", script) : undefined;
}

function debian(name: string): string | undefined {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own format
  const [status, version] = quiet("dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name)?.split(" ") ?? [];
  return status === "installed" ? version : undefined;
}

function quiet(program: string, ...args: string[]): string | undefined {
  try {
    return execFileSync(program, args, {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
      timeout: 15_000,
    }).trim();
  } catch {
    return undefined;
  }
}
