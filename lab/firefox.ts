/**
 * Firefox as the tests drive it: headless, off the network, over WebDriver BiDi (W3C, the `ws://` endpoint that Firefox opens
 * itself). Playwright's Firefox is a build of its own; this is the one that people have. Its microphone is speech that the page
 * plays itself, for Firefox has no fake device that reads a file.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { WebSocket } from "ws";
import { encodeWav } from "./wav.ts";

/** A running Firefox; disposing of it ends it. */
export interface Firefox extends AsyncDisposable {
  /** Such as `Mozilla Firefox 153.7.0esr`. */
  readonly version: string;
  /** A new tab in which `scripts`, each the text of a function without parameters, run before those of any page. */
  newPage(scripts?: readonly string[]): Promise<FirefoxPage>;
}

/** A tab. What goes in and out of `evaluate` goes as JSON. */
export interface FirefoxPage {
  goto(url: string): Promise<void>;
  /** Runs in the page, as if a person had just clicked. */
  evaluate<T>(work: () => T | Promise<T>): Promise<T>;
  evaluate<T, A>(work: (argument: A) => T | Promise<T>, argument: A): Promise<T>;
  /** Calls `work` in the page until it holds; throws what it says of the page if it does not in time. */
  waitFor(what: string, work: () => boolean | Promise<boolean>, timeoutMs?: number): Promise<void>;
  close(): Promise<void>;
}

const NAMES = ["firefox-esr", "firefox"];
const START_MS = 30_000;
const ANSWER_MS = 20_000;
const WAIT_MS = 15_000;

/** Path of a Firefox on this machine: `SLUICE_FIREFOX`, or one on the PATH. */
export function findFirefox(): string | undefined {
  const onPath = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return [process.env.SLUICE_FIREFOX, ...onPath].find(
    (path) => path !== undefined && path !== "" && isExecutable(path),
  );
}

/** Preferences: sound without a click, no permission prompt, and nobody called but the server. */
const PREFERENCES = {
  "app.normandy.enabled": false,
  "app.update.disabledForTesting": true,
  "browser.aboutwelcome.enabled": false,
  "browser.safebrowsing.malware.enabled": false,
  "browser.safebrowsing.phishing.enabled": false,
  "browser.safebrowsing.update.enabled": false,
  "browser.search.update": false,
  "browser.shell.checkDefaultBrowser": false,
  "browser.startup.homepage_override.mstone": "ignore",
  "browser.startup.page": 0,
  "datareporting.policy.dataSubmissionEnabled": false,
  "datareporting.usage.uploadEnabled": false,
  "devtools.jsonview.enabled": false,
  "dom.push.connection.enabled": false,
  "extensions.getAddons.cache.enabled": false,
  "extensions.update.enabled": false,
  "media.autoplay.blocking_policy": 0,
  "media.autoplay.default": 0,
  "media.cubeb.backend": "pulse", // its own, in Rust, hangs the page with more than one audio context (Firefox 153, PulseAudio 16)
  "media.gmp-manager.updateEnabled": false,
  "media.navigator.permission.disabled": true,
  "media.navigator.streams.fake": true,
  "network.captive-portal-service.enabled": false,
  "network.connectivity-service.enabled": false,
  "network.dns.disablePrefetch": true,
  "network.prefetch-next": false,
  "network.proxy.type": 0,
  "services.settings.server": "data:,#remote-settings-dummy/v1",
  "toolkit.telemetry.server": "data:,",
};

/**
 * Starts Firefox; the caller disposes of it. `env`: more of the environment. Without a sound device its audio contexts do not run:
 * `servePulse` (pulse.ts) is one.
 */
