/** Finds the native AES-GCM for SRTP, as native/build.mjs put it there; without it Node's ciphers do its work. */
import { createRequire } from "node:module";
import type { GcmKeyFactory } from "../webrtc/srtp-suite.ts";

let loaded: { readonly gcm: GcmKeyFactory | undefined } | undefined;

/** The addon's keys, once and for all; `undefined` where it was not built, or with environment `SLUICE_NATIVE=off`. */
export function loadGcm(): GcmKeyFactory | undefined {
  loaded ??= { gcm: load() };
  return loaded.gcm;
}

function load(): GcmKeyFactory | undefined {
  if (process.env.SLUICE_NATIVE === "off") return undefined;
  try {
    const { GcmKey } = createRequire(import.meta.url)("../../native/srtp.node") as { readonly GcmKey: GcmKeyFactory };
    return GcmKey;
  } catch {
    return undefined;
  }
}
