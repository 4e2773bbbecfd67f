/**
 * The responses of a conversation: its own, of which there is one at a time, and those beside it. Which turns are owed one,
 * what an engine is asked for, and what follows when one is over. Never reads a clock.
 */
import {
  activeResponse,
  type CauseId,
  invalidRequest,
  type McpApprovalRequestItem,
  type RealtimeError,
  type ResponseOptions,
  type Session,
} from "@sluice/realtime";
import type { AgentVoice } from "./agent-voice.ts";
import type { Milli } from "./audio.ts";
import type { ContextItem, EngineFailure } from "./engines.ts";
import type { IdleTimer } from "./idle.ts";
import type { CallerUtterance } from "./listener.ts";
import type { Memory } from "./memory.ts";
import type { IdPrefix, Outbox } from "./outbox.ts";
import { utteranceUnderWay } from "./preparation.ts";
import { type ResponseEnd, ResponseRun, type ResponseSpec } from "./response.ts";
import type { ServerTools } from "./server-tools.ts";
import { answersTurns, engineRequest } from "./settings.ts";
import type { ServerToolOutcome } from "./tool-server.ts";

/** How often the agent may go on after servers' answers before it has to say something. */
const MAX_TOOL_ROUNDS = 8;

/** What the responses of a conversation have to do with. */
export interface ResponsesParts {
  readonly session: Session;
  readonly conversationId: string;
  readonly createId: (prefix: IdPrefix) => string;
  readonly outbox: Outbox;
  readonly memory: Memory;
  readonly tools: ServerTools;
  readonly voice: AgentVoice;
  readonly idle: IdleTimer;
}

/** The responses of one conversation. */
export class Responses {
  readonly #parts: ResponsesParts;
  readonly #runs = new Map<string, ResponseRun>();
  #session: Session;
  #activeId: string | undefined; // the conversation's own; those beside it are in #runs only
  #unanswered: CallerUtterance | undefined; // said, and no response asked for it yet
  #turnWaits = false; // a turn was committed while a response was under way
  #toolRounds = 0; // answers to servers' answers, since somebody said something
  #closed = false;

  constructor(parts: ResponsesParts) {
    this.#parts = parts;
    this.#session = parts.session;
  }

  configure(session: Session): void {
    this.#session = session;
  }

  /** The conversation's own response under way. */
  get activeId(): string | undefined {
    return this.#activeId;
  }

  /** Whether something was said that no response was asked for yet. */
  get owed(): boolean {
    return this.#unanswered !== undefined || this.#turnWaits;
  }

  /** One that is under way. */
  find(id: string): ResponseRun | undefined {
    return this.#runs.get(id);
  }

  /** The caller has said something, and a response is to be asked for. */
  handleUtterance(utterance: CallerUtterance): void {
    this.#unanswered = utterance;
  }

