/**
 * Builds the QUIC engine where a Rust toolchain is found; `npm ci` runs this. Never fails: without the engine WebRTC and
 * WebSocket work, and one line says why it is absent. `SLUICE_NATIVE=off` skips it.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync } from "node:fs";
import { dirname, join } from "node:path";
import { builtLibrary, cacheFolder, lastError, nativeFolder, run, sourceHash, toolchain } from "./cargo.mjs";

const destination = join(nativeFolder, "..", "packages", "transceiver", "native", "quic.node");
/** Four times what a cold build takes on two cores. */
const TIMEOUT_MS = 8 * 60_000;
/** Builds of other checkouts and toolchains that are kept. */
const MAX_CACHED = 8;

try {
  const problem = build();
  if (problem !== undefined) console.log(`QUIC is off: ${problem}. WebRTC and WebSocket work without it.`);
} catch (error) {
  console.log(`QUIC is off: ${error.message}. WebRTC and WebSocket work without it.`);
}

/** Why there is no engine; `undefined` when there is one. */
function build() {
  if (process.env.SLUICE_NATIVE === "off") {
    rmSync(destination, { force: true });
    return "SLUICE_NATIVE=off";
  }
  const rust = toolchain();
  if (rust === undefined) {
    rmSync(destination, { force: true });
    return "no Rust toolchain (cargo) to build it with, and no prebuilt package";
  }
  const cached = join(cacheFolder, sourceHash(rust), "quic.node");
  if (!existsSync(cached)) {
    const began = Date.now();
    const result = run("cargo", ["build", "--release", "--locked", "--package", "sluice-quic"], {
      timeout: TIMEOUT_MS,
    });
    const library = result.status === 0 ? builtLibrary("sluice_quic") : undefined;
    if (library === undefined) {
      rmSync(destination, { force: true }); // an engine of other sources would not do what these ones think
      return `cargo build failed: ${lastError(result)}`;
    }
    place(library, cached);
    prune();
    console.log(`QUIC engine built in ${Math.round((Date.now() - began) / 1000)} s`);
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

function prune() {
  const builds = readdirSync(cacheFolder)
    .map((name) => join(cacheFolder, name, "quic.node"))
    .filter((path) => existsSync(path))
    .map((path) => ({ path, at: statSync(path).mtimeMs }))
    .sort((a, b) => b.at - a.at);
  for (const { path } of builds.slice(MAX_CACHED)) rmSync(dirname(path), { recursive: true, force: true });
}
