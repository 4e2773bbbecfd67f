/**
 * One conversation between a caller and an agent, speaking the OpenAI Realtime protocol: takes the client's events, the
 * caller's audio, the engine's answer and the pipe's word on what is out, and says what to do next.
 *
 * Drive rule: one input, drain all commands, re-arm the timer. Never reads a clock, draws no random numbers.
 */
import {
  activeResponse,
  approvalNotFound,
  type CauseId,
  type ClientEvent,
  cancelNotActive,
  commitEmpty,
  createDuplicateItem,
  createItem,
  deleteInvalidItem,
  describeSession,
  type Item,
  invalidAudio,
  invalidRequest,
  type McpListToolsItem,
  type McpTool,
  previousItemNotFound,
  type RealtimeError,
  type ResponseObject,
  type ResponseOptions,
  retrieveInvalidItem,
  type ServerEvent,
  type ServerEventDraft,
  type Session,
  sessionExpired,
  truncateInvalidItem,
  truncateNotAudio,
  truncateTooLong,
  updateSession,
} from "@sluice/realtime";
import { Approvals } from "./approvals.ts";
import { durationMs, type Milli, type Pcm } from "./audio.ts";
import { EchoDetector } from "./echo.ts";
import type { VoiceWindow } from "./endpointer.ts";
import type { Began, ContextItem, SpeechEvent, SpeechRequest, SttEvent, TurnDetectorInput } from "./engines.ts";
import { formatFloor, formatLedger, formatTurn } from "./extensions.ts";
import { Floor, type FloorDecision } from "./floor.ts";
import type { Forecast } from "./forecast.ts";
import { IdleTimer } from "./idle.ts";
import { giveAudio, takeAudio } from "./item-audio.ts";
import type { LinkCapabilities, OrderedAudio, Utterance } from "./link.ts";
import { type CallerUtterance, Listener, type ListenerOptions } from "./listener.ts";
import { McpServers, type OfferedTools } from "./mcp.ts";
import { type CallerAudio, Memory, toContext } from "./memory.ts";
import { Playout, type TurnReport } from "./playout.ts";
import { PAUSE_MS, utteranceUnderWay } from "./preparation.ts";
import { type ResponseEnd, ResponseRun, type ServerCall } from "./response.ts";
import { engineRequest, floorOptions, functionTools, idleTimeout, listenerOptions, transcribes } from "./settings.ts";
import type { ConversationSnapshot, HeardPlace, SnapshotBounds } from "./snapshot.ts";
import { type OutgoingSpeech, SpeechOutlet } from "./speech-outlet.ts";
import type { ServerTool, ServerToolOutcome, ToolServerSpec } from "./tool-server.ts";
import { type TranscriptEvent, Transcripts } from "./transcripts.ts";

/** What a conversation is made with. */
export interface ConversationOptions {
  readonly session: Session;
  readonly capabilities: LinkCapabilities;
  /** A fresh id such as `item_…`; randomness comes from outside. */
  readonly createId: (prefix: IdPrefix) => string;
  /** The client named its model when it connected: it cannot change any more. Default false. */
  readonly modelLocked?: boolean;
  /** The engine wants speech while it is spoken (`hear`, `heard`). Default false. */
  readonly listens?: boolean;
  /** There is a turn detector to ask about pauses (`judge`). Default false. */
  readonly detectsEnds?: boolean;
  /** The engine can prepare an answer before the turn is over. Default false. */
  readonly prepares?: boolean;
  /** Silence after which it is asked to, as every utterance begins. Default 96 ms. */
  readonly pauseMs?: (() => Milli) | undefined;
  /** What the engine took of late; fed, and read for the lead. Default: nothing is known, and nothing held back. */
  readonly forecast?: Forecast | undefined;
  /** MCP servers that every conversation has. Default none. */
  readonly mcpServers?: readonly McpTool[] | undefined;
  /** What another transceiver saved of it: it goes on, see {@link Conversation.handleTakenOver}. Default: it begins. */
  readonly restored?: ConversationSnapshot | undefined;
  /** When the session ends, on the conversation's clock. */
  readonly expiresAt: Milli;
  /** The longest session in minutes, for the message when it ends. */
  readonly expiresAfterMinutes: number;
  /** Items kept. Default 4096. */
  readonly maxItems?: number;
  /** Audio of the caller kept for the engine: 48 KB a second. Default 120,000 ms. */
  readonly maxAudioMs?: Milli;
}

/** Kinds of ids. `call` ids have at most 32 characters. */
export type IdPrefix = "event" | "item" | "resp" | "conv" | "call";

/** What the shell has to do, in order. `origin`: only the connection that the input came from. */
export type ConversationCommand =
  | { readonly kind: "send"; readonly event: ServerEvent; readonly to: "all" | "origin" }
  | { readonly kind: "respond"; readonly responseId: string; readonly request: Omit<SpeechRequest, "began"> }
  | { readonly kind: "prepare"; readonly itemId: string; readonly request: Omit<SpeechRequest, "began"> }
  | { readonly kind: "unprepare"; readonly itemId: string }
  /** Asks the turn detector about the pause that the caller makes. */
  | { readonly kind: "judge"; readonly itemId: string; readonly input: TurnDetectorInput }
  | { readonly kind: "began"; readonly responseId: string; readonly began: Began }
  | { readonly kind: "abort"; readonly responseId: string }
  | { readonly kind: "hear"; readonly itemId: string; readonly pcm: Pcm }
  | { readonly kind: "heard"; readonly itemId: string; readonly complete: boolean }
  | { readonly kind: "play"; readonly utterance: Utterance; readonly pcm: Pcm }
  | { readonly kind: "endUtterance"; readonly utterance: Utterance }
  | { readonly kind: "flush" }
  | { readonly kind: "duck"; readonly gain: number; readonly rampMs: Milli }
  | { readonly kind: "connectTools"; readonly server: ToolServerSpec; readonly itemId: string }
  | { readonly kind: "dropTools"; readonly label: string }
  | ({ readonly kind: "callTool"; readonly responseId: string } & ServerCall)
  | { readonly kind: "measured"; readonly report: TurnReport }
  | { readonly kind: "decided"; readonly decision: FloorDecision }
  | { readonly kind: "close"; readonly reason: string };

/** Why an engine could not answer: for `response.done` and for a person. */
export interface EngineFailure {
  readonly code: string;
  readonly message: string;
}

