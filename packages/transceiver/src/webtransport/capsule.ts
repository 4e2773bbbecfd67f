/** Capsules (RFC 9297 section 3.2) on the stream of a WebTransport session (draft-ietf-webtrans-http3 section 5). */
import { encodeVarint } from "@sluice/realtime";
import { encodeFrame, FrameDecoder, frameTypes } from "./http3-frame.ts";

/** Types that mean something here; all others are skipped. */
export const capsuleTypes = { close: 0x2843, drain: 0x78ae } as const;

/** Bytes of the longest reason of a close. */
export const MAX_REASON_SIZE = 1024;

/** What a peer said by a capsule. */
export type Capsule =
  | { readonly kind: "close"; readonly code: number; readonly reason: string }
  | { readonly kind: "drain" }
  /** Too long, or too short. */
  | { readonly kind: "malformed" };

/** CLOSE_WEBTRANSPORT_SESSION in a DATA frame; a reason that is too long is cut between two characters. */
export function encodeClose(code: number, reason: string): Uint8Array {
  const text = new Uint8Array(MAX_REASON_SIZE);
  const { written } = new TextEncoder().encodeInto(reason, text);
  const payload = new Uint8Array(4 + written);
  new DataView(payload.buffer).setUint32(0, code);
  payload.set(text.subarray(0, written), 4);
  return encodeCapsule(capsuleTypes.close, payload);
}

/** DRAIN_WEBTRANSPORT_SESSION in a DATA frame. */
export function encodeDrain(): Uint8Array {
  return encodeCapsule(capsuleTypes.drain, new Uint8Array(0));
}

function encodeCapsule(type: number, payload: Uint8Array): Uint8Array {
  const capsule = Uint8Array.from([...encodeVarint(type), ...encodeVarint(payload.length), ...payload]);
  return encodeFrame(frameTypes.data, capsule);
}

/** Reads the capsules of a session's stream. */
export class CapsuleDecoder {
  // A capsule is framed as a frame is: type, length, value. None has the type of DATA.
  readonly #frames = new FrameDecoder(
    new Map<number, number>([
      [capsuleTypes.close, 4 + MAX_REASON_SIZE],
      [capsuleTypes.drain, 0],
    ]),
  );

  /** Whether the stream may end here. */
  get isBetween(): boolean {
    return this.#frames.isBetween;
  }

  /** The known capsules that are complete now. */
  push(data: Uint8Array): Capsule[] {
    return this.#frames.push(data).flatMap((piece): Capsule[] => {
      if (piece.kind === "data") return []; // a DATAGRAM capsule (type 0): ours come as QUIC's own datagrams
      if (piece.kind === "tooLong") return [{ kind: "malformed" }];
      if (piece.type === capsuleTypes.drain) return [{ kind: "drain" }];
      const { payload } = piece;
      if (payload.length < 4) return [{ kind: "malformed" }];
      const code = new DataView(payload.buffer, payload.byteOffset).getUint32(0);
      return [{ kind: "close", code, reason: new TextDecoder().decode(payload.subarray(4)) }];
    });
  }
}
