/**
 * Where cargo is, and where what it builds lies: outside of the tree; what is built is shared by every checkout on this machine. Plain JavaScript,
 * for `npm ci` runs it with whatever Node there is.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join, relative } from "node:path";

/** This folder. */
export const nativeFolder = import.meta.dirname ?? new URL(".", import.meta.url).pathname;

/** `~/.cache/sluice/native`, or below `XDG_CACHE_HOME`. */
export const cacheFolder = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "sluice", "native");

const windows = process.platform === "win32";

/**
 * Where cargo works: a folder for each checkout, for dynamic libraries have no hash in their names, and one checkout would take
 * what another built.
 */
export const targetFolder = join(
  cacheFolder,
  `target-${createHash("sha256").update(nativeFolder).digest("hex").slice(0, 12)}`,
);

/** Environment for cargo: finds a toolchain that is installed but not on the path, and builds in the cache. */
export const cargoEnv = {
  ...process.env,
  PATH: [process.env.PATH ?? "", join(homedir(), ".cargo", "bin")].join(delimiter),
  CARGO_TARGET_DIR: targetFolder,
  CARGO_TERM_COLOR: "never",
};

/** The version of rustc and the target it builds for; `undefined` without a toolchain. */
export function toolchain() {
  const cargo = run("cargo", ["--version"]);
  const rustc = run("rustc", ["-vV"]);
  return cargo.status === 0 && rustc.status === 0 ? rustc.stdout : undefined;
}

/** Runs a command here, and gives its status, stdout and stderr. */
export function run(command, args, options = {}) {
  const result = spawnSync(windows ? `${command}.exe` : command, args, {
    cwd: nativeFolder,
    env: cargoEnv,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    ...options,
  });
  return { status: result.status, stdout: result.stdout ?? "", stderr: result.stderr ?? "", error: result.error };
}

/** Names what a build of these sources with this toolchain gives; with `everything`, what a check of this folder gives. */
export function sourceHash(toolchainText, everything = false) {
  const hash = createHash("sha256").update(toolchainText);
  const files = readdirSync(nativeFolder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(nativeFolder, join(entry.parentPath ?? entry.path, entry.name)).replaceAll("\\", "/"))
    .filter((file) => !/^(target|npm)\//.test(file))
    .filter((file) => everything || /(^|\/)(Cargo\.(toml|lock)|[^/]+\.rs)$/.test(file))
    .sort();
  for (const file of files) hash.update(`\0${file}\0`).update(readFileSync(join(nativeFolder, file)));
  return hash.digest("hex").slice(0, 24);
}

/** The dynamic library that cargo makes of crate `name`. */
export function builtLibrary(name, target) {
  const file = windows ? `${name}.dll` : process.platform === "darwin" ? `lib${name}.dylib` : `lib${name}.so`;
  const folders = [target ? join(target, "release") : undefined, "release"].filter((folder) => folder !== undefined);
  return folders.map((folder) => join(cargoEnv.CARGO_TARGET_DIR, folder, file)).find((path) => existsSync(path));
}

/** The line of cargo's output that says what went wrong. */
export function lastError({ stderr, error }) {
  const lines = stderr.split("\n").filter((line) => line.trim() !== "");
  return error?.message ?? lines.find((line) => line.startsWith("error")) ?? lines.at(-1) ?? "no output";
}
