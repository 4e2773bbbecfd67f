/** Takes offers over HTTP, and prints where. */
import { serveOffers } from "../signaling.ts";

/** Answers each offer by `answer`, until the process is ended. */
export async function answerOffers(answer: (offer: string) => Promise<string>): Promise<void> {
  const { url } = await serveOffers(answer);
  console.log(url);
  process.on("SIGTERM", () => process.exit(0));
}
