/** What came of a transcription. */
import type { SttEvent } from "@sluice/conversation";

/** Reads a transcription to its last word. */
export async function finalText(
  source: AsyncIterable<SttEvent>,
  onEvent: (event: SttEvent) => void,
): Promise<string | undefined> {
  let text: string | undefined;
  for await (const event of source) {
    onEvent(event);
    if (event.kind === "final") text = event.text.trim();
  }
  return text;
}
