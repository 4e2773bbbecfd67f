/** A sound device where there is none: PulseAudio with a sink that nobody hears. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

/** A sound server of its own; disposing of it ends it. */
export interface Pulse extends AsyncDisposable {
  /** What a program's environment needs to find it. */
  readonly env: Readonly<Record<string, string>>;
}

const SINK = "speaker";
const MICROPHONE = "microphone";

/** Why there can be none here; `undefined` when there can. */
export function pulseMissing(): string | undefined {
  const has = (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, "pulseaudio")));
  return has ? undefined : "there is no pulseaudio on the PATH (Debian: apt-get install pulseaudio)";
}

/** Starts it. `loop`: the loudspeaker's own signal is what the microphone hears. */
export async function servePulse({ loop = false }: { readonly loop?: boolean } = {}): Promise<Pulse> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-pulse-"));
  const env = { XDG_RUNTIME_DIR: folder, PULSE_RUNTIME_PATH: folder, HOME: folder };
  const modules = ["module-native-protocol-unix", `module-null-sink sink_name=${SINK} rate=48000`];
  if (loop) modules.push(`module-remap-source master=${SINK}.monitor source_name=${MICROPHONE}`);
  const flags = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"];
  const child: ChildProcess = spawn("pulseaudio", [...flags, ...modules.flatMap((one) => ["-L", one])], {
    env: { ...process.env, ...env },
    stdio: "ignore",
  });
  const ask = loop ? ["set-default-source", MICROPHONE] : ["set-default-sink", SINK];
  for (let left = 50; ; left--) {
    try {
      execFileSync("pactl", ask, { env: { ...process.env, ...env }, stdio: "ignore" });
      break;
    } catch (error) {
      if (left === 0) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return {
    env,
    async [Symbol.asyncDispose]() {
      const exited = once(child, "exit");
      child.kill();
      await exited;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
