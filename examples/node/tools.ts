/**
 * Tools: the agent asks for the time, this program looks at the clock, and the agent says it. Needs a model behind the
 * server (`npm start -- --llm …`).
 *
 *     node --conditions=sluice-source examples/node/tools.ts http://localhost:8080 "What time is it?"
 */
import { connect, type SessionSettings } from "@sluice/client";

const [url = "http://localhost:8080", question = "What time is it?"] = process.argv.slice(2);
const session: SessionSettings = {
  output_modalities: ["text"],
  tools: [
    {
      type: "function",
      name: "current_time",
      description: "The time now, as ISO 8601.",
      parameters: { type: "object", properties: {} },
    },
  ],
};
const conversation = await connect({ url, transport: "websocket", microphone: false, playout: false, session });
conversation.on("response.function_call_arguments.done", ({ call_id, name }) => {
  const output = name === "current_time" ? new Date().toISOString() : `there is no tool ${name}`;
  console.log(`${name}() = ${output}`);
  conversation.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id, output } });
});
conversation.on("response.output_text.delta", ({ delta }) => process.stdout.write(delta));
const answered = new Promise<void>((resolve) => {
  conversation.on("response.done", ({ response }) => {
    // A response that called a tool is followed by the one that uses its output.
    const called = response.output.some(({ type }) => type === "function_call");
    if (called) conversation.send({ type: "response.create" });
    else resolve();
  });
});
conversation.sendText(question);
await answered;
process.stdout.write("\n");
conversation.close();
