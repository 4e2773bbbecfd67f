/**
 * Formatting, clippy, tests, licences and doubles of the native crates; `npm run check` runs this. Without a Rust toolchain one line
 * says that nothing was checked. What passed is remembered by a hash of this folder and of the toolchain.
 *
 * The last step stands in for `cargo deny`, offline: it reads `cargo metadata`. Advisories need a database from the network, which
 * is not asked here.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { cacheFolder, run, sourceHash, toolchain } from "./cargo.mjs";

const LICENCES = new Set(["MIT", "Apache-2.0", "BSD-3-Clause", "ISC", "Unicode-3.0", "Unlicense", "Zlib", "BSL-1.0"]);
/** How Cargo.lock names crates.io. */
const REGISTRY = /^registry\+.*\/crates\.io-index$/;
/** Crates that our dependencies want in two versions, and who wants the older one. */
const DOUBLES = new Map([
  ["getrandom", "ring"],
  ["windows-sys", "ring"],
]);

const steps = [
  ["fmt", "--all", "--check"],
  ["clippy", "--workspace", "--all-targets", "--release", "--locked", "--quiet", "--", "--deny", "warnings"],
  ["test", "--workspace", "--release", "--locked", "--quiet"],
];

const rust = toolchain();
const absent = missing();
if (rust === undefined || absent !== undefined) {
  console.log(`native crates were not checked: ${absent}`);
} else {
  const stamp = join(cacheFolder, sourceHash(rust, true), "checked");
  if (existsSync(stamp)) console.log("native crates: unchanged since they passed");
  else if (check()) {
    mkdirSync(dirname(stamp), { recursive: true });
    writeFileSync(stamp, "");
  } else process.exitCode = 1;
}

/** What a check needs and this machine lacks. */
function missing() {
  if (process.env.SLUICE_NATIVE === "off") return "SLUICE_NATIVE=off";
  if (rust === undefined) return "no Rust toolchain (cargo)";
  const tool = ["fmt", "clippy"].find((name) => run("cargo", [name, "--version"]).status !== 0);
  return tool === undefined ? undefined : `no cargo ${tool}`;
}

function check() {
  for (const step of steps) {
    const result = run("cargo", step);
    if (result.status === 0) continue;
    console.error(`cargo ${step.join(" ")}\n${result.stdout}${result.stderr}`);
    return false;
  }
  const problems = judgeDependencies();
  for (const problem of problems) console.error(problem);
  return problems.length === 0;
}

function judgeDependencies() {
  const { status, stdout, stderr } = run("cargo", ["metadata", "--format-version", "1", "--locked"]);
  if (status !== 0) return [`cargo metadata: ${stderr}`];
  const { packages, workspace_members: ours } = JSON.parse(stdout);
  const problems = [];
  const versions = new Map();
  for (const { id, name, version, license, source } of packages) {
    versions.set(name, [...(versions.get(name) ?? []), version]);
    if (!isAllowed(license ?? "")) problems.push(`${name} ${version}: licence ${license}`);
    if (!ours.includes(id) && !REGISTRY.test(source)) problems.push(`${name} ${version}: comes from ${source}`);
  }
  for (const [name, found] of versions)
    if (found.length > 1 && !DOUBLES.has(name)) problems.push(`${name}: versions ${found.join(" and ")}`);
  for (const name of DOUBLES.keys())
    if ((versions.get(name)?.length ?? 0) < 2) problems.push(`${name}: no longer double, strike it from the list`);
  return problems;
}

/** Whether an SPDX expression can be met by licences of the list (`/` is how old crates write OR). */
function isAllowed(expression) {
  const tokens = expression.replaceAll("/", " OR ").match(/[()]|[\w.+-]+/g) ?? [];
  const factor = () => {
    const token = tokens.shift();
    if (token === "(") {
      const inner = either();
      tokens.shift();
      return inner;
    }
    if (tokens[0] === "WITH") tokens.splice(0, 2); // exceptions only give more leave
    return LICENCES.has(token);
  };
  const both = () => {
    let allowed = factor();
    while (tokens[0] === "AND") allowed = tokens.shift() && factor() && allowed;
    return allowed;
  };
  const either = () => {
    let allowed = both();
    while (tokens[0] === "OR") allowed = (tokens.shift() && both()) || allowed;
    return allowed;
  };
  return tokens.length > 0 && either() && tokens.length === 0;
}
