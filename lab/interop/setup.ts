/** How long a peer's client takes to be in a call with Sluice, and what went over the wire until then. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { silence } from "../speech.ts";
import { encodeWav } from "../wav.ts";
import { DELAY_MS } from "./conversation.ts";
import { type Command, runProgram } from "./process.ts";
import { postTo, serveOffers, throughNetwork } from "./signaling.ts";
import { nameOf } from "./trace.ts";
import { SESSION_UPDATE } from "./words.ts";

const LIMIT_MS = 40_000;

/**
 * Lets the client of `command` call and hang up after the first event; in milliseconds, from its start to its open data
 * channel. `trace` gets a line for each packet but media. Throws when it does not come to a call.
 */
export async function measureSetup(
  command: Command,
  url: string,
  loss: number,
  seed: number,
  trace?: (line: string) => void,
): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-setup-"));
  const file = (name: string) => join(folder, name);
  let startedAt: number | undefined;
  // Both ways as the network takes them, in milliseconds from the first.
  const onTaken = (direction: "up" | "down", packet: Uint8Array, isLost: boolean) => {
    startedAt ??= performance.now();
    const name = nameOf(packet);
    if (name.startsWith("SRT")) return;
    const at = (performance.now() - startedAt).toFixed(0).padStart(6);
    trace?.(`${at} ${direction === "up" ? "->" : "<-"} ${name} ${packet.length}${isLost ? "  LOST" : ""}`);
  };
  const between = throughNetwork(postTo(url), seed, { delayMs: DELAY_MS, loss }, trace && onTaken);
  const offers = await serveOffers(between.answer);
  try {
    writeFileSync(file("say.wav"), encodeWav({ sampleRate: 48_000, channels: 1, pcm: silence(100, 48_000) }));
    const args = [offers.url, file("say.wav"), file("heard.raw"), file("events.jsonl")];
    const until = "session.created"; // what it hangs up after
    const printed = await runProgram([...command, ...args, JSON.stringify(SESSION_UPDATE), until], LIMIT_MS);
    return (JSON.parse(printed.trim().split("\n").at(-1)!) as { setup_ms: number }).setup_ms;
  } finally {
    offers.close();
    between.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
