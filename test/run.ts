/**
 * `npm test`: sees to what the tests need, then runs all of them by Node's test runner: first the unit tests, two files at a
 * time; then, two at a time, those that talk in real time and measure none of it, which wait most of the time; then one by
 * one those that measure sound, memory or a flood, or write where others read. What failed while the whole machine stood
 * still is no verdict on real time, and runs again, alone, twice at most. Arguments narrow it: `npm test -- packages/routing`.
 */
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, relative } from "node:path";
import { findChromium } from "./chromium.ts";
import { watchStalls } from "./stalls.ts";

/** `pack` builds the console's page anew. */
const ALONE = /^test\/(e2e\/(echo|moq|pack|talk)|attacks|leak)\.test\.ts$/;
const REAL_TIME = /^test\/(e2e\/|secrets\.test\.ts$)/;
const TEST_TIMEOUT_MS = 180_000;
/** A file that never exits, because it left a handle open, must not hold up CI for ever. */
const RUN_TIMEOUT_MS = 20 * 60_000;
/** A thread with nothing to do that is woken this late: the 40 ms that sound devices hold ran dry, whatever we do. */
const STALL_MS = 50;

process.chdir(dirname(import.meta.dirname));
// Test files and the servers that they start load the same modules some three hundred times: half of that is compiling.
process.env.NODE_COMPILE_CACHE ??= join(process.cwd(), "node_modules", ".cache", "sluice-compiled");
const narrowed = process.argv.slice(2);
const files = globSync(["packages/*/src/**/*.test.ts", "{cli,console,examples,lab,test}/**/*.test.ts"], {
  exclude: ["**/node_modules/**", "**/dist/**"],
})
  .filter((file) => narrowed.length === 0 || narrowed.some((part) => file.includes(part)))
  .sort();
if (files.length === 0) fail(`no test file matches ${narrowed.join(" ")}`);
const alone = files.filter((file) => ALONE.test(file));
const realTime = files.filter((file) => REAL_TIME.test(file) && !ALONE.test(file));
const units = files.filter((file) => !REAL_TIME.test(file) && !ALONE.test(file));

if (mention("launchChromium")) provideChromium();
if (mention("redis-server")) provideRedis();
if (mention("servePulse") && !isOnPath("pulseaudio") && isDebianRoot())
  installPackage("pulseaudio", "pulseaudio-utils");
const stalls = watchStalls();
const unsettled: string[] = [];
const codes = [runTests(units, 2), runTests(realTime, 2), runTests(alone, 1)];
for (let round = 0; round < 2 && unsettled.length > 0; round++) {
  console.log("npm test: what failed while the machine stood still runs again, alone");
  codes.push(runTests(unsettled.splice(0), 1));
}
if (unsettled.length > 0) fail(`${unsettled.join(", ")} failed three times`);
process.exit(codes.find((code) => code !== 0) ?? 0);

/** Node's exit code of these files, `concurrency` of them at a time; 0 if it is still open, and they are `unsettled`. */
function runTests(paths: readonly string[], concurrency: number): number {
  if (paths.length === 0) return 0;
  stalls.takeWorstMs();
  const { status, failed } = runOnce(paths, concurrency);
  const stalledMs = stalls.takeWorstMs();
  const known = failed.length > 0 && failed.every((file) => paths.includes(file));
  if (status === null || status === 0 || !known || stalledMs < STALL_MS) return status ?? 1;
  console.log(`npm test: the machine stood still for ${stalledMs} ms while these ran`);
  unsettled.push(...failed);
  return 0;
}

/** `status`: Node's exit code; null when it was not started, or ended by a signal. */
function runOnce(paths: readonly string[], concurrency: number): { status: number | null; failed: readonly string[] } {
  const folder = mkdtempSync(join(tmpdir(), "sluice-tests-"));
  const list = join(folder, "failed");
  const flags = [
    "--conditions=sluice-source",
    "--test",
    `--test-concurrency=${concurrency}`,
    `--test-timeout=${TEST_TIMEOUT_MS}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    `--test-reporter=${join(import.meta.dirname, "failed-files.ts")}`,
    `--test-reporter-destination=${list}`,
  ];
  const options = { stdio: "inherit", timeout: RUN_TIMEOUT_MS } as const;
  const { status, error } = spawnSync(process.execPath, [...flags, ...paths], options);
  if (error) console.error(`npm test: ${error.message}`);
  const failed = readFileSync(list, { encoding: "utf8", flag: "a+" })
    .split("\n")
    .filter(Boolean)
    .map((file) => relative(".", file));
  rmSync(folder, { recursive: true });
  return { status, failed };
}

/** Whether a chosen test file names `word`; what no test uses need not be there. */
function mention(word: string): boolean {
  return files.some((file) => readFileSync(file, "utf8").includes(word));
}

function provideChromium(): void {
  if (findChromium() !== undefined) return;
  if (isDebianRoot()) installPackage("chromium");
  else run("npx", ["playwright-core", "install", "chromium"]);
  if (findChromium() === undefined)
    fail(
      "the browser tests need Chromium: install it (Debian: apt-get install chromium) or set SLUICE_CHROMIUM to its path",
    );
}

function provideRedis(): void {
  if (isOnPath("redis-server")) return;
  if (isDebianRoot()) installPackage("redis-server");
  if (!isOnPath("redis-server"))
    fail("the relay's tests need redis-server on the PATH (Debian: apt-get install redis-server)");
}

function isDebianRoot(): boolean {
  return process.getuid?.() === 0 && isOnPath("apt-get");
}

function installPackage(...names: string[]): void {
  console.log(`npm test: ${names.join(", ")} missing: installed from Debian's packages`);
  run("apt-get", ["update", "-qq"]);
  run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...names]);
}

function run(command: string, args: readonly string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"], env });
}

function isOnPath(name: string): boolean {
  const folders = (process.env.PATH ?? "").split(delimiter);
  return globSync(folders.filter((folder) => folder !== "").map((folder) => join(folder, name))).length > 0;
}

function fail(reason: string): never {
  console.error(`npm test: ${reason}`);
  process.exit(1);
}
