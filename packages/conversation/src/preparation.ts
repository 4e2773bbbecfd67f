/** When an answer is made before the turn is over, and when that was too early. */
import type { Milli } from "./audio.ts";
import type { ContextItem } from "./engines.ts";
import type { Forecast } from "./forecast.ts";
import type { Spending } from "./spending.ts";

/**
 * Silence after which an answer is prepared. A voice detector's windows are 32 ms; pauses that short are the closures of
 * consonants. What it costs when the caller goes on: a request to the recognition, and to the model if that was quick.
 */
export const PAUSE_MS: Milli = 96;
/** The same for ears whose words are waited for: sooner by a window and a half, for a few recognitions more. */
export const SHORT_PAUSE_MS: Milli = 48;
/** Words that come sooner after the end of the audio are seldom what an answer waits for. */
const SLOW_EARS_MS: Milli = 200;

/** A partial transcript is taken for the whole once as much silence passed as this share of them needed to be complete. */
const COMPLETE = 0.2;
/** What is recorded for a transcript of which no partial ever was complete. */
export const NEVER_MS: Milli = 60_000;

/** The silence after which a partial transcript is probably the whole one; `undefined`: never, or nobody knows. */
export function completeAfterMs(ears: Forecast | undefined, now: Milli): Milli | undefined {
  const afterMs = ears?.quantile(now, "partial", COMPLETE);
  return afterMs === undefined || afterMs >= NEVER_MS / 2 ? undefined : afterMs;
}

/**
 * The silence after which an answer is prepared, by what is known of the ears. What decodes while it listens has its words
 * no sooner for being told sooner; `hearing` bounds the recognitions in vain.
 */
export function pauseMs(now: Milli, ears: Forecast, hearing: Spending): Milli {
  const wordsMs = ears.quantile(now, "sttFinal", 0.5);
  if (wordsMs === undefined || wordsMs < SLOW_EARS_MS || completeAfterMs(ears, now) !== undefined) return PAUSE_MS;
  return hearing.allowed ? SHORT_PAUSE_MS : PAUSE_MS;
}

/** The utterance under way as it will stand in the conversation; what was said, the engine hears for itself. */
export function utteranceUnderWay(itemId: string): ContextItem {
  const part = { kind: "audio", pcm: undefined, transcript: undefined, voicedStartMs: 0, voicedEndMs: 0 } as const;
  return { id: itemId, role: "user", parts: [part] };
}