  /** The caller's turn is over, by what was heard: the agent answers it, if it is to do so unasked. */
  handleTurn(now: Milli): void {
    this.#toolRounds = 0;
    if (!answersTurns(this.#session)) return;
    if (this.#activeId === undefined) this.answer(now);
    else this.#turnWaits = true; // several turns may: one response answers them all
  }

  /** Why a client's `response.create` cannot be carried out. */
  refusal(options: ResponseOptions | undefined, cause: CauseId): RealtimeError | undefined {
    if (this.#session.type === "transcription") {
      return invalidRequest("invalid_value", "A transcription session gives no responses.", "type", cause);
    }
    const active = options?.conversation === "none" ? undefined : this.#activeId;
    if (active !== undefined) return activeResponse(active, cause);
    const unknown = options?.tools?.find((tool) => tool.type === "mcp" && !this.#parts.tools.has(tool.server_label));
    if (unknown?.type !== "mcp") return undefined;
    const message = `MCP server '${unknown.server_label}' is not in the session's tools.`;
    return invalidRequest("invalid_value", message, "response.tools", cause);
  }

  /** The client wants a response: its own wishes go over the session's. `items`: what to, if that can be had. */
  create(now: Milli, options: ResponseOptions | undefined, items: readonly ContextItem[] | undefined): void {
    this.#toolRounds = 0;
    if (items) this.#start(now, options, items, options?.conversation !== "none");
  }

  /** The agent answers all that was said; `hint`: what it is told beside that. */
  answer(now: Milli, hint?: string): void {
    const items = this.#parts.memory.context();
    const told = hint === undefined ? items : [...items, hintItem(this.#parts.createId("item"), hint)];
    this.#start(now, undefined, told, true);
  }

  /** Has an answer prepared to what the caller is saying, in case the turn is over. */
  prepare(itemId: string, sinceSpeechMs: Milli): void {
    if (this.#activeId !== undefined) return; // another answer comes first, and changes what this one is about
    const items = [...this.#parts.memory.context(), utteranceUnderWay(itemId)];
    const offered = this.#parts.tools.offer(this.#session.tools, true);
    const request = { ...engineRequest(this.#session, undefined, items, offered, true), sinceSpeechMs };
    this.#parts.outbox.push({ kind: "prepare", itemId, request });
  }

  /** The engine's answer is complete, or it failed. `callerSpeaks`: who will be heard first. */
  handleEngineEnded(now: Milli, id: string, failure: EngineFailure | undefined, callerSpeaks: boolean): void {
    const run = this.#runs.get(id);
    if (!run) return;
    const calls = failure ? [] : run.endEngine();
    if (calls.length > 0) this.#parts.voice.end(now, run, true);
    else this.#end(now, run, failure ? { status: "failed", ...failure } : { status: "completed" }, callerSpeaks);
    for (const call of calls) this.#parts.outbox.push({ kind: "callTool", responseId: id, ...call });
  }

  /** A server answered a call. */
  handleToolOutcome(now: Milli, id: string, itemId: string, outcome: ServerToolOutcome, callerSpeaks: boolean): void {
    const run = this.#runs.get(id);
    run?.handleOutcome(itemId, outcome);
    if (run && !run.callsServers) this.#end(now, run, { status: "completed" }, callerSpeaks);
  }

  /** Stops a response. Answers whether there was one. */
  stop(now: Milli, id: string | undefined, reason: "turn_detected" | "client_cancelled"): boolean {
    const run = id === undefined ? undefined : this.#runs.get(id);
    if (!run) return false;
    this.#parts.outbox.push({ kind: "abort", responseId: run.spec.id });
    this.#end(now, run, { status: "cancelled", reason }, false);
    return true;
  }

  /** The conversation is over: stops all, and nothing follows. */
  close(now: Milli): void {
    this.#closed = true;
    this.#turnWaits = false;
    for (const id of [...this.#runs.keys()]) this.stop(now, id, "client_cancelled");
  }

  /** Once the client has decided about all calls that waited: makes those it approved; when it refused all, the agent goes on. */
  callApproved(now: Milli): void {
    if (this.#activeId !== undefined) return; // when that is over
    const requests = this.#parts.tools.approvals.take();
    if (!requests) return;
    if (requests.length === 0) this.#goOn(now);
    else this.#startCalls(requests);
  }

  #end(now: Milli, run: ResponseRun, end: ResponseEnd, callerSpeaks: boolean): void {
    const { id } = run.spec;
    this.#runs.delete(id);
    this.#parts.voice.handleResponseEnded(now, run, end.status !== "cancelled");
    run.end(end);
    if (id !== this.#activeId) return;
    this.#activeId = undefined;
    this.#parts.idle.handleAnswered(now, this.#parts.voice.isHeld ? run.audioMs : 0);
    const waits = this.#turnWaits && end.status !== "cancelled";
    this.#turnWaits = false;
    for (const request of run.questions) this.#parts.tools.approvals.ask(request);
    // A caller who speaks now is answered with all that servers have said.
    const goesOn = end.status === "completed" && run.continues && !callerSpeaks;
    if (waits) this.answer(now);
    else if (goesOn) this.#goOn(now);
    else if (!this.#closed) this.callApproved(now);
  }

  /** Servers have answered: the agent goes on, free to choose, but not for ever. */
  #goOn(now: Milli): void {
    const may = ++this.#toolRounds > MAX_TOOL_ROUNDS || this.#session.tool_choice === "none" ? "none" : "auto";
    this.#start(now, { conversation: "auto", tool_choice: may }, this.#parts.memory.context(), true);
  }

  #start(
    now: Milli,
    options: ResponseOptions | undefined,
    items: readonly ContextItem[],
    inConversation: boolean,
  ): void {
    const id = this.#parts.createId("resp");
    const { audio, tools } = this.#session;
    const offered = this.#parts.tools.offer(options?.tools ?? tools, inConversation);
    const request = engineRequest(this.#session, options, items, offered, inConversation);
    const output = {
      format: options?.audio?.output?.format ?? audio.output.format,
      voice: options?.audio?.output?.voice ?? audio.output.voice,
    };
    this.#open({
      id,
      targets: offered.targets,
      conversationId: inConversation ? this.#parts.conversationId : null,
      modality: request.modality,
      metadata: options?.metadata ?? null,
      maxOutputTokens: request.maxOutputTokens,
      output,
    });
    const answered = inConversation ? this.#unanswered : undefined;
    if (inConversation) {
      this.#parts.idle.handleActivity();
      if (answered) this.#parts.voice.handleTurn(now, id, answered);
      this.#unanswered = undefined;
    }
    const sinceSpeechMs = answered && now - answered.arrivedAt;
    this.#parts.outbox.push({ kind: "respond", responseId: id, request: { ...request, sinceSpeechMs } });
  }

  /** Calls that the client has approved are a response of their own, without an engine. */
  #startCalls(requests: readonly McpApprovalRequestItem[]): void {
    const { output_modalities, max_output_tokens, audio } = this.#session;
    const run = this.#open({
      id: this.#parts.createId("resp"),
      conversationId: this.#parts.conversationId,
      modality: output_modalities[0],
      metadata: null,
      maxOutputTokens: max_output_tokens,
      output: { format: audio.output.format, voice: audio.output.voice },
    });
    for (const request of requests) {
      this.#parts.outbox.push({ kind: "callTool", responseId: run.spec.id, ...run.callApproved(request) });
    }
  }

  #open(spec: ResponseSpec): ResponseRun {
    const run = new ResponseRun(
      spec,
      this.#parts.memory,
      (event) => this.#parts.outbox.send(event),
      this.#parts.createId,
    );
    this.#runs.set(spec.id, run);
    if (spec.conversationId !== null) this.#activeId = spec.id;
    return run;
  }
}

function hintItem(id: string, text: string): ContextItem {
  return { id, role: "system", parts: [{ kind: "text", text }] };
}
