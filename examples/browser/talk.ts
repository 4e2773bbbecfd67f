/**
 * The smallest page that talks. With a server running (`npm start`), from the repository's root:
 * `npx vite --config console/vite.config.ts examples/browser`, then open /talk.html.
 */
import { type Conversation, connect } from "@sluice/client";

const button = document.querySelector<HTMLButtonElement>("#talk")!;
const state = document.querySelector("#state")!;
const transcript = document.querySelector("#transcript")!;
let conversation: Conversation | undefined;

button.addEventListener("click", async () => {
  if (conversation) {
    conversation.close();
    return;
  }
  button.disabled = true;
  try {
    conversation = await connect();
    conversation.on("transcript", ({ id, role, text }) => {
      const line = document.getElementById(id) ?? transcript.appendChild(document.createElement("li"));
      line.id = id;
      line.textContent = `${role}: ${text || "…"}`;
    });
    conversation.on("sluice.turn", ({ total_ms }) => {
      state.textContent = `answered after ${Math.round(total_ms)} ms`;
    });
    conversation.on("state", ({ state: now, reason }) => {
      state.textContent = reason?.message ?? now;
      if (now !== "closed") return;
      conversation = undefined;
      button.textContent = "Talk";
    });
    button.textContent = "End";
    state.textContent = conversation.state;
  } catch (error) {
    state.textContent = error instanceof Error ? error.message : String(error);
  } finally {
    button.disabled = false;
  }
});
