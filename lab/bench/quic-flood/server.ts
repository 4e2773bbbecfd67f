/** The server under flood, in a process of its own: tells its memory and what its calls have heard. */
import { loadQuicEngine } from "@sluice/transceiver";
import { BareServer } from "../../webtransport/server.ts";

/** Asked of the server. */
export type FloodRequest = { readonly kind: "token" } | { readonly kind: "look"; readonly collect: boolean };

/** Answered by it. */
export type FloodReport =
  | { readonly kind: "token"; readonly answer: ReturnType<BareServer["answer"]> }
  | {
      readonly kind: "look";
      readonly rss: number;
      readonly peak: number;
      /** Frames that recognition heard, of all calls. */
      readonly frames: number;
      readonly stats: ReturnType<BareServer["server"]["stats"]>;
    };

const { engine } = loadQuicEngine();
if (!engine) process.exit(3);
const server = await BareServer.open({ engine });
let peak = 0;
setInterval(() => {
  peak = Math.max(peak, process.memoryUsage.rss());
}, 50);

process.on("message", (request: FloodRequest) => {
  if (request.kind === "token") return report({ kind: "token", answer: server.answer() });
  if (request.collect) (globalThis as { gc?: () => void }).gc?.();
  const rss = process.memoryUsage.rss();
  const frames = server.sessions.reduce((sum, { ordered }) => sum + ordered.length, 0);
  report({ kind: "look", rss, peak: Math.max(peak, rss), frames, stats: server.server.stats() });
  if (request.collect) peak = 0;
});

function report(message: FloodReport): void {
  process.send?.(message);
}
