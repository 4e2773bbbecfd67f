/** When an answer is made before the turn is over, and when that was too early. */
import type { Milli } from "./audio.ts";
import type { ContextItem } from "./engines.ts";

/**
 * Silence after which an answer is prepared. A voice detector's windows are 32 ms; pauses that short are the closures of
 * consonants. What it costs when the caller goes on: a request to the recognition, and to the model if that was quick.
 */
export const PAUSE_MS: Milli = 96;

/** The utterance under way as it will stand in the conversation; what was said, the engine hears for itself. */
export function utteranceUnderWay(itemId: string): ContextItem {
  const part = { kind: "audio", pcm: undefined, transcript: undefined, voicedStartMs: 0, voicedEndMs: 0 } as const;
  return { id: itemId, role: "user", parts: [part] };
}