/** How often the agent may go on after servers' answers before it has to say something. */
const MAX_TOOL_ROUNDS = 8;
/** Less audio than this cannot be committed. */
const SHORTEST_COMMIT_MS = 100;
/** An answer that the caller has heard for less than this was not waited for: voice then goes on with the caller's turn. */
const CONTINUES_MS = 1000;
/** How long a recogniser is waited for whose words decide whether a sound was a turn. */
const DOUBT_MS = 2000;
/** What the agent is told when nobody has said anything for `idle_timeout_ms`. */
const IDLE_HINT = "The caller has been silent for a while. Say something short that helps them to go on.";

/** What the agent is told when the transceiver died that it was speaking through. */
const GO_ON_HINT =
  "The line broke while you were speaking; the caller heard your last words no further than they stand here. " +
  "Go on from there, without greeting and without repeating what was heard.";

/** The conversation. */
export class Conversation {
  readonly #options: ConversationOptions;
  readonly #commands: ConversationCommand[] = [];
  readonly #memory: Memory;
  readonly #listener: Listener;
  readonly #floor: Floor;
  readonly #playout: Playout;
  readonly #echo = new EchoDetector();
  readonly #transcripts = new Transcripts();
  readonly #idle = new IdleTimer();
  readonly #outlet: SpeechOutlet;
  readonly #mcp: McpServers;
  readonly #approvals = new Approvals();
  readonly #responses = new Map<string, ResponseRun>();
  readonly #conversationId: string;
  #session: Session;
  #activeId: string | undefined; // the conversation's own response; those beside it are in #responses only
  #unanswered: CallerUtterance | undefined; // said, and no response asked for it yet
  #preparesAnswers = false;
  #turnWaits = false; // a turn was committed while a response was under way
  #toolRounds = 0; // answers to servers' answers, since somebody said something
  #streamedId: string | undefined; // the utterance that the engine hears while it is spoken
  #doubt: { readonly decision: FloorDecision; readonly until: Milli } | undefined; // a recogniser has the last word
  #hasSpoken = false;
  #closed = false;

