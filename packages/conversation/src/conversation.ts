/**
 * One conversation between a caller and an agent, speaking the OpenAI Realtime protocol. In come the client's events, the
 * caller's audio, the engine's answer and the pipe's word on what is out; whose turn it is and what is answered is decided;
 * out go commands.
 *
 *     caller's audio --> listener, turn-taking --+--> responses --> (engine) --> agent's voice --> (pipe)
 *     client's events --> items, memory ---------+                                  playout <-- what is out
 *
 * Drive rule: one input, drain all commands, re-arm the timer. Never reads a clock, draws no random numbers.
 */
import {
  approvalNotFound,
  type CauseId,
  type ClientEvent,
  cancelNotActive,
  commitEmpty,
  describeSession,
  type Item,
  invalidRequest,
  type McpTool,
  type RealtimeError,
  type ResponseOptions,
  type Session,
  sessionExpired,
  updateSession,
} from "@sluice/realtime";
import { AgentVoice } from "./agent-voice.ts";
import type { Milli } from "./audio.ts";
import type { VoiceWindow } from "./endpointer.ts";
import type { EngineFailure, SpeechEvent, SttEvent } from "./engines.ts";
import type { Forecast } from "./forecast.ts";
import { Hearing } from "./hearing.ts";
import { IdleTimer } from "./idle.ts";
import { Items } from "./items.ts";
import type { LinkCapabilities, OrderedAudio, Utterance } from "./link.ts";
import { type CallerUtterance, Listener, type ListenerEvent } from "./listener.ts";
import { Memory } from "./memory.ts";
import { type ConversationCommand, type IdPrefix, Outbox } from "./outbox.ts";
import { Playout } from "./playout.ts";
import { lostResponse } from "./response.ts";
import { Responses } from "./responses.ts";
import { ServerTools } from "./server-tools.ts";
import { answersTurns, idleTimeout } from "./settings.ts";
import type { ConversationSnapshot, HeardPlace, SnapshotBounds } from "./snapshot.ts";
import type { ServerTool, ServerToolOutcome } from "./tool-server.ts";
import { TurnTaking, type TurnTakingOptions } from "./turn-taking.ts";

/** What a conversation is made with. */
export interface ConversationOptions extends TurnTakingOptions {
  readonly session: Session;
  readonly capabilities: LinkCapabilities;
  /** A fresh id such as `item_…`; randomness comes from outside. */
  readonly createId: (prefix: IdPrefix) => string;
  /** The client named its model when it connected: it cannot change any more. Default false. */
  readonly modelLocked?: boolean;
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

/** Less audio than this cannot be committed. */
const SHORTEST_COMMIT_MS = 100;
/** What the agent is told when nobody has said anything for `idle_timeout_ms`. */
const IDLE_HINT = "The caller has been silent for a while. Say something short that helps them to go on.";
/** What the agent is told when the transceiver died that it was speaking through. */
const GO_ON_HINT =
  "The line broke while you were speaking; the caller heard your last words no further than they stand here. " +
  "Go on from there, without greeting and without repeating what was heard.";

/** The conversation. */
export class Conversation {
  readonly #options: ConversationOptions;
  readonly #id: string;
  readonly #outbox: Outbox;
  readonly #memory: Memory;
  readonly #items: Items;
  readonly #listener: Listener;
  readonly #hearing: Hearing;
  readonly #turns: TurnTaking;
  readonly #responses: Responses;
  readonly #tools: ServerTools;
  readonly #playout: Playout;
  readonly #voice: AgentVoice;
  readonly #idle = new IdleTimer();
  #session: Session;
  #hasSpoken = false;
  #closed = false;

