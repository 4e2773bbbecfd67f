/**
 * A React app that talks. With a server running (`npm start`), from the repository's root:
 * `npx vite --config console/vite.config.ts examples/browser`, then open /react.html.
 */
import { useConversation } from "@sluice/client/react";
import { createRoot } from "react-dom/client";

function Talk() {
  const { connectionState, transport, transcript, responding, error, start, stop } = useConversation();
  const idle = connectionState === "idle";
  return (
    <main>
      <button type="button" onClick={() => (idle ? start() : stop())}>
        {idle ? "Talk" : "End"}
      </button>
      <p role="status">
        {error?.message ?? connectionState} {transport && `over ${transport.kind}`} {responding && "(answering)"}
      </p>
      <ol>
        {transcript.map(({ id, role, text }) => (
          <li key={id}>
            {role}: {text || "…"}
          </li>
        ))}
      </ol>
    </main>
  );
}

createRoot(document.querySelector("#app")!).render(<Talk />);
