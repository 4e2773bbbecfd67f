/** Recognition, language model and voice that take no time, behind real HTTP, in a process of their own. */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const SPEECH = Buffer.alloc(
  48_000,
  Buffer.from(Int16Array.from({ length: 240 }, (_, at) => 6000 * Math.sin(at / 6)).buffer),
);
const EVENTS = ["It is", " fine,", " thank you", " for asking."]
  .map((content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`)
  .join("");
const END = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`;

function answer(request: IncomingMessage, response: ServerResponse): void {
  request.resume();
  request.on("end", () => {
    const path = request.url ?? "";
    if (path.endsWith("/audio/transcriptions")) {
      response.setHeader("content-type", "application/json").end('{"text":"How are you?"}');
    } else if (path.endsWith("/chat/completions")) {
      response.setHeader("content-type", "text/event-stream").end(EVENTS + END);
    } else if (path.endsWith("/audio/speech")) {
      response.setHeader("content-type", "audio/pcm").end(SPEECH);
    } else response.setHeader("content-type", "application/json").end('{"data":[]}');
  });
}

const server = createServer(answer);
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("disconnect", () => process.exit(0));
