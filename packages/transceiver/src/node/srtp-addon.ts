/** Finds the native AES-GCM for SRTP; without it Node's ciphers do its work. */
import { loadNative } from "@sluice/udp";
import type { GcmKeyFactory } from "../webrtc/srtp-suite.ts";

let loaded: { readonly gcm: GcmKeyFactory | undefined } | undefined;

/** The addon's keys, once and for all; `undefined` where there is no addon, or with environment `SLUICE_NATIVE=off`. */
export function loadGcm(): GcmKeyFactory | undefined {
  loaded ??= { gcm: load() };
  return loaded.gcm;
}

function load(): GcmKeyFactory | undefined {
  const { exports } = loadNative("srtp", new URL("../../native/srtp.node", import.meta.url));
  return (exports as { readonly GcmKey: GcmKeyFactory } | undefined)?.GcmKey;
}
