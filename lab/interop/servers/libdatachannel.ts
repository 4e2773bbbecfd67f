/** An echo by node-datachannel: each packet goes back under a name of its own. */
import { PeerConnection, type Track } from "node-datachannel";
import { answerOffers } from "./offers.ts";

const SSRC = 0x0ec40;
const kept = new Set<PeerConnection | Track>(); // what nobody holds is collected

await answerOffers(
  (offer) =>
    new Promise((resolve) => {
      const peer = new PeerConnection("echo", { iceServers: [], bindAddress: "127.0.0.1" });
      kept.add(peer);
      peer.onTrack((track) => {
        kept.add(track);
        track.onMessage((packet) => {
          const type = packet[1]! & 0x7f;
          if (type >= 64 && type <= 95) return; // RTCP
          packet.writeUInt32BE(SSRC, 8);
          track.sendMessageBinary(packet);
        });
      });
      peer.onGatheringStateChange((state) => {
        if (state === "complete") resolve(peer.localDescription()!.sdp);
      });
      peer.onStateChange((state) => {
        if (state === "closed" || state === "failed" || state === "disconnected") peer.close();
      });
      // It learns where the caller is from its checks: a check of its own that is there before its answer is makes the
      // caller, which is libjuice too, fail now and then.
      peer.setRemoteDescription(offer.replace(/^a=(candidate:.*|end-of-candidates)\r?\n/gm, ""), "offer");
    }),
);
