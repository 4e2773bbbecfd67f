/** Finds the native QUIC engine: as an npm package for this platform, or as `npm ci` built it from source. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { createQuicEngine, type NativeModule } from "../webtransport/native-endpoint.ts";
import type { QuicEngine } from "../webtransport/quic-engine.ts";

/** The engine, or in one line why there is none. */
export type QuicEngineLoading =
  | { readonly engine: QuicEngine }
  | { readonly engine?: undefined; readonly reason: string };

/** The package of a platform, such as `@sluice/quic-linux-x64-gnu`. */
export function quicPackageName(
  platform: NodeJS.Platform = process.platform,
  arch: string = process.arch,
  isMusl: boolean = runsOnMusl(),
): string {
  const libc = platform === "linux" ? (isMusl ? "-musl" : "-gnu") : "";
  return `@sluice/quic-${platform}-${arch}${libc}`;
}

/** Where a build from source lies (native/build.mjs puts it there). */
const LOCAL_BUILD = fileURLToPath(new URL("../../native/quic.node", import.meta.url));

let loading: QuicEngineLoading | undefined;

/** Loads the engine once. Environment `SLUICE_NATIVE=off` does without it. */
export function loadQuicEngine(): QuicEngineLoading {
  return (loading ??= load());
}

function load(): QuicEngineLoading {
  if (process.env.SLUICE_NATIVE === "off") return { reason: "the QUIC engine is off: SLUICE_NATIVE=off" };
  const require = createRequire(import.meta.url);
  const reasons: string[] = [];
  for (const place of [quicPackageName(), LOCAL_BUILD])
    try {
      return { engine: createQuicEngine(require(place) as NativeModule) };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "MODULE_NOT_FOUND") reasons.push(`${place}: ${message.split("\n", 1)[0]}`);
    }
  return {
    reason:
      reasons.length > 0
        ? `the QUIC engine does not load: ${reasons.join("; ")}`
        : `no QUIC engine: neither ${quicPackageName()} nor a build from source (npm ci makes one where cargo is found)`,
  };
}

function runsOnMusl(): boolean {
  if (process.platform !== "linux") return false;
  const report = Object.assign(process.report, { excludeNetwork: true }); // naming every interface takes long
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined;
}
