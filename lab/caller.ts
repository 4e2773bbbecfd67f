/**
 * A caller in a real browser: a page that offers microphone and loudspeaker to a transceiver, as an application would,
 * and needs no page of the server's own.
 */
import type { BrowserContext, Page } from "playwright-core";

/** Where a call goes. */
export interface CallTarget {
  /** Answers an SDP offer; its origin is the page's too, as microphones are for secure origins only. */
  readonly url: string;
  /** Sent as bearer token. */
  readonly key?: string | undefined;
}

/** What the page knows of its call. */
export interface CallerReport {
  /** State of the peer connection. */
  readonly state: string;
  /** Types of the events that came over the data channel since the last report. */
  readonly events: readonly string[];
  /** RTP packets so far, as the browser counts them. */
  readonly packetsReceived: number;
  readonly packetsSent: number;
  /** Sound that the browser had to invent so far, silence aside. */
  readonly concealedMs: number;
}

/** A call under way. */
export interface Caller {
  readonly page: Page;
  report(): Promise<CallerReport>;
  /** Sends an event. */
  send(event: unknown): Promise<void>;
  /** Ends the call, if it has not ended. */
  hangUp(): Promise<void>;
}

// Plain JavaScript on purpose: it is sent as text.
const PAGE = `<!doctype html><title>a call</title><script>
  const call = { events: [] };
  window.placeCall = async (url, key) => {
    const constraints = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: constraints });
    const peer = call.peer = new RTCPeerConnection();
    peer.addTrack(microphone.getAudioTracks()[0], microphone);
    const channel = call.channel = peer.createDataChannel("oai-events");
    channel.onmessage = ({ data }) => call.events.push(JSON.parse(data).type);
    peer.ontrack = ({ streams }) => {
      call.audio = new Audio();
      call.audio.srcObject = streams[0];
      call.audio.play();
    };
    await peer.setLocalDescription();
    const headers = { "content-type": "application/sdp", ...(key ? { authorization: "Bearer " + key } : {}) };
    const response = await fetch(url, { method: "POST", headers, body: peer.localDescription.sdp });
    const text = await response.text();
    if (!response.ok) throw new Error(response.status + " " + text);
    await peer.setRemoteDescription({ type: "answer", sdp: text });
    await new Promise((resolve, reject) => {
      channel.onopen = resolve;
      setTimeout(() => reject(new Error("the call is not up within 10 s")), 10000);
    });
  };
  window.takeReport = async () => {
    const report = { state: call.peer.connectionState, events: call.events.splice(0) };
    for (const stats of (await call.peer.getStats()).values()) {
      if (stats.type === "outbound-rtp") report.packetsSent = stats.packetsSent;
      if (stats.type !== "inbound-rtp") continue;
      report.packetsReceived = stats.packetsReceived;
      report.concealedMs = (stats.concealedSamples - stats.silentConcealedSamples) / 48;
    }
    return { packetsReceived: 0, packetsSent: 0, concealedMs: 0, ...report };
  };
  window.sendEvent = (event) => call.channel.send(JSON.stringify(event));
  window.hangUp = () => call.peer.close();
</script>`;

/** Opens a page in `context` and calls; rejects when the call is refused or does not come up. */
export async function placeCall(context: BrowserContext, { url, key }: CallTarget): Promise<Caller> {
  const page = await context.newPage();
  const place = new URL("/caller-page", url).href;
  await page.route(place, (route) => route.fulfill({ contentType: "text/html", body: PAGE }));
  await page.goto(place);
  await page.evaluate(([to, secret]) => (globalThis as unknown as PageSide).placeCall(to!, secret), [url, key]);
  return {
    page,
    report: () => page.evaluate(() => (globalThis as unknown as PageSide).takeReport()),
    send: (event) => page.evaluate((sent) => (globalThis as unknown as PageSide).sendEvent(sent), event),
    async hangUp() {
      if (page.isClosed()) return;
      await page.evaluate(() => (globalThis as unknown as PageSide).hangUp());
      await page.close();
    },
  };
}

interface PageSide {
  placeCall(url: string, key: string | undefined): Promise<void>;
  takeReport(): Promise<CallerReport>;
  sendEvent(event: unknown): void;
  hangUp(): void;
}
