/** Chromium as the tests drive it: headless, with a spoken WAV file as its microphone, and off the network. */
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium } from "playwright-core";

/** How {@link launchChromium} starts it. */
export interface ChromiumOptions {
  /** A 48 kHz mono 16-bit WAV file that the microphone plays; default: Chromium's own beeps. */
  readonly microphoneWav?: string;
  /** Whether the file begins again at its end; default false: silence follows. */
  readonly loop?: boolean;
  /** More command-line arguments. */
  readonly args?: readonly string[];
  /** Chromium's own fake sound devices (default), or those of the machine. */
  readonly devices?: "fake" | "real";
  /** More of the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** Path of a Chromium on this machine: `SLUICE_CHROMIUM`, on the PATH, or one that Playwright installed. */
export function findChromium(): string | undefined {
  const onPath = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  const candidates = [process.env.SLUICE_CHROMIUM, ...onPath, chromium.executablePath()];
  return candidates.find((path) => path !== undefined && path !== "" && isExecutable(path));
}

/** Starts Chromium; the caller closes it. */
export async function launchChromium({
  microphoneWav,
  loop = false,
  args = [],
  devices = "fake",
  env = {},
}: ChromiumOptions = {}): Promise<Browser> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error("no Chromium found: npm test installs it or says how");
  const microphone = microphoneWav === undefined ? [] : [fakeMicrophone(microphoneWav, loop)];
  return chromium.launch({
    executablePath,
    headless: true,
    env: { ...(process.env as Record<string, string>), ...env },
    ...(devices === "real" && { ignoreDefaultArgs: ["--mute-audio"] }),
    chromiumSandbox: process.getuid?.() !== 0, // Chromium's sandbox refuses to run as root
    args: [
      "--use-fake-ui-for-media-stream",
      ...(devices === "fake" ? ["--use-fake-device-for-media-stream"] : []),
      "--autoplay-policy=no-user-gesture-required",
      "--disable-gpu",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--no-first-run",
      "--no-proxy-server", // all of it is on this machine, and with a proxy there is no WebTransport
      ...microphone,
      ...args,
    ],
  });
}

function fakeMicrophone(path: string, loop: boolean): string {
  return `--use-file-for-fake-audio-capture=${path}${loop ? "" : "%noloop"}`;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
