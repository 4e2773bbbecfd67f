/** Finds the native QUIC engine: as an npm package for this platform, or as `npm ci` built it from source. */
import { loadNative } from "@sluice/udp";
import { createQuicEngine, type NativeModule } from "../webtransport/native-endpoint.ts";
import type { QuicEngine } from "../webtransport/quic-engine.ts";

/** The engine, or in one line why there is none. */
export type QuicEngineLoading =
  | { readonly engine: QuicEngine }
  | { readonly engine?: undefined; readonly reason: string };

let loading: QuicEngineLoading | undefined;

/** Loads the engine once. Environment `SLUICE_NATIVE=off` does without it. */
export function loadQuicEngine(): QuicEngineLoading {
  return (loading ??= load());
}

function load(): QuicEngineLoading {
  const addon = loadNative("quic", new URL("../../native/quic.node", import.meta.url));
  if (!addon.exports) return { reason: `the QUIC engine is ${addon.reason}` };
  return { engine: createQuicEngine(addon.exports as NativeModule) };
}
