/** Realtime events over a WebSocket. */
export {
  createWebSocketCounters,
  type Socket,
  type WebSocketCounters,
  WebSocketLink,
  type WebSocketLinkLimits,
  type WebSocketLinkOptions,
  webSocketLinkDefaults,
} from "./link.ts";
