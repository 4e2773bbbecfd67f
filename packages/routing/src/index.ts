/** The token that routes a call, and just enough of STUN and QUIC to find it. Pure. */
export {
  type CidCodec,
  type CidConfig,
  cidRotation,
  createCidCodec,
  type DecodedCid,
  MAX_CID_LENGTH,
  UNROUTABLE_ROTATION,
} from "./cid.ts";
export { classify, type PacketKind } from "./demux.ts";
export {
  decodeHop,
  encodeHop,
  encodeHopHeader,
  type HopHeader,
  type HopPacket,
  hopHeaderSize,
  looksLikeHop,
  MAX_HOP_HEADER_SIZE,
} from "./hop.ts";
export { formatIp, type IpAddress, type IpPrefix, isWithin, parseIp, parsePrefix } from "./ip.ts";
export {
  CID_LENGTH,
  createKeyRing,
  formatKey,
  formatKeys,
  generateKey,
  type KeyConfig,
  KeyFormatError,
  KeyRing,
  NONCE_SIZE,
  nextRotation,
  parseKey,
  parseKeys,
  type RingKey,
} from "./key-ring.ts";
export { parseQuicHeader, QUIC_V1, QUIC_V2, type QuicHeader, type QuicLongType } from "./quic-header.ts";
export { formatRegistration, parseRegistration, type Registration, type RegistrationReading } from "./registration.ts";
export {
  clusterOf,
  createServerId,
  formatServerId,
  nodeOf,
  parseServerId,
  type ServerId,
} from "./server-id.ts";
export {
  BINDING_METHOD,
  type BindingError,
  type BindingRequest,
  type BindingSuccess,
  formatBindingError,
  formatBindingRequest,
  formatBindingSuccess,
  hasValidFingerprint,
  hasValidIntegrity,
  looksLikeStun,
  parseStun,
  type StunClass,
  type StunMessage,
} from "./stun.ts";
export {
  icePassword,
  mintUfrag,
  readUfrag,
  UFRAG_LENGTH,
  type UfragOptions,
  type UfragReading,
} from "./token/ufrag.ts";
