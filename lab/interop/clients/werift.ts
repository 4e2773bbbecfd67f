/** A client by werift: `node werift.ts URL SAY.wav HEARD.raw EVENTS.jsonl`. See `../client.ts`. */
import { MediaStreamTrack, RTCPeerConnection, RTCRtpCodecParameters } from "werift";
import { encodeRtp } from "../../../packages/transceiver/src/webrtc/rtp.ts";
import { runClient } from "../client.ts";
import { postTo } from "../signaling.ts";
import { Ear, FRAME_MS, FRAME_TICKS, PAYLOAD_TYPES } from "../sound.ts";

const CONNECT_MS = 20_000;

await runClient(async ({ url, frames, onEvent }) => {
  const startedAt = performance.now();
  const ear = new Ear();
  const opus = new RTCRtpCodecParameters({
    mimeType: "audio/opus",
    clockRate: 48_000,
    channels: 2,
    payloadType: PAYLOAD_TYPES.opus,
  });
  const peer = new RTCPeerConnection({ codecs: { audio: [opus] }, bundlePolicy: "max-bundle", iceServers: [] });
  const track = new MediaStreamTrack({ kind: "audio" });
  peer.addTransceiver(track, { direction: "sendrecv" });
  peer.onTrack.subscribe((remote) =>
    remote.onReceiveRtp.subscribe(({ header, payload }) => ear.handleRtp({ ...header, payload })),
  );
  const channel = peer.createDataChannel("oai-events");
  channel.onMessage.subscribe((message) => onEvent(String(message)));
  const opened = new Promise<void>((resolve, reject) => {
    setTimeout(() => reject(new Error(`not connected: ${peer.connectionState}`)), CONNECT_MS).unref();
    channel.stateChanged.subscribe((state) => state === "open" && resolve());
  });
  await peer.setLocalDescription(await peer.createOffer());
  await peer.setRemoteDescription({ type: "answer", sdp: await postTo(url)(peer.localDescription!.sdp) });
  await opened;
  let timer: NodeJS.Timeout | undefined;
  return {
    setupMs: performance.now() - startedAt,
    sendEvent: (event) => channel.send(JSON.stringify(event)),
    speak: () => {
      const from = performance.now();
      let at = 0;
      timer = setInterval(() => {
        for (; at < frames.length && from + at * FRAME_MS <= performance.now(); at++)
          track.writeRtp(
            encodeRtp({
              marker: at === 0,
              payloadType: PAYLOAD_TYPES.opus,
              sequenceNumber: at + 1,
              timestamp: (at + 1) * FRAME_TICKS,
              ssrc: 0x1234,
              payload: frames[at]!,
            }),
          );
      }, 2);
    },
    close: () => {
      clearInterval(timer);
      void peer.close();
      return ear.play();
    },
  };
});
