/** An echo by werift: each packet goes back. */
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } from "werift";
import { PAYLOAD_TYPES } from "../sound.ts";
import { answerOffers } from "./offers.ts";

await answerOffers(async (offer) => {
  const opus = new RTCRtpCodecParameters({
    mimeType: "audio/opus",
    clockRate: 48_000,
    channels: 2,
    payloadType: PAYLOAD_TYPES.opus,
  });
  const peer = new RTCPeerConnection({
    codecs: { audio: [opus] },
    iceServers: [],
    iceAdditionalHostAddresses: ["127.0.0.1"],
  });
  const mouth = new MediaStreamTrack({ kind: "audio" });
  peer.addTransceiver(mouth, { direction: "sendrecv" });
  peer.onTrack.subscribe((ear) => ear.onReceiveRtp.subscribe((packet) => mouth.writeRtp(packet.clone())));
  await peer.setRemoteDescription({ type: "offer", sdp: offer });
  await peer.setLocalDescription(await peer.createAnswer());
  return peer.localDescription!.sdp;
});