  constructor(options: ConversationOptions) {
    const { capabilities, createId, restored, session } = options;
    const outbox = new Outbox(createId);
    const memory = new Memory({ maxItems: options.maxItems ?? 4096, maxAudioMs: options.maxAudioMs ?? 120_000 });
    this.#options = options;
    this.#id = restored?.conversationId ?? createId("conv");
    this.#session = session;
    this.#outbox = outbox;
    this.#memory = memory;
    this.#items = new Items(memory, outbox, createId);
    this.#listener = new Listener(undefined, () => createId("item"), options.listens);
    this.#hearing = new Hearing(outbox, memory, options.listens === true);
    this.#playout = new Playout(capabilities.playout === "client");
    this.#voice = new AgentVoice(outbox, this.#items, this.#playout, capabilities, options.forecast);
    this.#turns = new TurnTaking(options, outbox, this.#listener, this.#voice);
    this.#tools = new ServerTools(outbox, memory, options.mcpServers ?? [], createId);
    this.#responses = new Responses({
      session,
      conversationId: this.#id,
      createId,
      outbox,
      memory,
      tools: this.#tools,
      voice: this.#voice,
      idle: this.#idle,
    });
    this.#configure(session);
    if (restored) this.#restore(restored);
    if (session.type === "realtime") this.#tools.configure(session.tools);
  }

  /** The effective settings. */
  get session(): Session {
    return this.#session;
  }

  /** Whether voice probabilities are wanted; without turn detection they would be thrown away. */
  get detectsTurns(): boolean {
    return this.#listener.detectsTurns;
  }

  /** All that another transceiver needs to go on. */
  snapshot(now: Milli, bounds?: SnapshotBounds): ConversationSnapshot {
    return {
      conversationId: this.#id,
      session: this.#session,
      modelLocked: this.#options.modelLocked === true,
      remainingMs: this.#options.expiresAt - now,
      hasSpoken: this.#hasSpoken,
      items: this.#memory.save(bounds),
      responseId: this.#responses.activeId,
      unanswered: this.#responses.owed,
      sounding: this.#playout.save(now),
      audioFromMs: this.#listener.openFromMs,
    };
  }

  // What comes in.

  /** A connection opened: the call's own, or one beside it. */
  handleOpen(now: Milli): void {
    this.#outbox.send({ type: "session.created", session: describeSession(this.#session) }, "origin");
    this.#tools.settle();
    this.#settle(now);
  }

  /** The connection is back, at a transceiver that took the conversation over: where the ear was, by the client's word. */
  handleTakenOver(now: Milli, heard: HeardPlace | undefined): void {
    const { restored } = this.#options;
    if (!restored) return;
    this.#tools.settle();
    const { responseId, sounding, unanswered } = restored;
    const cut = this.#voice.takeOver(now, sounding, responseId, heard) || responseId !== undefined;
    if (responseId !== undefined) {
      const response = lostResponse(responseId, this.#id, this.#session);
      this.#outbox.send({ type: "response.done", response });
    }
    if (cut || unanswered) this.#answerAgain(now, cut);
    this.#settle(now);
  }

  /** A text that was no event: the answer says why. */
  handleInvalid(_now: Milli, error: RealtimeError): void {
    this.#outbox.fail(error);
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
    this.#turns.handleVoice(now, heard, this.#agentSpeaks);
    this.#settle(now);
  }

  /** The caller's audio in order. */
  handleAudio(now: Milli, audio: OrderedAudio): void {
    this.#listener.handleAudio(now, audio);
    this.#settle(now);
  }

  /** An engine that listens understood a little more of the utterance that is to become `itemId`. */
  handleHeard(now: Milli, itemId: string, event: SttEvent): void {
    this.#hearing.handleWords(itemId, event);
    this.#turns.handleWords(now, itemId, event);
    this.#settle(now);
  }

  /** The engine could not make out what it heard. */
  handleHearingFailed(now: Milli, itemId: string, failure: EngineFailure): void {
    this.#hearing.handleFailed(itemId, failure);
    this.#turns.handleHearingFailed(itemId);
    this.#settle(now);
  }

  /** The turn detector's probability that the utterance under way is over. */
  handleTurnEnd(now: Milli, itemId: string, probability: number): void {
    this.#listener.handleTurnEnd(now, itemId, probability);
    this.#settle(now);
  }

  /** A piece of the engine's answer. Pieces of a response that was cancelled are ignored. */
  handleEngine(now: Milli, responseId: string, event: SpeechEvent): void {
    const run = this.#responses.find(responseId);
    if (!run) return;
    run.handle(event);
    if (event.kind === "inputTranscript") {
      this.#memory.transcribe(event.itemId, event.text);
      this.#hearing.handleWords(event.itemId, { kind: "final", text: event.text });
    }
    if (event.kind === "reached") this.#playout.handleReached(now, responseId, event.mark);
    const { utterance } = run;
    if ((event.kind === "audio" || event.kind === "acknowledgement") && utterance) {
      this.#hasSpoken = true;
      this.#voice.handleSpeech(now, utterance, event.pcm, event.kind === "acknowledgement");
    }
    this.#settle(now);
  }

  /** The engine's answer is complete, or it failed. */
  handleEngineEnded(now: Milli, responseId: string, failure?: EngineFailure): void {
    this.#responses.handleEngineEnded(now, responseId, failure, this.#listener.speaking);
    this.#settle(now);
  }

  /** A server told its tools, or why it could not. */
  handleToolsListed(now: Milli, label: string, itemId: string, listed: readonly ServerTool[] | EngineFailure): void {
    if (this.#tools.handleListed(label, itemId, listed)) this.#settle(now);
  }

  /** A server answered a call. */
  handleToolOutcome(now: Milli, responseId: string, itemId: string, outcome: ServerToolOutcome): void {
    this.#responses.handleToolOutcome(now, responseId, itemId, outcome, this.#listener.speaking);
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

  /** The pipe is gone, or is to go: what runs is stopped. */
  handleClosed(now: Milli): void {
    this.#close(now, "closed");
  }

  handleTimeout(now: Milli): void {
    if (this.#closed) return;
    this.#turns.handleTimeout(now);
    this.#voice.handleTimeout(now);
    if (now >= (this.#idleAt() ?? Infinity)) this.#breakSilence(now);
    if (now >= this.#options.expiresAt) {
      this.#outbox.fail(sessionExpired(this.#options.expiresAfterMinutes), "all");
      this.#close(now, "session expired");
    }
    this.#settle(now);
  }

  pollTimeout(): Milli | undefined {
    if (this.#closed) return undefined;
    return Math.min(
      this.#turns.pollTimeout() ?? Infinity,
      this.#voice.pollTimeout() ?? Infinity,
      this.#idleAt() ?? Infinity,
      this.#options.expiresAt,
    );
  }

  /** What goes out. */
  nextCommand(): ConversationCommand | undefined {
    return this.#outbox.next();
  }

  // What the client wants.

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
        if (this.#listener.itemId !== undefined) this.#handleDismissed(this.#listener.itemId);
        this.#listener.clear();
        this.#turns.reset();
        return this.#outbox.send({ type: "input_audio_buffer.cleared" });
      case "conversation.item.create":
        return this.#createItem(now, event);
      case "conversation.item.truncate":
        if (this.#items.truncate(event, this.#session)) this.#playout.handleStopped(now, event.item_id);
        return;
      case "conversation.item.retrieve": {
        // Audio is for connections that carry it in events: a message of a data channel has to be small.
        const { audioInEvents } = this.#options.capabilities;
        return this.#items.retrieve(event, audioInEvents ? this.#session.audio.input.format : undefined);
      }
      case "conversation.item.delete":
        if (this.#items.delete(event)) this.#tools.approvals.forget(event.item_id);
        return;
      case "response.create":
        return this.#createResponse(now, event.response, cause);
      case "response.cancel":
        if (this.#responses.stop(now, event.response_id ?? this.#responses.activeId, "client_cancelled")) return;
        return this.#outbox.fail(cancelNotActive(cause));
      case "output_audio_buffer.clear":
        return this.#clearOutput(now, cause);
      case "sluice.clock":
        return this.#outbox.send({ type: "sluice.clock", client_ms: event.client_ms, server_ms: now }, "origin");
      case "sluice.speech.report":
        return this.#playout.handleSpeechReport(Math.min(event.ended_ms, now));
      case "sluice.playout.report": {
        const { item_id, started_ms: startedAt, position_ms: positionMs, at_ms: at } = event;
        if (this.#playout.handlePlayoutReport(now, item_id, { startedAt, positionMs, at })) return;
        // Its playout is over for us, as after a takeover that cut it: late is not wrong.
        if (this.#memory.agentAudio(item_id)) return;
        const message = `No playout of an item '${item_id}'.`;
        return this.#outbox.fail(invalidRequest("invalid_value", message, "item_id", cause));
      }
    }
  }

  #updateSession(patch: ClientEvent<"session.update">["session"], cause: CauseId): void {
    const updated = updateSession(this.#session, patch, {
      voiceLocked: this.#hasSpoken,
      modelLocked: this.#options.modelLocked,
      cause,
    });
    if (!updated.ok) return this.#outbox.fail(updated.error);
    this.#configure(updated.session);
    this.#outbox.send({ type: "session.updated", session: describeSession(updated.session) });
    if (updated.session.type === "realtime" && patch.tools) this.#tools.configure(updated.session.tools);
    this.#tools.settle();
  }

  #configure(session: Session): void {
    this.#session = session;
    this.#outbox.timeline = session.sluice?.timeline === true;
    this.#playout.clientReports = this.#outbox.timeline;
    this.#voice.configure(session);
    this.#turns.configure(session);
    this.#hearing.configure(session);
    this.#responses.configure(session);
    this.#idle.configure(idleTimeout(session));
  }

  #commit(now: Milli, cause: CauseId): void {
    const { bufferedMs } = this.#listener;
    if (bufferedMs < SHORTEST_COMMIT_MS) return this.#outbox.fail(commitEmpty(bufferedMs, cause));
    this.#listener.commit(now);
    this.#turns.reset();
    // The client asks for the response itself: its turn is answered by whatever `response.create` comes next.
    for (let event = this.#turns.nextEvent(); event; event = this.#turns.nextEvent()) {
      if (event.kind === "committed") this.#addUtterance(event.utterance);
      else if (event.kind === "dismissed") this.#handleDismissed(event.itemId);
    }
  }

  #createItem(now: Milli, event: ClientEvent<"conversation.item.create">): void {
    const read = this.#items.read(event, this.#session.audio.input.format);
    if (!read) return;
    const { item, caller } = read;
    const answer = item.type === "mcp_approval_response" ? item : undefined;
    if (answer && !this.#tools.approvals.has(answer.approval_request_id)) {
      return this.#outbox.fail(approvalNotFound(answer.approval_request_id, event.event_id));
    }
    this.#items.add(item, event.previous_item_id, caller);
    if (caller) this.#hearing.handleAdded(item.id, caller);
    if (!answer) return;
    this.#tools.approvals.answer(answer.approval_request_id, answer.approve);
    this.#responses.callApproved(now);
  }

  #createResponse(now: Milli, options: ResponseOptions | undefined, cause: CauseId): void {
    const refusal = this.#responses.refusal(options, cause);
    if (refusal) return this.#outbox.fail(refusal);
    const items = options?.input
      ? this.#items.resolve(options.input, this.#session.audio.input.format, cause)
      : this.#memory.context();
    this.#responses.create(now, options, items);
  }

  #clearOutput(now: Milli, cause: CauseId): void {
    if (!this.#voice.isOurs) {
      const message = "The client plays the audio on this connection: there is no output buffer to clear.";
      return this.#outbox.fail(invalidRequest("invalid_value", message, "type", cause));
    }
    // Clients whose response is still being generated send a cancel first; `clear` alone must stop the sound too.
    this.#responses.stop(now, this.#responses.activeId, "client_cancelled");
    this.#voice.silence(now);
  }

  // Who speaks when. The parts tell each other what happened.

  #settle(now: Milli): void {
    for (let command = this.#turns.nextDecision(); command; command = this.#turns.nextDecision()) {
      if (command.kind === "duck") this.#outbox.push(command);
      else if (command.kind === "pass") this.#outbox.decide(command.decision);
      else {
        this.#settleTurns(now);
        if (command.onsetMs !== undefined) this.#outbox.decide(command.decision); // otherwise nobody had to yield
      }
    }
    this.#settleTurns(now);
    for (let event = this.#voice.nextEvent(); event; event = this.#voice.nextEvent()) {
      if (event.kind === "ended" && this.#voice.isOurs) this.#idle.handleSpoken(now);
    }
    this.#hearing.settle(this.#responses.activeId !== undefined);
  }

  #settleTurns(now: Milli): void {
    for (let event = this.#turns.nextEvent(); event; event = this.#turns.nextEvent()) this.#handleTurn(now, event);
  }

  #handleTurn(now: Milli, event: ListenerEvent): void {
    switch (event.kind) {
      case "started":
        return this.#handleSpeechStarted(now, event.itemId, event.audioStartMs);
      case "speech":
        return this.#hearing.handleSpeech(event.itemId, event.pcm);
      case "paused":
        if (this.#turns.preparesAnswers) this.#responses.prepare(event.itemId, event.silenceMs);
        return this.#turns.judge(event.itemId, event.silenceMs);
      case "resumed":
        this.#unprepare(event.itemId);
        return this.#hearing.handleResumed(event.itemId);
      case "stopped": {
        const audio_end_ms = Math.round(event.audioEndMs);
        const { itemId: item_id } = event;
        return this.#outbox.send({ type: "input_audio_buffer.speech_stopped", audio_end_ms, item_id });
      }
      case "committed":
        return this.#handleCommitted(now, event.utterance);
      case "doubted":
        if (this.#turns.handleDoubted(now, this.#agentSpeaks)) this.#hearing.end(event.itemId, true);
        return;
      case "dismissed":
        return this.#handleDismissed(event.itemId);
      case "overflow": {
        const message = `The input audio buffer is full: ${Math.round(event.lostMs)}ms of the oldest audio were dropped.`;
        this.#outbox.fail(invalidRequest("input_audio_buffer_overflow", message, null, undefined), "all");
      }
    }
  }

  #handleSpeechStarted(now: Milli, itemId: string, audioStartMs: Milli): void {
    const audio_start_ms = Math.round(audioStartMs);
    this.#outbox.send({ type: "input_audio_buffer.speech_started", audio_start_ms, item_id: itemId });
    this.#idle.handleActivity();
    if (this.#session.audio.input.turn_detection?.interrupt_response === false) return;
    this.#responses.stop(now, this.#responses.activeId, "turn_detected");
    this.#voice.silence(now);
  }

  #handleCommitted(now: Milli, utterance: CallerUtterance): void {
    this.#options.forecast?.record(now, "turnEnd", now - utterance.arrivedAt);
    this.#addUtterance(utterance);
    this.#responses.handleTurn(now);
  }

  /** It was no utterance. */
  #handleDismissed(itemId: string): void {
    this.#unprepare(itemId);
    this.#hearing.end(itemId, false);
  }

  #addUtterance(utterance: CallerUtterance): void {
    const { itemId } = utterance;
    this.#hearing.handleCommitted(utterance);
    this.#addSpoken(itemId, null, utterance);
    this.#hearing.handleAdded(itemId, utterance);
    this.#responses.handleUtterance(utterance);
  }

  #addSpoken(item_id: string, transcript: string | null, caller?: CallerUtterance): void {
    const previous_item_id = this.#memory.lastId;
    this.#outbox.send({ type: "input_audio_buffer.committed", item_id, previous_item_id });
    this.#items.add(spokenItem(item_id, transcript), undefined, caller);
  }

  #unprepare(itemId: string): void {
    if (this.#options.prepares) this.#outbox.push({ kind: "unprepare", itemId });
  }

  /** Whether the agent has, or is about to have, the floor. */
  get #agentSpeaks(): boolean {
    return this.#responses.activeId !== undefined || this.#playout.playing;
  }

  /** When the agent is to speak up by itself: not while anybody speaks, or an answer is on its way. */
  #idleAt(): Milli | undefined {
    return this.#agentSpeaks || this.#listener.speaking ? undefined : this.#idle.pollTimeout();
  }

  /** Nobody said anything for `idle_timeout_ms`: an empty turn, which the agent answers. */
  #breakSilence(now: Milli): void {
    const silentMs = now - (this.#idle.from ?? now);
    this.#idle.handleActivity();
    const item_id = this.#options.createId("item");
    const audio_end_ms = Math.round(this.#listener.endMs);
    const audio_start_ms = Math.max(0, Math.round(audio_end_ms - silentMs));
    this.#outbox.send({ type: "input_audio_buffer.timeout_triggered", audio_start_ms, audio_end_ms, item_id });
    this.#addSpoken(item_id, "");
    this.#responses.answer(now, IDLE_HINT);
  }

  #restore({ items, hasSpoken }: ConversationSnapshot): void {
    this.#memory.restore(items);
    this.#tools.approvals.restore(items.map(({ item }) => item));
    this.#hasSpoken = hasSpoken;
  }

  /** The agent goes on, or answers what nobody answered, unless the client is the one to ask for it. */
  #answerAgain(now: Milli, cut: boolean): void {
    if (!answersTurns(this.#session)) return;
    const last = this.#memory.context().at(-1);
    const goesOn = cut && last !== undefined && "role" in last && last.role === "assistant";
    this.#responses.answer(now, goesOn ? GO_ON_HINT : undefined);
  }

  #close(now: Milli, reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#responses.close(now);
    this.#outbox.push({ kind: "close", reason });
  }
}

/** What the caller said, as an item. */
function spokenItem(id: string, transcript: string | null): Item {
  const content = [{ type: "input_audio" as const, transcript }];
  return { id, object: "realtime.item", type: "message", role: "user", status: "completed", content };
}
