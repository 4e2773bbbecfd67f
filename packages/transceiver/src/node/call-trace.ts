/**
 * A call as OpenTelemetry spans: one for the call, below it one a turn, below that the turn's stages, which add up to it.
 * Only the API is needed here; without an SDK behind it nothing is recorded.
 */

import { type Context, ROOT_CONTEXT, type Span, SpanStatusCode, type Tracer, trace } from "@opentelemetry/api";
import type { Milli, TurnReport } from "@sluice/conversation";

/** What a call's span says of it. */
export interface CallDescription {
  readonly id: string;
  readonly pipe: string;
  readonly model: string;
}

/** The spans of one call. Attributes hold names and figures, never what was said. */
export class CallTrace {
  readonly #tracer: Tracer;
  readonly #epochMs: number;
  readonly #span: Span;
  readonly #context: Context;

  /** `epochMs`: what the monotonic clock's zero is in milliseconds since 1970. */
  constructor(tracer: Tracer, epochMs: number, now: Milli, { id, pipe, model }: CallDescription) {
    this.#tracer = tracer;
    this.#epochMs = epochMs;
    const attributes = { "sluice.call.id": id, "sluice.pipe": pipe, "gen_ai.request.model": model };
    this.#span = tracer.startSpan("call", { startTime: epochMs + now, attributes }, ROOT_CONTEXT);
    this.#context = trace.setSpan(ROOT_CONTEXT, this.#span);
  }

  /** A turn, once it is known where its time went. */
  handleTurn({ turn, inputItemId, utterance, timeline, voicedMs, frames }: TurnReport): void {
    let at = this.#epochMs + timeline.startedAt;
    const attributes = {
      "sluice.turn": turn,
      "sluice.turn.total_ms": timeline.totalMs,
      "sluice.turn.clock": timeline.clock,
      "sluice.turn.voiced_ms": voicedMs,
      "sluice.item.input": inputItemId,
      "sluice.item.output": utterance.itemId,
      "sluice.response": utterance.responseId,
      "sluice.frames.repaired": frames.repaired + frames.fec,
      "sluice.frames.concealed": frames.concealed,
    };
    const span = this.#tracer.startSpan("turn", { startTime: at, attributes }, this.#context);
    const within = trace.setSpan(this.#context, span);
    for (const { name, ms } of timeline.stages) {
      const stage = this.#tracer.startSpan(name, { startTime: at, attributes: { "sluice.stage.ms": ms } }, within);
      // Mouth and arrival are taken by two clocks: a stage may come out below zero, which no span can show.
      if (ms > 0) at += ms;
      stage.end(at);
    }
    span.end(at);
  }

  /** An engine could not answer. */
  handleFailure(now: Milli, code: string): void {
    this.#span.addEvent("engine failed", { "error.type": code }, this.#epochMs + now);
  }

  handleEnded(now: Milli, reason: string): void {
    this.#span.setAttribute("sluice.call.end", reason);
    if (reason === "internal error") this.#span.setStatus({ code: SpanStatusCode.ERROR, message: reason });
    this.#span.end(this.#epochMs + now);
  }
}
