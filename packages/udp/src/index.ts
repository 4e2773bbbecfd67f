export { loadNative, type NativeLoading, nativePackageName } from "./native.ts";
export { hasBatches, openUdp, type Peer, type UdpMode, type UdpOptions, type UdpSocket } from "./socket.ts";
