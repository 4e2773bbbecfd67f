export { hasBatches, openUdp, type Peer, type UdpMode, type UdpOptions, type UdpSocket } from "./socket.ts";
