/**
 * Builds the native addons where a Rust toolchain is found; `npm ci` runs this. Never fails: everything but QUIC works without
 * them, and one line says what is absent and why. `SLUICE_NATIVE=off` skips it.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  builtLibrary,
  cacheFolder,
  lastError,
  nativeFolder,
  run,
  sourceHash,
  targetFolder,
  toolchain,
} from "./cargo.mjs";

/** Each addon: its crate, where it goes, and what it is to a user. */
const addons = [
  {
    crate: "sluice-quic",
    file: "quic.node",
    folder: "transceiver",
    name: "QUIC engine",
    without: "QUIC is off",
    instead: "WebRTC and WebSocket work without it",
  },
  {
    crate: "sluice-srtp",
    file: "srtp.node",
    folder: "transceiver",
    name: "SRTP by ring",
    without: "SRTP by ring is off",
    instead: "Node's ciphers do its work",
  },
  {
    crate: "sluice-udp",
    file: "udp.node",
    folder: "udp",
    name: "UDP in batches",
    without: "UDP in batches is off",
    instead: "datagrams go one by one",
  },
];
/** Four times what a cold build takes on two cores. */
const TIMEOUT_MS = 8 * 60_000;
/** Builds of other checkouts and toolchains that are kept. */
const MAX_CACHED = 8;

for (const addon of addons) {
  let problem;
  try {
    problem = build(addon);
  } catch (error) {
    problem = error.message;
  }
  if (problem !== undefined) console.log(`${addon.without}: ${problem}. ${addon.instead}.`);
}

/** Why there is no such addon; `undefined` when there is one. */
function build({ crate, file, folder, name }) {
  const destination = join(nativeFolder, "..", "packages", folder, "native", file);
  if (process.env.SLUICE_NATIVE === "off") {
    rmSync(destination, { force: true });
    return "SLUICE_NATIVE=off";
  }
  const rust = toolchain();
  if (rust === undefined) {
    rmSync(destination, { force: true });
    return "no Rust toolchain (cargo) to build it with, and no prebuilt package";
  }
  const cached = join(cacheFolder, sourceHash(rust), file);
  if (!existsSync(cached)) {
    const began = Date.now();
    const result = run("cargo", ["build", "--release", "--locked", "--package", crate], { timeout: TIMEOUT_MS });
    const library = result.status === 0 ? builtLibrary(crate.replaceAll("-", "_")) : undefined;
    if (library === undefined) {
      rmSync(destination, { force: true }); // an addon of other sources would not do what these ones think
      return `cargo build failed: ${lastError(result)}`;
    }
    place(library, cached);
    prune(file);
    pruneTargets();
    console.log(`${name} built in ${Math.round((Date.now() - began) / 1000)} s`);
  }
  const now = new Date();
  utimesSync(cached, now, now);
  place(cached, destination);
  return undefined;
}

/** Whoever has the old file open keeps it. */
function place(source, target) {
  mkdirSync(dirname(target), { recursive: true });
  const partial = `${target}.${process.pid}`;
  copyFileSync(source, partial);
  renameSync(partial, target);
}

function prune(file) {
  const builds = readdirSync(cacheFolder)
    .map((name) => join(cacheFolder, name, file))
    .filter((path) => existsSync(path))
    .map((path) => ({ path, at: statSync(path).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { path } of builds.slice(MAX_CACHED)) rmSync(dirname(path), { recursive: true, force: true });
}

/** Forgets where checkouts built that were not built for longest. */
function pruneTargets() {
  const now = new Date();
  utimesSync(targetFolder, now, now);
  const folders = readdirSync(cacheFolder)
    .filter((name) => name.startsWith("target-"))
    .map((name) => join(cacheFolder, name))
    .map((path) => ({ path, at: statSync(path).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { path } of folders.slice(MAX_CACHED)) rmSync(path, { recursive: true, force: true });
}
