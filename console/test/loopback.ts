/**
 * A server inside the page: answers the SDK's call with a second peer connection and plays a tone for the agent's
 * voice. For looking at the page without a server; what a real one does is tested in `test/e2e`.
 */
import type { ServerEvent } from "@sluice/client";

/** A server event before it has its `event_id`. */
export type EventDraft<Event = ServerEvent> = Event extends ServerEvent ? Omit<Event, "event_id"> : never;

/** What the page's `loopback` offers a script. */
export interface Loopback {
  /** Sends an event to the page. */
  emit(event: EventDraft): void;
  /** Switches the agent's tone on or off. */
  tone(on: boolean): void;
  /** Breaks the connection. */
  drop(): void;
}

/** Runs in the page before its own scripts, so it must not use anything outside itself. */
export function installLoopback(): void {
  const realFetch = window.fetch.bind(window);
  let events: RTCDataChannel | undefined;
  let peer: RTCPeerConnection | undefined;
  let gain: GainNode | undefined;
  let count = 0;
  let profile: string | null = null;
  const emit = (event: object) => events?.send(JSON.stringify({ event_id: `event_${count++}`, ...event }));

  window.fetch = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    if (url.includes("/hangup")) return new Response();
    if (url.includes("/v1/lab/network")) {
      const order = init?.body ? JSON.parse(String(init.body)) : {};
      if (order.profile !== undefined) profile = order.profile;
      const network = (name: string, about: string, round_trip_ms: number, loss: number) => ({
        ...{ name, about, round_trip_ms, loss },
        ...{ measured: "as published", source: "the screenshots' own", assumed: "-" },
      });
      return Response.json({
        profile,
        profiles: [
          network("good-wifi", "a quiet access point and a server in the same country", 16, 0.0005),
          network("cafe-wifi", "everybody's videos on one access point", 32, 0.0169),
          network("lte", "a phone with a good signal", 55, 0.002),
          network("lte-edge", "one bar: the radio repeats itself, then gives up", 105, 0.0385),
          network("train", "LTE at 300 km/h: a handover every few seconds", 85, 0.01),
          network("satellite", "a dish that looks at another satellite every 15 s", 50, 0.0099),
          network("hotel-nat", "a shared gateway that forgets who is who", 40, 0.005),
        ],
        packets: { carried: 18_204, dropped: 311 },
      });
    }
    if (!url.includes("/v1/realtime/calls")) return realFetch(input, init);
    if (new Headers(init?.headers).get("content-type") === "application/json") {
      const error = { message: "this server has no QUIC engine: use WebRTC or a WebSocket" };
      return Response.json({ error }, { status: 501 });
    }
    const context = new AudioContext();
    const oscillator = new OscillatorNode(context, { frequency: 180, type: "sawtooth" });
    gain = new GainNode(context, { gain: 0 });
    const wobble = new OscillatorNode(context, { frequency: 4 });
    const depth = new GainNode(context, { gain: 0.5 });
    const swell = new GainNode(context, { gain: 0.5 });
    const voice = context.createMediaStreamDestination();
    wobble.connect(depth).connect(swell.gain);
    oscillator.connect(swell).connect(gain).connect(voice);
    oscillator.start();
    wobble.start();
    peer = new RTCPeerConnection();
    peer.ondatachannel = ({ channel }) => {
      events = channel;
      channel.onopen = () =>
        emit({ type: "session.created", session: { id: "sess_1", object: "realtime.session", type: "realtime" } });
      channel.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "sluice.clock")
          emit({ type: "sluice.clock", client_ms: event.client_ms, server_ms: performance.now() });
        if (event.type === "session.update") emit({ type: "session.updated", session: event.session });
      };
    };
    await peer.setRemoteDescription({ type: "offer", sdp: String(init?.body) });
    peer.addTrack(voice.stream.getAudioTracks()[0]!, voice.stream);
    await peer.setLocalDescription();
    while (peer.iceGatheringState !== "complete") await new Promise((resolve) => setTimeout(resolve, 5));
    return new Response(peer.localDescription!.sdp, {
      status: 201,
      headers: { "content-type": "application/sdp", location: `${location.origin}/v1/realtime/calls/rtc_1` },
    });
  };
  const loopback: Loopback = {
    emit,
    tone: (on) => gain?.gain.setTargetAtTime(on ? 0.4 : 0, gain.context.currentTime, 0.01),
    drop: () => peer?.close(),
  };
  Object.assign(window, { loopback });
}
