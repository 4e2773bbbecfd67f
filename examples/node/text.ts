/**
 * Text only: asks in writing, prints the answer as it comes.
 *
 *     node --conditions=sluice-source examples/node/text.ts http://localhost:8080 "How are you?"
 */
import { connect, type SessionSettings } from "@sluice/client";

const [url = "http://localhost:8080", question = "How are you?"] = process.argv.slice(2);
const session: SessionSettings = { output_modalities: ["text"] };
const conversation = await connect({ url, transport: "websocket", microphone: false, playout: false, session });
conversation.on("response.output_text.delta", ({ delta }) => process.stdout.write(delta));
const answered = new Promise<void>((resolve) => conversation.on("response.done", () => resolve()));
conversation.sendText(question);
await answered;
process.stdout.write("\n");
conversation.close();