  constructor(options: ConversationOptions) {
    this.#options = options;
    this.#session = options.session;
    this.#conversationId = options.restored?.conversationId ?? options.createId("conv");
    this.#memory = new Memory({ maxItems: options.maxItems ?? 4096, maxAudioMs: options.maxAudioMs ?? 120_000 });
    this.#outlet = new SpeechOutlet(options.capabilities.playout === "server", options.forecast);
    this.#listener = new Listener(
      this.#listenerOptions(options.session),
      () => options.createId("item"),
      options.listens,
    );
    this.#playout = new Playout(options.capabilities.playout === "client");
    this.#floor = new Floor(floorOptions(options.session));
    this.#playout.clientReports = options.session.sluice?.timeline === true;
    this.#idle.configure(idleTimeout(options.session));
    if (options.restored) this.#restore(options.restored);
    this.#mcp = new McpServers(options.mcpServers ?? [], () => options.createId("item"));
    if (options.session.type === "realtime") this.#mcp.configure(options.session.tools);
  }

  /** The effective settings. */
  get session(): Session {
    return this.#session;
  }

  /** Whether voice probabilities are wanted; without turn detection they would be thrown away. */
  get detectsTurns(): boolean {
    return this.#listener.detectsTurns;
  }

  /** A connection opened: the call's own, or one beside it. */
  handleOpen(now: Milli): void {
    this.#send({ type: "session.created", session: describeSession(this.#session) }, "origin");
    this.#settleTools();
    this.#settle(now);
  }

  /** The connection is back, at a transceiver that took the conversation over: where the ear was, by the client's word. */
  handleTakenOver(now: Milli, heard: HeardPlace | undefined): void {
    const { restored } = this.#options;
    if (!restored) return;
    this.#settleTools();
    const { responseId, sounding } = restored;
    const ownsSound = this.#ownsSound;
    if (heard) this.#playout.handleGone(heard.itemId); // it may be younger than what was saved
    let cut = responseId !== undefined;
    for (const saved of sounding) {
      const { utterance, generatedMs, whole } = saved;
      const heardMs = heard?.itemId === utterance.itemId ? heard.positionMs : saved.heardMs;
      const holds = this.#options.capabilities.playout === "client" && whole && utterance.responseId !== responseId;
      // A client whose sound is not ours to stop plays on what it holds.
      if (holds || !ownsSound) {
        this.#playout.restore(now, saved, Math.min(heardMs, generatedMs));
        continue;
      }
      cut = true;
      this.#playout.handleGone(utterance.itemId);
      this.#send({ type: "output_audio_buffer.cleared", response_id: utterance.responseId });
      this.#cut(utterance, Math.min(heardMs, generatedMs));
    }
    if (responseId !== undefined) this.#send({ type: "response.done", response: this.#lostResponse(responseId) });
    if (cut || restored.unanswered) this.#answerAgain(now, cut);
    this.#settle(now);
  }

  /** All that another transceiver needs to go on. */
  snapshot(now: Milli, bounds?: SnapshotBounds): ConversationSnapshot {
    return {
      conversationId: this.#conversationId,
      session: this.#session,
      modelLocked: this.#options.modelLocked === true,
      remainingMs: this.#options.expiresAt - now,
      hasSpoken: this.#hasSpoken,
      items: this.#memory.save(bounds),
      responseId: this.#activeId,
      unanswered: this.#unanswered !== undefined || this.#turnWaits,
      sounding: this.#playout.save(now),
      audioFromMs: this.#listener.openFromMs,
    };
  }

  /** A text that was no event: the answer says why. */
  handleInvalid(_now: Milli, error: RealtimeError): void {
    this.#fail(error);
  }

  /** An event of the client; the audio of `input_audio_buffer.append` is decoded by the shell, see {@link handleAudio}. */
  handleEvent(now: Milli, event: ClientEvent): void {
    this.handleTimeout(now);
    if (!this.#closed) this.#handleEvent(now, event);
    this.#settle(now);
  }

  /** The caller's audio up to `endMs` came off the wire, in whatever order. */
  handleArrival(now: Milli, endMs: Milli): void {
    this.#listener.handleArrival(now, endMs);
  }

  /** The voice detector's word on a window of audio. */
  handleVoice(now: Milli, heard: VoiceWindow): void {
    const agentSpeaks = this.#activeId !== undefined || this.#playout.playing;
    // Who has the floor keeps it: what comes back of an agent that was cut changes nothing any more.
    const judged = agentSpeaks || !this.#listener.announced;
    const isEcho = this.#echo.handleWindow(now, heard, this.#playout.ear(now), this.#floor.softened, judged);
    const window = isEcho ? withoutVoice(heard) : heard;
    // The first voice may be a cough: clients stop their sound at `speech_started`, so it waits for the decision.
    this.#listener.contested = agentSpeaks ? this.#floor.contestable : this.#floor.dismisses;
    this.#listener.handleVoice(now, window);
    if (this.#listener.contested ? !this.#listener.announced : this.#listener.holds) {
      const continues = this.#playout.answerHeardMs(now) < CONTINUES_MS;
      this.#floor.handleWindow(now, window, agentSpeaks, this.#listener.holds, continues);
    }
    this.#settle(now);
  }

  /** The caller's audio in order. */
  handleAudio(now: Milli, audio: OrderedAudio): void {
    this.#listener.handleAudio(now, audio);
    this.#settle(now);
  }

  /** An engine that listens understood a little more of the utterance that is to become `itemId`. */
  handleHeard(now: Milli, itemId: string, event: SttEvent): void {
    this.#listener.handleWords(itemId, event.text);
    this.#transcripts.handleHeard(itemId, event);
    if (this.#listener.holds && this.#listener.words !== undefined) {
      this.#floor.handleWords(now, this.#listener.words);
    }
    if (this.#listener.doubted === itemId) this.#settleDoubt(now, event.text, event.kind === "final");
    this.#settle(now);
  }

  /** The turn detector's probability that the utterance under way is over. */
  handleTurnEnd(now: Milli, itemId: string, probability: number): void {
    this.#listener.handleTurnEnd(now, itemId, probability);
    this.#settle(now);
  }

  /** A piece of the engine's answer. Pieces of a response that was cancelled are ignored. */
  handleEngine(now: Milli, responseId: string, event: SpeechEvent): void {
    const run = this.#responses.get(responseId);
    if (!run) return;
    run.handle(event);
    if (event.kind === "inputTranscript") {
      this.#remember(event.itemId, event.text);
      this.#transcripts.handleHeard(event.itemId, { kind: "final", text: event.text });
    }
    const { utterance } = run;
    if (event.kind === "reached") this.#playout.handleReached(now, responseId, event.mark);
    if ((event.kind === "audio" || event.kind === "acknowledgement") && utterance) {
      this.#hasSpoken = true;
      if (event.kind === "audio") this.#playout.handleAnswered(now, utterance);
      this.#playout.handleGenerated(now, utterance, event.pcm, event.kind === "acknowledgement");
      this.#play(now, this.#outlet.handleAudio(now, utterance, event.pcm));
    }
    this.#settle(now);
  }

  /** The engine's answer is complete, or it failed. */
  handleEngineEnded(now: Milli, responseId: string, failure?: EngineFailure): void {
    const run = this.#responses.get(responseId);
    const calls = failure || !run ? [] : run.endEngine();
    if (run && calls.length > 0) this.#endSound(now, run, true);
    else this.#endResponse(now, responseId, failure ? { status: "failed", ...failure } : { status: "completed" });
    for (const call of calls) this.#commands.push({ kind: "callTool", responseId, ...call });
    this.#settle(now);
  }

  /** A server told its tools, or why it could not. */
  handleToolsListed(now: Milli, label: string, itemId: string, listed: readonly ServerTool[] | EngineFailure): void {
    const failure = "message" in listed ? listed : undefined;
    const tools = "message" in listed ? undefined : listed;
    const item = this.#memory.find(itemId);
    if (!this.#mcp.handleListed(label, itemId, tools) || item?.type !== "mcp_list_tools") return;
    const done: McpListToolsItem = {
      ...item,
      status: failure ? "incomplete" : "completed",
      tools: (tools ?? []).map(formatTool),
      ...(failure && { error: failure.message }),
    };
    this.#memory.replace(done);
    this.#send({ type: failure ? "mcp_list_tools.failed" : "mcp_list_tools.completed", item_id: itemId });
    const previous_item_id = this.#memory.previousId(itemId);
    this.#send({ type: "conversation.item.done", item: done, previous_item_id });
    this.#settle(now);
  }

  /** A server answered a call. */
  handleToolOutcome(now: Milli, responseId: string, itemId: string, outcome: ServerToolOutcome): void {
    const run = this.#responses.get(responseId);
    run?.handleOutcome(itemId, outcome);
    if (run && !run.callsServers) this.#endResponse(now, responseId, { status: "completed" });
    this.#settle(now);
  }

  /** The engine could not make out what it heard. */
  handleHearingFailed(now: Milli, itemId: string, failure: EngineFailure): void {
    this.#transcripts.handleFailed(itemId, failure);
    if (this.#listener.doubted === itemId) this.#dismiss();
    this.#settle(now);
  }

  /** `sentMs` of the utterance are out. */
  handleSent(now: Milli, utterance: Utterance, sentMs: Milli, rtpTimestamp: number | undefined): void {
    this.#playout.handleSent(now, utterance, sentMs, rtpTimestamp);
    this.#settle(now);
  }

  /** The utterance is out to its end. */
  handleUtteranceEnded(now: Milli, utterance: Utterance): void {
    this.#playout.handleUtteranceEnded(now, utterance);
    this.#settle(now);
  }

  handleTimeout(now: Milli): void {
    if (this.#closed) return;
    this.#floor.handleTimeout(now);
    this.#listener.handleTimeout(now);
    if (this.#doubt && now >= this.#doubt.until) this.#dismiss();
    this.#play(now, this.#outlet.handleTimeout(now));
    this.#playout.handleTimeout(now);
    if (now >= (this.#idleAt() ?? Infinity)) this.#breakSilence(now);
    if (now >= this.#options.expiresAt) {
      this.#fail(sessionExpired(this.#options.expiresAfterMinutes), "all");
      this.#close(now, "session expired");
    }
    this.#settle(now);
  }

  pollTimeout(): Milli | undefined {
    if (this.#closed) return undefined;
    const parts = [
      this.#listener.pollTimeout(),
      this.#floor.pollTimeout(),
      this.#doubt?.until,
      this.#outlet.pollTimeout(),
      this.#playout.pollTimeout(),
      this.#idleAt(),
    ];
    const inner = parts.filter((at) => at !== undefined);
    return Math.min(this.#options.expiresAt, ...inner);
  }

  nextCommand(): ConversationCommand | undefined {
    return this.#commands.shift();
  }

  /** The pipe is gone, or is to go: what runs is stopped. */
  handleClosed(now: Milli): void {
    this.#close(now, "closed");
  }

  #restore({ items, hasSpoken }: ConversationSnapshot): void {
    this.#memory.restore(items);
    this.#hasSpoken = hasSpoken;
    const answered = new Set(
      items.flatMap(({ item }) => (item.type === "mcp_approval_response" ? [item.approval_request_id] : [])),
    );
    for (const { item } of items) {
      if (item.type === "mcp_approval_request" && !answered.has(item.id)) this.#approvals.ask(item);
    }
  }

  /** A response that died with its transceiver, as its client is told. */
  #lostResponse(id: string): ResponseObject {
    const { output_modalities, max_output_tokens, audio } = this.#session;
    const message = "The server that gave this response is gone; another one goes on with the conversation.";
    return {
      id,
      object: "realtime.response",
      status: "failed",
      status_details: { type: "failed", error: { type: "server_error", code: "server_lost", message } },
      output: [],
      conversation_id: this.#conversationId,
      output_modalities,
      max_output_tokens,
      audio: { output: { format: audio.output.format, voice: audio.output.voice } },
      usage: null,
      metadata: null,
    };
  }

  /** The agent goes on, or answers what nobody answered, unless the client is the one to ask for it. */
  #answerAgain(now: Milli, cut: boolean): void {
    if (this.#session.type === "transcription") return;
    if (this.#session.audio.input.turn_detection?.create_response === false) return;
    const items = this.#memory.context();
    const last = items.at(-1);
    const goesOn = cut && last !== undefined && "role" in last && last.role === "assistant";
    const hint: ContextItem = {
      id: this.#options.createId("item"),
      role: "system",
      parts: [{ kind: "text", text: GO_ON_HINT }],
    };
    this.#startResponse(now, undefined, goesOn ? [...items, hint] : items, true);
  }

  #handleEvent(now: Milli, event: ClientEvent): void {
    const cause = event.event_id;
    switch (event.type) {
      case "session.update":
        return this.#updateSession(event.session, cause);
      case "input_audio_buffer.append":
        return;
      case "input_audio_buffer.commit":
        return this.#commit(now, cause);
      case "input_audio_buffer.clear":
        this.#unprepare(this.#listener.itemId);
        this.#endHearing(this.#listener.itemId, false);
        this.#listener.clear();
        this.#floor.reset();
        return this.#send({ type: "input_audio_buffer.cleared" });
      case "conversation.item.create":
        return this.#createItem(now, event.item, event.previous_item_id, cause);
      case "conversation.item.truncate":
        return this.#truncate(now, event.item_id, event.content_index, event.audio_end_ms, cause);
      case "conversation.item.retrieve":
        return this.#retrieve(event.item_id, cause);
      case "conversation.item.delete":
        if (!this.#memory.delete(event.item_id)) return this.#fail(deleteInvalidItem(event.item_id, cause));
        this.#approvals.forget(event.item_id);
        return this.#send({ type: "conversation.item.deleted", item_id: event.item_id });
      case "response.create":
        return this.#createResponse(now, event.response, cause);
      case "response.cancel":
        return this.#cancel(now, event.response_id, cause);
      case "output_audio_buffer.clear":
        return this.#clearOutput(now, cause);
      case "sluice.clock":
        return this.#send({ type: "sluice.clock", client_ms: event.client_ms, server_ms: now }, "origin");
      case "sluice.speech.report":
        return this.#playout.handleSpeechReport(Math.min(event.ended_ms, now));
      case "sluice.playout.report": {
        const { item_id, started_ms: startedAt, position_ms: positionMs, at_ms: at } = event;
        if (this.#playout.handlePlayoutReport(now, item_id, { startedAt, positionMs, at })) return;
        // Its playout is over for us, as after a takeover that cut it: late is not wrong.
        if (this.#memory.agentAudio(item_id)) return;
        return this.#fail(invalidRequest("invalid_value", `No playout of an item '${item_id}'.`, "item_id", cause));
      }
    }
  }

  #updateSession(patch: Extract<ClientEvent, { type: "session.update" }>["session"], cause: CauseId): void {
    const updated = updateSession(this.#session, patch, {
      voiceLocked: this.#hasSpoken,
      modelLocked: this.#options.modelLocked,
      cause,
    });
    if (!updated.ok) return this.#fail(updated.error);
    this.#session = updated.session;
    this.#listener.configure(this.#listenerOptions(updated.session));
    this.#floor.configure(floorOptions(updated.session));
    this.#playout.clientReports = updated.session.sluice?.timeline === true;
    this.#idle.configure(idleTimeout(updated.session));
    this.#send({ type: "session.updated", session: describeSession(updated.session) });
    if (updated.session.type === "realtime" && patch.tools) this.#mcp.configure(updated.session.tools);
    this.#settleTools();
  }

  #commit(now: Milli, cause: CauseId): void {
    if (this.#listener.bufferedMs < SHORTEST_COMMIT_MS) {
      return this.#fail(commitEmpty(this.#listener.bufferedMs, cause));
    }
    this.#listener.commit(now);
    this.#floor.reset();
    // The client asks for the response itself: its turn is answered by whatever `response.create` comes next.
    for (let event = this.#listener.nextEvent(); event; event = this.#listener.nextEvent()) {
      if (event.kind === "committed") this.#addUtterance(event.utterance);
      else if (event.kind === "dismissed") this.#handleDismissed(event.itemId);
    }
  }

  #createItem(
    now: Milli,
    draft: Parameters<typeof createItem>[0],
    previousId: string | undefined,
    cause: CauseId,
  ): void {
    const taken = takeAudio(createItem(draft, this.#options.createId("item")), this.#session.audio.input.format);
    if (!taken) return this.#fail(invalidAudio(cause));
    const { item, caller } = taken;
    if (this.#memory.has(item.id)) return this.#fail(createDuplicateItem(item.id, cause));
    if (previousId !== undefined && previousId !== "root" && !this.#memory.has(previousId)) {
      return this.#fail(previousItemNotFound(previousId, cause));
    }
    if (item.type === "mcp_approval_response" && !this.#approvals.has(item.approval_request_id)) {
      return this.#fail(approvalNotFound(item.approval_request_id, cause));
    }
    this.#addItem(item, previousId, caller);
    if (item.type !== "mcp_approval_response") return;
    this.#approvals.answer(item.approval_request_id, item.approve);
    if (this.#activeId === undefined) this.#callApproved(now);
  }

  #addItem(item: Item, previousId?: string, caller?: CallerAudio): void {
    const dropped = this.#memory.add(item, previousId, caller && { caller });
    for (const item_id of dropped) this.#send({ type: "conversation.item.deleted", item_id });
    const previous_item_id = this.#memory.previousId(item.id);
    this.#send({ type: "conversation.item.added", item, previous_item_id });
    this.#send({ type: "conversation.item.done", item, previous_item_id });
    if (caller) this.#transcripts.handleAdded(item.id, durationMs(caller.pcm));
  }

  #truncate(now: Milli, itemId: string, contentIndex: number, audioEndMs: Milli, cause: CauseId): void {
    if (!this.#memory.has(itemId)) return this.#fail(truncateInvalidItem(itemId, cause));
    const audio = this.#memory.agentAudio(itemId);
    if (!audio || this.#session.output_modalities[0] === "text") return this.#fail(truncateNotAudio(cause));
    if (audioEndMs > Math.ceil(audio.audioMs)) return this.#fail(truncateTooLong(audio.audioMs, audioEndMs, cause));
    this.#memory.truncate(itemId, audioEndMs);
    this.#playout.handleStopped(now, itemId);
    this.#send({
      type: "conversation.item.truncated",
      item_id: itemId,
      content_index: contentIndex,
      audio_end_ms: audioEndMs,
    });
  }

  #retrieve(itemId: string, cause: CauseId): void {
    const item = this.#memory.find(itemId);
    if (!item) return this.#fail(retrieveInvalidItem(itemId, cause));
    // Audio is for connections that carry it in events: a message of a data channel has to be small.
    const pcm = this.#options.capabilities.audioInEvents ? this.#memory.callerAudio(itemId)?.pcm : undefined;
    const shown = pcm ? giveAudio(item, pcm, this.#session.audio.input.format) : item;
    this.#send({ type: "conversation.item.retrieved", item: shown });
  }

  #createResponse(now: Milli, options: ResponseOptions | undefined, cause: CauseId): void {
    if (this.#session.type === "transcription") {
      const message = "A transcription session gives no responses.";
      return this.#fail(invalidRequest("invalid_value", message, "type", cause));
    }
    const inConversation = options?.conversation !== "none";
    if (inConversation && this.#activeId !== undefined) return this.#fail(activeResponse(this.#activeId, cause));
    const unknown = options?.tools?.find((tool) => tool.type === "mcp" && !this.#mcp.has(tool.server_label));
    if (unknown?.type === "mcp") {
      const message = `MCP server '${unknown.server_label}' is not in the session's tools.`;
      return this.#fail(invalidRequest("invalid_value", message, "response.tools", cause));
    }
    this.#toolRounds = 0;
    const items = options?.input ? this.#resolveInput(options.input, cause) : this.#memory.context();
    if (items) this.#startResponse(now, options, items, inConversation);
  }

  #resolveInput(input: NonNullable<ResponseOptions["input"]>, cause: CauseId): readonly ContextItem[] | undefined {
    const items: ContextItem[] = [];
    for (const entry of input) {
      if (entry.type !== "item_reference") {
        const taken = takeAudio(createItem(entry, this.#options.createId("item")), this.#session.audio.input.format);
        if (!taken) {
          this.#fail(invalidAudio(cause));
          return undefined;
        }
        items.push(...toContext(taken.item, { ...(taken.caller && { caller: taken.caller }) }));
        continue;
      }
      const referred = this.#memory.contextOf(entry.id);
      if (!referred) {
        this.#fail(invalidRequest("invalid_value", `Item with id '${entry.id}' not found.`, "response.input", cause));
        return undefined;
      }
      items.push(...referred);
    }
    return items;
  }

  #startResponse(
    now: Milli,
    options: ResponseOptions | undefined,
    items: readonly ContextItem[],
    inConversation: boolean,
  ): void {
    const { createId } = this.#options;
    const { audio, tools } = this.#session;
    const id = createId("resp");
    const offered = this.#offer(options?.tools ?? tools, inConversation);
    const request = engineRequest(this.#session, options, items, offered, inConversation);
    const output = {
      format: options?.audio?.output?.format ?? audio.output.format,
      voice: options?.audio?.output?.voice ?? audio.output.voice,
    };
    const spec = {
      id,
      targets: offered.targets,
      conversationId: inConversation ? this.#conversationId : null,
      modality: request.modality,
      metadata: options?.metadata ?? null,
      maxOutputTokens: request.maxOutputTokens,
      output,
    };
    this.#responses.set(id, new ResponseRun(spec, this.#memory, (event) => this.#send(event), createId));
    const sinceSpeechMs = inConversation && this.#unanswered ? now - this.#unanswered.arrivedAt : undefined;
    if (inConversation) {
      this.#activeId = id;
      this.#idle.handleActivity();
      if (this.#unanswered) this.#playout.handleTurn(now, id, this.#unanswered);
      this.#unanswered = undefined;
    }
    this.#commands.push({ kind: "respond", responseId: id, request: { ...request, sinceSpeechMs } });
  }

  #offer(tools: Session["tools"], inConversation: boolean): OfferedTools {
    const offered = this.#mcp.offer(functionTools(tools), tools);
    if (inConversation) return offered;
    // Beside the conversation nobody could approve anything: the question would be no item of it.
    const asked = new Set([...offered.targets].flatMap(([name, target]) => (target.needsApproval ? [name] : [])));
    return { ...offered, tools: offered.tools.filter(({ name }) => !asked.has(name)) };
  }

  /** Servers have answered: the agent goes on, free to choose, but not for ever. */
  #goOn(now: Milli): void {
    const may = ++this.#toolRounds > MAX_TOOL_ROUNDS || this.#session.tool_choice === "none" ? "none" : "auto";
    this.#startResponse(now, { conversation: "auto", tool_choice: may }, this.#memory.context(), true);
  }

  /** Makes the calls that the client has approved, as a response of their own; when all were refused, goes on. */
  #callApproved(now: Milli): void {
    const requests = this.#approvals.take();
    if (!requests) return;
    if (requests.length === 0) return this.#goOn(now);
    const { output_modalities, max_output_tokens, audio } = this.#session;
    const id = this.#options.createId("resp");
    const spec = {
      id,
      conversationId: this.#conversationId,
      modality: output_modalities[0],
      metadata: null,
      maxOutputTokens: max_output_tokens,
      output: { format: audio.output.format, voice: audio.output.voice },
    };
    const run = new ResponseRun(spec, this.#memory, (event) => this.#send(event), this.#options.createId);
    this.#responses.set(id, run);
    this.#activeId = id;
    for (const request of requests) {
      this.#commands.push({ kind: "callTool", responseId: id, ...run.callApproved(request) });
    }
  }

  #settleTools(): void {
    for (let event = this.#mcp.nextEvent(); event; event = this.#mcp.nextEvent()) {
      if (event.kind === "drop") {
        this.#commands.push({ kind: "dropTools", label: event.label });
        continue;
      }
      const { itemId, server } = event;
      const item: McpListToolsItem = {
        id: itemId,
        object: "realtime.item",
        type: "mcp_list_tools",
        status: "in_progress",
        server_label: server.label,
        tools: [],
      };
      const previous_item_id = this.#memory.lastId;
      const dropped = this.#memory.add(item);
      for (const item_id of dropped) this.#send({ type: "conversation.item.deleted", item_id });
      this.#send({ type: "conversation.item.added", item, previous_item_id });
      this.#send({ type: "mcp_list_tools.in_progress", item_id: itemId });
      this.#commands.push({ kind: "connectTools", server, itemId });
    }
  }

  #cancel(now: Milli, responseId: string | undefined, cause: CauseId): void {
    const id = responseId ?? this.#activeId;
    if (id === undefined || !this.#responses.has(id)) return this.#fail(cancelNotActive(cause));
    this.#stopResponse(now, id, "client_cancelled");
  }

  #clearOutput(now: Milli, cause: CauseId): void {
    if (!this.#ownsSound) {
      const message = "The client plays the audio on this connection: there is no output buffer to clear.";
      return this.#fail(invalidRequest("invalid_value", message, "type", cause));
    }
    // Clients whose response is still being generated send a cancel first; `clear` alone must stop the sound too.
    if (this.#activeId !== undefined) this.#stopResponse(now, this.#activeId, "client_cancelled");
    this.#silence(now);
  }

  /** The caller's words, in the conversation. */
  #remember(itemId: string, transcript: string): void {
    const item = this.#memory.find(itemId);
    if (item?.type !== "message" || item.role !== "user") return;
    const content = item.content.map((part) => (part.type === "input_audio" ? { ...part, transcript } : part));
    this.#memory.replace({ ...item, content });
  }

  #settleTranscripts(): void {
    // An answer under way may yet bring the words that could not be had before it.
    if (this.#activeId === undefined) this.#transcripts.settle();
    const wanted = transcribes(this.#session);
    for (let event = this.#transcripts.nextEvent(); event; event = this.#transcripts.nextEvent()) {
      if (event.kind === "completed") this.#remember(event.itemId, event.text);
      if (wanted) this.#send(formatTranscript(event));
    }
  }

  /** When the agent is to speak up by itself: not while anybody speaks, or an answer is on its way. */
  #idleAt(): Milli | undefined {
    const quiet = this.#activeId === undefined && !this.#listener.speaking && !this.#playout.playing;
    return quiet ? this.#idle.pollTimeout() : undefined;
  }

  /** Nobody said anything for `idle_timeout_ms`: an empty turn, which the agent answers. */
  #breakSilence(now: Milli): void {
    const silentMs = now - (this.#idle.from ?? now);
    this.#idle.handleActivity();
    const itemId = this.#options.createId("item");
    const audio_end_ms = Math.round(this.#listener.endMs);
    const audio_start_ms = Math.max(0, Math.round(audio_end_ms - silentMs));
    this.#send({ type: "input_audio_buffer.timeout_triggered", audio_start_ms, audio_end_ms, item_id: itemId });
    this.#send({
      type: "input_audio_buffer.committed",
      item_id: itemId,
      previous_item_id: this.#memory.lastId,
    });
    this.#addItem(spokenItem(itemId, ""));
    const hint: ContextItem = {
      id: this.#options.createId("item"),
      role: "system",
      parts: [{ kind: "text", text: IDLE_HINT }],
    };
    this.#startResponse(now, undefined, [...this.#memory.context(), hint], true);
  }

  /** Lets the parts tell each other what happened, until nobody has anything to say. */
  #settle(now: Milli): void {
    this.#settleFloor(now);
    this.#settleListener(now);
    this.#settlePlayout(now);
    this.#settleTranscripts();
  }

  #settleFloor(now: Milli): void {
    for (let command = this.#floor.nextCommand(); command; command = this.#floor.nextCommand()) {
      if (command.kind === "duck") {
        this.#commands.push(command);
        continue;
      }
      if (command.kind === "take") {
        this.#listener.release(command.onsetMs);
        this.#settleListener(now);
        if (command.onsetMs === undefined) continue; // nobody had to yield
      }
      this.#tellDecision(command.decision);
    }
  }

  #tellDecision(decision: FloorDecision): void {
    this.#commands.push({ kind: "decided", decision });
    if (this.#session.sluice?.timeline === true) this.#send(formatFloor(decision));
  }

  #settleListener(now: Milli): void {
    for (let event = this.#listener.nextEvent(); event; event = this.#listener.nextEvent()) {
      switch (event.kind) {
        case "started":
          this.#handleSpeechStarted(now, event.itemId, event.audioStartMs);
          break;
        case "speech":
          this.#streamedId = event.itemId;
          this.#commands.push({ kind: "hear", itemId: event.itemId, pcm: event.pcm });
          break;
        case "paused":
          if (this.#preparesAnswers) this.#prepare(event.itemId, event.silenceMs);
          this.#judge(event.itemId, event.silenceMs);
          break;
        case "resumed":
          this.#unprepare(event.itemId);
          this.#transcripts.handleResumed(event.itemId);
          break;
        case "stopped": {
          const audio_end_ms = Math.round(event.audioEndMs);
          this.#send({ type: "input_audio_buffer.speech_stopped", audio_end_ms, item_id: event.itemId });
          this.#floor.reset(); // what was decided in this turn says nothing of the next voice
          break;
        }
        case "committed":
          this.#handleCommitted(now, event.utterance);
          break;
        case "doubted":
          this.#handleDoubted(now, event.itemId);
          break;
        case "dismissed":
          this.#handleDismissed(event.itemId);
          if (!event.joined) this.#floor.reset();
          break;
        case "overflow": {
          const message = `The input audio buffer is full: ${Math.round(event.lostMs)}ms of the oldest audio were dropped.`;
          this.#fail(invalidRequest("input_audio_buffer_overflow", message, null, undefined), "all");
        }
      }
    }
  }

  /** A voice is over that nobody has called a turn: with a silent agent, a recogniser that hears words in it does. */
  #handleDoubted(now: Milli, itemId: string): void {
    const agentSpeaks = this.#activeId !== undefined || this.#playout.playing;
    const decision = this.#floor.dismissed;
    this.#floor.reset();
    if (agentSpeaks && this.#floor.contestable) return this.#listener.dismiss();
    if (!decision) return this.#listener.confirm(now);
    this.#doubt = { decision, until: now + DOUBT_MS };
    if (!this.#options.listens) return this.#dismiss();
    this.#commands.push({ kind: "heard", itemId, complete: true });
    const words = this.#listener.words;
    if (words !== undefined) this.#settleDoubt(now, words, false);
  }

  #settleDoubt(now: Milli, words: string, final: boolean): void {
    if (words.trim() !== "") {
      this.#doubt = undefined;
      this.#listener.confirm(now);
    } else if (final) this.#dismiss();
  }

  /** It was no turn. */
  #dismiss(): void {
    const doubt = this.#doubt;
    this.#doubt = undefined;
    this.#listener.dismiss();
    if (doubt) this.#tellDecision(doubt.decision);
  }

  #handleDismissed(itemId: string): void {
    this.#doubt = undefined;
    this.#unprepare(itemId);
    this.#endHearing(itemId, false);
  }

  #handleSpeechStarted(now: Milli, itemId: string, audioStartMs: Milli): void {
    const audio_start_ms = Math.round(audioStartMs);
    this.#send({ type: "input_audio_buffer.speech_started", audio_start_ms, item_id: itemId });
    this.#idle.handleActivity();
    if (this.#preparesAnswers && this.#options.pauseMs) this.#listener.configure(this.#listenerOptions(this.#session));
    if (this.#session.audio.input.turn_detection?.interrupt_response === false) return;
    if (this.#activeId !== undefined) this.#stopResponse(now, this.#activeId, "turn_detected");
    this.#silence(now);
  }

  #handleCommitted(now: Milli, utterance: CallerUtterance): void {
    this.#options.forecast?.record(now, "turnEnd", now - utterance.arrivedAt);
    this.#addUtterance(utterance);
    this.#toolRounds = 0;
    if (this.#session.type === "transcription") return;
    if (this.#session.audio.input.turn_detection?.create_response === false) return;
    if (this.#activeId === undefined) {
      this.#startResponse(now, undefined, this.#memory.context(), true);
      return;
    }
    this.#turnWaits = true; // several turns may: one response answers them all
  }

  #endHearing(itemId: string | undefined, complete: boolean): void {
    if (itemId !== undefined && !complete) this.#transcripts.forget(itemId);
    if (this.#options.listens && itemId !== undefined) this.#commands.push({ kind: "heard", itemId, complete });
  }

  #addUtterance(utterance: CallerUtterance): void {
    const { itemId, pcm } = utterance;
    // Without turn detection nobody knew that this would be an utterance: it is heard now, as a whole.
    const unheard = this.#options.listens === true && this.#streamedId !== itemId && transcribes(this.#session);
    if (unheard) this.#commands.push({ kind: "hear", itemId, pcm });
    this.#endHearing(itemId, true);
    this.#send({
      type: "input_audio_buffer.committed",
      item_id: itemId,
      previous_item_id: this.#memory.lastId,
    });
    this.#addItem(spokenItem(itemId, null), undefined, utterance);
    if (this.#session.type === "transcription" && !this.#options.listens) {
      const message = "No speech recognition is configured on this server.";
      this.#transcripts.handleFailed(itemId, { code: "no_speech_recognition", message });
    }
    this.#unanswered = utterance;
  }

  #listenerOptions(session: Session): ListenerOptions | undefined {
    const options = listenerOptions(session);
    const answers = session.type !== "transcription" && session.audio.input.turn_detection?.create_response !== false;
    this.#preparesAnswers = this.#options.prepares === true && answers;
    const judges = this.#options.detectsEnds === true && options?.eagerness !== undefined;
    if (!options || !(this.#preparesAnswers || judges)) return options;
    // A turn detector is asked in the same pause, and has learnt from longer ones.
    return { ...options, pauseMs: judges ? PAUSE_MS : (this.#options.pauseMs?.() ?? PAUSE_MS) };
  }

  #judge(itemId: string, silenceMs: Milli): void {
    if (!this.#options.detectsEnds || !listenerOptions(this.#session)?.eagerness) return;
    const input = { audio: this.#listener.spoken, transcript: this.#listener.words, silenceMs };
    this.#commands.push({ kind: "judge", itemId, input });
  }

  #prepare(itemId: string, sinceSpeechMs: Milli): void {
    if (this.#activeId !== undefined) return; // another answer comes first, and changes what this one is about
    const items = [...this.#memory.context(), utteranceUnderWay(itemId)];
    const offered = this.#offer(this.#session.tools, true);
    const request = { ...engineRequest(this.#session, undefined, items, offered, true), sinceSpeechMs };
    this.#commands.push({ kind: "prepare", itemId, request });
  }

  #unprepare(itemId: string | undefined): void {
    if (this.#options.prepares && itemId !== undefined) this.#commands.push({ kind: "unprepare", itemId });
  }

  #play(now: Milli, pieces: readonly OutgoingSpeech[]): void {
    for (const { utterance, pcm, released } of pieces) {
      if (released) this.#playout.handleReleased(now, utterance);
      if (this.#listener.detectsTurns) this.#echo.handleSpeech(utterance.itemId, pcm);
      this.#commands.push({ kind: "play", utterance, pcm });
    }
  }

  #settlePlayout(now: Milli): void {
    const timeline = this.#session.sluice?.timeline === true;
    const buffered = this.#ownsSound;
    for (let event = this.#playout.nextEvent(); event; event = this.#playout.nextEvent()) {
      switch (event.kind) {
        case "started": {
          const { responseId: response_id, itemId: item_id } = event.utterance;
          const rtp_timestamp = event.rtpTimestamp ?? null;
          if (buffered) this.#send({ type: "output_audio_buffer.started", response_id });
          if (timeline) {
            const lead_ms = Math.round(this.#outlet.leadMs(response_id));
            const sent_ms = event.at;
            this.#send({ type: "sluice.utterance.started", response_id, item_id, rtp_timestamp, sent_ms, lead_ms });
          }
          break;
        }
        case "ended":
          if (buffered) this.#idle.handleSpoken(now);
          if (buffered) this.#send({ type: "output_audio_buffer.stopped", response_id: event.utterance.responseId });
          break;
        case "began":
          this.#commands.push({ kind: "began", responseId: event.responseId, began: event.began });
          break;
        case "stopped":
          if (this.#ownsSound) this.#cut(event.utterance, event.heardMs);
          break;
        case "ledger":
          if (timeline) this.#send(formatLedger(event.utterance, event.entry));
          break;
        case "turn":
          this.#commands.push({ kind: "measured", report: event.report });
          if (timeline) this.#send(formatTurn(event.report));
          break;
      }
    }
  }

  #endResponse(now: Milli, responseId: string, end: ResponseEnd): void {
    const run = this.#responses.get(responseId);
    if (!run) return;
    this.#responses.delete(responseId);
    this.#playout.handleResponseEnded(responseId);
    this.#endSound(now, run, end.status !== "cancelled");
    run.end(end);
    if (responseId !== this.#activeId) return;
    this.#activeId = undefined;
    // A client that plays by itself has the whole answer now, and is heard to the end of it.
    this.#idle.handleAnswered(now, this.#options.capabilities.playout === "client" ? run.audioMs : 0);
    const waits = this.#turnWaits && end.status !== "cancelled";
    this.#turnWaits = false;
    for (const request of run.questions) if (run.spec.conversationId !== null) this.#approvals.ask(request);
    // A caller who speaks now is answered with all that servers have said.
    const goesOn = end.status === "completed" && run.continues && !this.#listener.speaking;
    if (waits) this.#startResponse(now, undefined, this.#memory.context(), true);
    else if (goesOn) this.#goOn(now);
    else if (!this.#closed) this.#callApproved(now);
  }

  /** No more sound comes of the response; what is held back of it is let go when it is `complete`. */
  #endSound(now: Milli, run: ResponseRun, complete: boolean): void {
    this.#play(now, this.#outlet.handleEnd(now, run.spec.id, complete));
    const { utterance } = run;
    if (!utterance || run.audioMs === 0 || run.soundEnded) return;
    run.soundEnded = true;
    this.#commands.push({ kind: "endUtterance", utterance });
  }

  #stopResponse(now: Milli, responseId: string, reason: "turn_detected" | "client_cancelled"): void {
    this.#commands.push({ kind: "abort", responseId });
    this.#endResponse(now, responseId, { status: "cancelled", reason });
  }

  /** Whether what is on its way to the ear is ours to stop. */
  get #ownsSound(): boolean {
    const { playout, reset } = this.#options.capabilities;
    return playout === "server" || reset;
  }

  /** Nothing more of what was said so far reaches the ear: we stop it, or the client does, who was told why. */
  #silence(now: Milli): void {
    if (!this.#playout.playing) return;
    const cut = this.#playout.cut(now);
    if (!this.#ownsSound) return; // its own `conversation.item.truncate` says where
    this.#commands.push({ kind: "flush" });
    for (const { utterance, heardMs, started } of cut) {
      if (started) this.#send({ type: "output_audio_buffer.cleared", response_id: utterance.responseId });
      this.#cut(utterance, heardMs);
    }
  }

  /** Memory ends where the ear was. */
  #cut({ itemId: item_id, contentIndex: content_index }: Utterance, heardMs: Milli): void {
    if (!this.#memory.has(item_id)) return;
    const audio_end_ms = Math.floor(heardMs);
    this.#memory.truncate(item_id, audio_end_ms);
    this.#send({ type: "conversation.item.truncated", item_id, content_index, audio_end_ms });
  }

  #close(now: Milli, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#turnWaits = false;
    for (const id of [...this.#responses.keys()]) this.#stopResponse(now, id, "client_cancelled");
    this.#commands.push({ kind: "close", reason });
  }

  #fail(error: RealtimeError, to: "all" | "origin" = "origin"): void {
    this.#send({ type: "error", error }, to);
  }

  #send(draft: ServerEventDraft, to: "all" | "origin" = "all"): void {
    const event = { event_id: this.#options.createId("event"), ...draft } as ServerEvent;
    this.#commands.push({ kind: "send", event, to });
  }
}

/** The agent's own voice is none of the caller's. */
function withoutVoice({ mediaMs, durationMs, levels }: VoiceWindow): VoiceWindow {
  return { mediaMs, durationMs, levels, probability: 0 };
}

/** What the caller said, as an item. */
function spokenItem(id: string, transcript: string | null): Item {
  const content = [{ type: "input_audio" as const, transcript }];
  return { id, object: "realtime.item", type: "message", role: "user", status: "completed", content };
}

function formatTool({ name, description, inputSchema, annotations }: ServerTool) {
  return { name, description: description ?? null, input_schema: inputSchema, annotations: annotations ?? null };
}

function formatTranscript(event: TranscriptEvent): ServerEventDraft {
  const place = { item_id: event.itemId, content_index: 0 };
  switch (event.kind) {
    case "delta":
      return { type: "conversation.item.input_audio_transcription.delta", ...place, delta: event.delta };
    case "completed": {
      const usage = { type: "duration" as const, seconds: Math.round(event.audioMs) / 1000 };
      const { text: transcript } = event;
      return { type: "conversation.item.input_audio_transcription.completed", ...place, transcript, usage };
    }
    case "failed": {
      const error = { type: "server_error", ...event.failure };
      return { type: "conversation.item.input_audio_transcription.failed", ...place, error };
    }
  }
}
