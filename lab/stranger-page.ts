/**
 * A stranger's page: the built client SDK, and nothing of Sluice's own around it. Its microphone is a device of samples that
 * speaks when it is told to.
 */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { bundleApp } from "./bundle.ts";

/**
 * The microphone, to be put into pages before their own scripts and before the ear, which listens to what it gives.
 * `window.__say` takes 48 kHz 16-bit samples as base64 and gives the time from which they are said, by the page's clock.
 */
export const SPEAKING_MICROPHONE = `(() => {
  let graph;
  const open = () => graph ??= (() => {
    const context = new AudioContext({ sampleRate: 48000 });
    const out = context.createMediaStreamDestination();
    out.channelCount = 1;
    const quiet = context.createConstantSource();
    quiet.offset.value = 0;
    quiet.connect(out);
    quiet.start();
    return { context, out };
  })();
  // A device is there before anybody asks for it.
  window.__plugIn = () => open().context.resume();
  navigator.mediaDevices.getUserMedia = async () => {
    const { context, out } = open();
    await context.resume();
    return out.stream.clone();
  };
  window.__say = (text) => {
    const bytes = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
    const pcm = new Int16Array(bytes.buffer);
    const { context, out } = open();
    const sound = context.createBuffer(1, pcm.length, 48000);
    sound.getChannelData(0).set(Float32Array.from(pcm, (sample) => sample / 32768));
    const source = context.createBufferSource();
    source.buffer = sound;
    source.connect(out);
    source.start();
    return performance.now();
  };
})();`;

/** Serves a page of `app`, a module that imports the SDK as `"sdk"`; its address. */
export async function servePage(app: string): Promise<{ readonly url: string; close(): void }> {
  const script = await bundleApp(app);
  const server = createServer((request, response) => {
    const isScript = request.url === "/app.js";
    response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html" });
    response.end(
      isScript ? script : '<!doctype html><title>a stranger</title><script type="module" src="/app.js"></script>',
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}/`,
    close: () => server.close().closeAllConnections(),
  };
}
