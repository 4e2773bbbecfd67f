/** When to ask an engine once more: a moment later, at most twice, and only while there is time. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Milli } from "@sluice/conversation";
import { EngineError } from "./engine-error.ts";

/** How often and how soon a request is repeated. */
export interface RetryPolicy {
  /** Attempts after the first. Default 2; each may cost the caller `capMs` and the server a request. */
  readonly retries: number;
  /** The first pause is between 0 and this, the next between 0 and twice this. Default 150 ms. */
  readonly baseMs: Milli;
  /** The longest pause, unless the server asks for more. Default 1000 ms. */
  readonly capMs: Milli;
  /** Uniform from 0 to 1; `Math.random` unless a test wants the same every time. */
  readonly random: () => number;
}

/** The policy unless an engine's options say otherwise. */
export const DEFAULT_RETRY: RetryPolicy = { retries: 2, baseMs: 150, capMs: 1000, random: Math.random };

/** Pause before attempt `attempt` (1 is the first repetition): full jitter, and never sooner than the server asked. */
export function pauseBefore(attempt: number, { baseMs, capMs, random }: RetryPolicy, error: EngineError): Milli {
  const jittered = random() * Math.min(capMs, baseMs * 2 ** (attempt - 1));
  return Math.max(jittered, error.retryAfterMs ?? 0);
}

/** Calls `attempt` until it succeeds, fails for good, has been repeated enough, or a repetition would end too late. */
export async function retrying<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  limitMs: Milli,
  signal: AbortSignal,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (let count = 1; ; count++) {
    try {
      return await attempt();
    } catch (error) {
      if (signal.aborted || !(error instanceof EngineError) || !error.retryable || count > policy.retries) throw error;
      const pause = pauseBefore(count, policy, error);
      if (performance.now() + pause >= deadline) throw error;
      await sleep(pause, undefined, { signal }).catch(() => {});
      if (signal.aborted) throw error;
    }
  }
}

/** `retry-after-ms`, or `retry-after` in seconds or as a date (RFC 9110 section 10.2.3), in milliseconds. */
export function parseRetryAfter(
  headers: Readonly<Record<string, string | string[] | undefined>>,
  now: () => number,
): Milli | undefined {
  const exact = Number.parseFloat(single(headers["retry-after-ms"]));
  if (exact >= 0) return exact;
  const value = single(headers["retry-after"]);
  if (/^\d+(\.\d+)?$/.test(value)) return Number.parseFloat(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now());
}

function single(value: string | string[] | undefined): string {
  return (Array.isArray(value) ? value[0] : value) ?? "";
}
