/** Terminates media and runs conversations. */
export { loadOpus, type OpusCodec } from "./media/opus.ts";
export type { CallEngines } from "./node/call.ts";
export { PortInUse, type TlsOptions } from "./node/http.ts";
export { loadQuicEngine, type QuicEngineLoading } from "./node/quic-engine.ts";
export { Registrar, type RegistrarOptions } from "./node/registrar.ts";
export {
  type RegistryOptions,
  type RelaysOptions,
  serveTransceiver,
  type Transceiver,
  type TransceiverOptions,
  type WebTransportOptions,
} from "./node/transceiver.ts";
export { UdpPortInUse } from "./node/udp.ts";
export {
  type Accept,
  serveWebRtc,
  type WebRtcDrops,
  type WebRtcServer,
  type WebRtcServerOptions,
  type WebRtcServerStats,
} from "./node/webrtc-server.ts";
export type { PublicRelay } from "./relayed/steering.ts";
export { AtCapacity } from "./signaling/calls.ts";
export type { LabNetwork, LabOrder, LabProfile, LabState } from "./signaling/lab.ts";
export { SdpError } from "./webrtc/sdp.ts";
export type { WebRtcSessionStats } from "./webrtc/session.ts";
export { type QuicEndpoint, type QuicEngine, QuicEngineError, type QuicIdentity } from "./webtransport/quic-engine.ts";
