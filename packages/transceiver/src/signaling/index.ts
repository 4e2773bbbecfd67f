/** Signaling: the HTTP API, WebSocket handshakes, and who may use them. */
export { isLoopbackAddress } from "./address.ts";
export { Auth, type AuthOptions, type Caller, type Grant, type Refusal } from "./auth.ts";
export { AtCapacity, type CallDirectory, type WebRtcCall, type WebRtcCallRequest } from "./calls.ts";
export { ClientSecrets, type ClientSecretsOptions } from "./client-secret.ts";
export { type HandshakeVerdict, judgeHandshake, SUBPROTOCOL, type WebSocketRequest } from "./handshake.ts";
export { createSignaling, type SignalingBindings, type SignalingOptions } from "./signaling.ts";
