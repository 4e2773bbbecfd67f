/** What a packet of a call is, as far as it can be seen from outside. */
import { classify, parseStun } from "@sluice/routing";
import { CONTENT_TYPE, decodeRecords } from "../../packages/transceiver/src/webrtc/dtls-record.ts";

const HANDSHAKE_NAMES: Readonly<Record<number, string>> = {
  1: "ClientHello",
  2: "ServerHello",
  3: "HelloVerifyRequest",
  11: "Certificate",
  12: "ServerKeyExchange",
  13: "CertificateRequest",
  14: "ServerHelloDone",
  15: "CertificateVerify",
  16: "ClientKeyExchange",
};
const EPOCH_1_NAMES: Readonly<Record<number, string>> = {
  [CONTENT_TYPE.handshake]: "Finished",
  [CONTENT_TYPE.applicationData]: "data",
  [CONTENT_TYPE.alert]: "alert",
};

/** A name for `packet`: `STUN request USE-CANDIDATE`, `DTLS ClientHello`, `SRTP`. */
export function nameOf(packet: Uint8Array): string {
  const kind = classify(packet);
  if (kind === "stun") {
    const message = parseStun(packet);
    return `STUN ${message?.class ?? "malformed"}${message?.useCandidate ? " USE-CANDIDATE" : ""}`;
  }
  if (kind !== "dtls") return (kind ?? "unknown").toUpperCase();
  const names = (decodeRecords(packet) ?? []).map(({ type, epoch, fragment }) => {
    if (epoch > 0) return EPOCH_1_NAMES[type] ?? `type ${type}`;
    if (type === CONTENT_TYPE.changeCipherSpec) return "ChangeCipherSpec";
    return type === CONTENT_TYPE.handshake ? (HANDSHAKE_NAMES[fragment[0]!] ?? "handshake") : `type ${type}`;
  });
  return `DTLS ${names.join(", ") || "malformed"}`;
}
