/**
 * Resume: a conversation that outlives its connection. Cut the network while it runs, or restart what stands between: it
 * reconnects by itself, says so, and goes on; every event comes once.
 *
 *     node --conditions=sluice-source examples/node/resume.ts http://localhost:8080
 */
import { createInterface } from "node:readline/promises";
import { connect, type SessionSettings } from "@sluice/client";

const [url = "http://localhost:8080"] = process.argv.slice(2);
const session: SessionSettings = { output_modalities: ["text"] };
const conversation = await connect({ url, transport: "websocket", microphone: false, playout: false, session });
conversation.on("connectionState", ({ state, reason }) => console.log(`[${state}] ${reason?.message ?? ""}`));
conversation.on("transport", ({ reason }) => console.log(`[${reason}]`));
conversation.on("response.output_text.done", ({ text }) => console.log(`agent: ${text}`));
console.log(`[${conversation.connectionState}] say something`);
for await (const line of createInterface({ input: process.stdin })) {
  // Also while there is no connection: it is sent over the next one.
  if (conversation.connectionState === "closed") break;
  conversation.sendText(line);
}
conversation.close();
