/** The page of a stock `@moq/publish` and `@moq/watch`: what docs/moq.md tells people to write, and what a test asks of it. */
import "@moq/publish/element";
import "@moq/watch/element";

const publish = document.querySelector("moq-publish");
const watch = document.querySelector("moq-watch");
const events = [];

globalThis.call = async (server, key, session) => {
  const response = await fetch(`${server}/v1/realtime/calls`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${key}` },
    body: JSON.stringify({ transport: "moq", session }),
  });
  const { url, certificate_hashes } = await response.json();
  const serverCertificateHashes = certificate_hashes.map((hash) => ({
    algorithm: "sha-256",
    value: Uint8Array.from(atob(hash), (char) => char.charCodeAt(0)),
  }));
  for (const element of [publish, watch]) {
    element.connection.webtransport = { serverCertificateHashes };
    element.connection.websocket = { enabled: false };
    element.url = url;
  }
  void follow();
  return response.status;
};

async function follow() {
  const decoder = new TextDecoder();
  while (!watch.broadcast.out.active.peek()) await new Promise((resolve) => setTimeout(resolve, 50));
  const track = watch.broadcast.out.active.peek().track("events.json").subscribe({ priority: 90, ordered: true });
  for (let group = await track.nextGroup(); group; group = await track.nextGroup()) {
    for (let frame = await group.readFrame(); frame; frame = await group.readFrame()) {
      events.push(JSON.parse(decoder.decode(frame.payload)));
    }
  }
}

globalThis.report = () => ({
  events,
  publishes: publish.connection.established.peek()?.version,
  watches: watch.connection.established.peek()?.version,
});
