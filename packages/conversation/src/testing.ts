/** A conversation on a virtual clock, for tests: says what the caller, the engine and the pipe do, and collects what comes out. */
import {
  type ClientEvent,
  createSession,
  type McpTool,
  parseClientEvent,
  type ServerEvent,
  type SessionPatch,
} from "@sluice/realtime";
import { type Milli, type Pcm, SAMPLES_PER_MS } from "./audio.ts";
import { Conversation, type ConversationOptions } from "./conversation.ts";
import type { EngineFailure, SpeechEvent, SttEvent } from "./engines.ts";
import type { LinkCapabilities, Utterance } from "./link.ts";
import type { ConversationCommand } from "./outbox.ts";
import type { HeardPlace } from "./snapshot.ts";
import type { ServerTool, ServerToolOutcome } from "./tool-server.ts";

/** What a WebRTC pipe can do. */
export const serverPlayout: LinkCapabilities = {
  playout: "server",
  leadMs: 0,
  audioInEvents: false,
  reset: false,
  playoutReports: false,
};
/** What a WebSocket can do. */
export const clientPlayout: LinkCapabilities = {
  playout: "client",
  leadMs: Infinity,
  audioInEvents: true,
  reset: false,
  playoutReports: false,
};

/** Samples of a steady tone: `ms` of it. */
export function tone(ms: Milli, amplitude = 8000): Pcm {
  return Int16Array.from({ length: ms * SAMPLES_PER_MS }, (_, i) => amplitude * Math.sin(i / 8));
}

/** The harness. */
export class Scene {
  readonly conversation: Conversation;
  readonly commands: ConversationCommand[] = [];
  readonly events: ServerEvent[] = [];
  now: Milli = 10_000;
  #mediaMs: Milli = 0;
  #ids = 0;

  constructor(
    capabilities: LinkCapabilities,
    defaults: SessionPatch = {},
    listens = false,
    mcpServers: readonly McpTool[] = [],
    options: Partial<ConversationOptions> = {},
  ) {
    this.conversation = new Conversation({
      session: createSession({ id: "sess_1", model: "parrot", expiresAt: 2_000_000_000, defaults }),
      capabilities,
      listens,
      mcpServers,
      createId: (prefix) => `${prefix}_${++this.#ids}`,
      expiresAt: this.now + 3_600_000,
      expiresAfterMinutes: 60,
      ...options,
    });
    this.conversation.handleOpen(this.now);
    this.#drain();
  }

  /** The client of a conversation that was taken over is back. */
  goOn(heard: HeardPlace | undefined): void {
    this.conversation.handleTakenOver(this.now, heard);
    this.#drain();
  }

  /** Sends a client event as its JSON would arrive. */
  client(event: { readonly type: ClientEvent["type"]; readonly [member: string]: unknown }): void {
    const parsed = parseClientEvent(JSON.stringify(event));
    if (parsed.ok) this.conversation.handleEvent(this.now, parsed.event);
    else this.conversation.handleInvalid(this.now, parsed.error);
    this.#drain();
  }

