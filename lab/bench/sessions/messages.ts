/** What the bench asks its server and its load generator, and what they answer. */
import type { Dominant } from "./cpu-profile.ts";

/** One turn: the caller speaks for half of it, then the agent. */
export const CYCLE_MS = 10_000;
/** How long the caller speaks in each turn. */
export const CALLER_MS = 5_000;
/** Silence after which the caller's turn is over. */
export const END_SILENCE_MS = 300;
/** How long the agent speaks: it stops before the caller begins again. */
export const AGENT_MS = CYCLE_MS - CALLER_MS - END_SILENCE_MS - 100;

/** Asked of the server. `measure` answers for the time since the one before; with `profile` the time after it is profiled. */
export type ServerRequest =
  | {
      readonly kind: "start";
      readonly transport: "webrtc" | "webtransport";
      readonly transportOnly: boolean;
      readonly agent: Int16Array;
    }
  | { readonly kind: "measure"; readonly profile: boolean }
  | { readonly kind: "close" };

/** Answered by the server. */
export type ServerReport =
  | { readonly kind: "started"; readonly url: string }
  | {
      readonly kind: "measured";
      readonly elapsedMs: number;
      readonly cpuMs: number;
      /** How long its main thread could have run and did not, as others had its core; NaN where the system does not tell. */
      readonly waitedMs: number;
      readonly rssMb: number;
      readonly received: number;
      readonly sent: number;
      readonly sendErrors: number;
      readonly pacingErrorMsP99: number;
      readonly responses: number;
      readonly interrupted: number;
      readonly dominant: Dominant | undefined;
    };

/** Asked of the load generator. */
export type LoadRequest =
  | {
      readonly kind: "open";
      readonly caller: Int16Array;
      readonly url: string;
      readonly sessions: number;
      readonly transportOnly: boolean;
    }
  | { readonly kind: "measure" }
  | { readonly kind: "close" };

/** Answered by the load generator. */
export type LoadReport =
  | { readonly kind: "opened" }
  | {
      readonly kind: "measured";
      readonly elapsedMs: number;
      readonly cpuMs: number;
      readonly sent: number;
      readonly received: number;
      /** Distance of two packets of the agent, against the 20 ms that it should be: also the generator's own lateness. */
      readonly gapErrorMsP99: number;
      /** How late the generator itself sent. */
      readonly lateMsP99: number;
    };