export async function launchFirefox(env: Readonly<Record<string, string>> = {}): Promise<Firefox> {
  const path = findFirefox();
  if (path === undefined) throw new Error("no Firefox found: install it (Debian: apt-get install firefox-esr)");
  const profile = mkdtempSync(join(tmpdir(), "sluice-firefox-"));
  const all = Object.entries(PREFERENCES);
  const lines = all.map(([name, value]) => `user_pref(${JSON.stringify(name)}, ${JSON.stringify(value)});\n`);
  writeFileSync(join(profile, "user.js"), lines.join(""));
  const child = spawn(path, ["--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"], {
    env: { ...process.env, ...env, HOME: profile, MOZ_CRASHREPORTER_DISABLE: "1" },
    stdio: ["ignore", "ignore", "pipe"],
    detached: true, // a group of its own: with a new profile it starts itself once more, and is then no child of ours
  });
  const end = async () => {
    if (child.pid !== undefined) await endGroup(child.pid);
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const socket = await BidiSocket.open(await endpointOf(child));
    await socket.call("session.new", { capabilities: {} });
    const version = spawnSync(path, ["--version"], { encoding: "utf8" }).stdout.trim();
    return {
      version,
      newPage: (scripts) => openPage(socket, scripts ?? []),
      async [Symbol.asyncDispose]() {
        socket.close();
        await end();
      },
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/**
 * The text of a script that makes `pcm` the microphone of a page: played once, from when the page first asks for a microphone,
 * with silence after it.
 */
export function spokenMicrophone(pcm: Int16Array, sampleRate: number): string {
  const wav = Buffer.from(encodeWav({ sampleRate, channels: 1, pcm })).toString("base64");
  return `() => {
    const bytes = Uint8Array.from(atob("${wav}"), (one) => one.charCodeAt(0));
    navigator.mediaDevices.getUserMedia = async () => {
      const context = new AudioContext({ sampleRate: 48000 });
      const source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(bytes.slice().buffer) });
      const out = context.createMediaStreamDestination();
      source.connect(out);
      source.start();
      window.__microphone = { context, source };
      return out.stream;
    };
  }`;
}

/** Ends a group of processes, and resolves when none of it is left. */
async function endGroup(group: number): Promise<void> {
  try {
    for (;;) {
      process.kill(-group, "SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Where Firefox says that it listens. */
function endpointOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let printed = "";
    const timer = setTimeout(() => reject(new Error(`Firefox was not ready in time:\n${printed}`)), START_MS);
    child.once("error", reject);
    child.stderr?.on("data", (chunk) => {
      printed += String(chunk);
      const url = /WebDriver BiDi listening on (ws:\/\/\S+)/.exec(printed)?.[1];
      if (!url) return;
      clearTimeout(timer);
      resolve(`${url}/session`);
    });
  });
}

async function openPage(socket: BidiSocket, scripts: readonly string[]): Promise<FirefoxPage> {
  const { context } = (await socket.call("browsingContext.create", { type: "tab" })) as { context: string };
  for (const functionDeclaration of scripts)
    await socket.call("script.addPreloadScript", { functionDeclaration, contexts: [context] });
  const evaluate = async (work: (argument?: never) => unknown, argument?: unknown): Promise<never> => {
    const given = argument === undefined ? "" : JSON.stringify(argument);
    const answer = (await socket.call("script.evaluate", {
      expression: `(async () => JSON.stringify(await (${work})(${given})))()`,
      target: { context },
      awaitPromise: true,
      userActivation: true,
    })) as { result?: { value?: string }; exceptionDetails?: { text: string } };
    if (answer.exceptionDetails) throw new Error(`in the page: ${answer.exceptionDetails.text}`);
    return (answer.result?.value === undefined ? undefined : JSON.parse(answer.result.value)) as never;
  };
  return {
    goto: async (url) => {
      await socket.call("browsingContext.navigate", { context, url, wait: "complete" });
    },
    evaluate,
    async waitFor(what, work, timeoutMs = WAIT_MS) {
      for (const until = performance.now() + timeoutMs; performance.now() < until; ) {
        if (await evaluate(work)) return;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      throw new Error(`waited in vain until ${what}`);
    },
    close: async () => {
      await socket.call("browsingContext.close", { context });
    },
  };
}

/** WebDriver BiDi's own protocol: commands with ids, answers with the same. */
class BidiSocket {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, PromiseWithResolvers<unknown>>();
  #last = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data) => {
      const message = JSON.parse(String(data)) as { id?: number; type: string; result?: unknown; message?: string };
      const waiting = message.id === undefined ? undefined : this.#waiting.get(message.id);
      if (!waiting) return;
      this.#waiting.delete(message.id!);
      if (message.type === "success") waiting.resolve(message.result);
      else waiting.reject(new Error(`Firefox refused: ${message.message}`));
    });
    socket.on("close", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("Firefox is gone"));
    });
  }

  static async open(url: string): Promise<BidiSocket> {
    const socket = new WebSocket(url);
    await once(socket, "open");
    return new BidiSocket(socket);
  }

  call(method: string, params: object): Promise<unknown> {
    const id = ++this.#last;
    const waiting = Promise.withResolvers<unknown>();
    this.#waiting.set(id, waiting);
    this.#socket.send(JSON.stringify({ id, method, params }));
    const timer = setTimeout(() => waiting.reject(new Error(`Firefox does not answer to ${method}`)), ANSWER_MS);
    return waiting.promise.finally(() => clearTimeout(timer));
  }

  close(): void {
    this.#socket.terminate();
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