  /** The caller speaks, hums or is silent for `ms`: audio in frames of 20 ms, and a voice window every 32 ms. */
  caller(ms: Milli, sound: boolean | "hum"): void {
    const voiced = sound !== false;
    const prosody =
      sound === "hum" ? { prosody: { periodicity: 0.95, pitchHz: 120, vowelDb: -14, brightDb: -22 } } : {};
    const endMs = this.#mediaMs + ms;
    let windowMs = this.#mediaMs;
    while (this.#mediaMs < endMs) {
      const pcm = tone(20, voiced ? 8000 : 0);
      this.conversation.handleAudio(this.now, { pcm, mediaMs: this.#mediaMs, origin: "received" });
      this.#mediaMs += 20;
      this.conversation.handleArrival(this.now, this.#mediaMs);
      while (windowMs + 32 <= this.#mediaMs) {
        const levels = Array.from({ length: 4 }, () => (voiced ? -15 : -100));
        this.conversation.handleVoice(this.now, {
          mediaMs: windowMs,
          durationMs: 32,
          probability: voiced ? 0.9 : 0.02,
          levels,
          ...prosody,
        });
        windowMs += 32;
      }
      this.#drain();
      this.advance(20);
    }
  }

  /** Lets time pass; timers fire when they are due. */
  advance(ms: Milli): void {
    const until = this.now + ms;
    for (
      let at = this.conversation.pollTimeout();
      at !== undefined && at <= until;
      at = this.conversation.pollTimeout()
    ) {
      this.now = Math.max(this.now, at);
      this.conversation.handleTimeout(this.now);
      this.#drain();
    }
    this.now = until;
  }

  /** The engine answers the newest response with `ms` of speech that says `transcript`. */
  speak(ms: Milli, transcript: string): Utterance {
    const responseId = this.responseId;
    this.conversation.handleEngine(this.now, responseId, { kind: "transcript", delta: transcript });
    this.conversation.handleEngine(this.now, responseId, { kind: "audio", pcm: tone(ms) });
    this.#drain();
    const play = this.commands.findLast((command) => command.kind === "play");
    if (!play) throw new Error("nothing is played");
    return play.utterance;
  }

  finish(failure?: { code: string; message: string }): void {
    this.conversation.handleEngineEnded(this.now, this.responseId, failure);
    this.#drain();
  }

  /** The engine's word on an utterance that it hears. */
  heard(itemId: string, event: SttEvent | EngineFailure): void {
    if ("kind" in event) this.conversation.handleHeard(this.now, itemId, event);
    else this.conversation.handleHearingFailed(this.now, itemId, event);
    this.#drain();
  }

  /** A server told its tools, or why it could not. */
  listed(label: string, tools: readonly ServerTool[] | EngineFailure): void {
    const asked = this.commands.findLast(
      (command) => command.kind === "connectTools" && command.server.label === label,
    );
    if (asked?.kind !== "connectTools") throw new Error(`nobody asked for the tools of ${label}`);
    this.conversation.handleToolsListed(this.now, label, asked.itemId, tools);
    this.#drain();
  }

  /** The server of the newest call answers. */
  outcome(outcome: ServerToolOutcome): void {
    const call = this.commands.findLast((command) => command.kind === "callTool");
    if (call?.kind !== "callTool") throw new Error("no tool was called");
    this.conversation.handleToolOutcome(this.now, call.responseId, call.itemId, outcome);
    this.#drain();
  }

  /** The engine says anything of the newest response. */
  engine(event: SpeechEvent): void {
    this.conversation.handleEngine(this.now, this.responseId, event);
    this.#drain();
  }

  /** The pipe sends `ms` of the utterance in real time, from `fromMs` on. */
  send(utterance: Utterance, ms: Milli, fromMs: Milli = 0): void {
    for (let sent = 20; sent <= ms; sent += 20) {
      this.conversation.handleSent(this.now, utterance, fromMs + sent, 1000);
      this.#drain();
      this.advance(20);
    }
  }

  /** A pipe without a pace of its own sends all `ms` of the utterance at once. */
  deliver(utterance: Utterance, ms: Milli): void {
    this.conversation.handleSent(this.now, utterance, ms, undefined);
    this.ended(utterance);
  }

  ended(utterance: Utterance): void {
    this.conversation.handleUtteranceEnded(this.now, utterance);
    this.#drain();
  }

  /** Id of the newest response that an engine was asked for. */
  get responseId(): string {
    const asked = this.commands.findLast((command) => command.kind === "respond");
    if (!asked) throw new Error("no response was asked for");
    return asked.responseId;
  }

  /** Types of the events since the last call, in order. */
  takeTypes(): string[] {
    return this.take().map((event) => event.type);
  }

  /** The events since the last call. */
  take(): ServerEvent[] {
    return this.events.splice(0);
  }

  #drain(): void {
    for (let command = this.conversation.nextCommand(); command; command = this.conversation.nextCommand()) {
      this.commands.push(command);
      if (command.kind === "send") this.events.push(command.event);
    }
  }
}
