/**
 * One call: a pipe, a conversation, a voice detector and an engine, brought together. Does I/O and owns the timer;
 * decides nothing about the conversation.
 */
import {
  type Began,
  Conversation,
  type ConversationCommand,
  type ConversationSnapshot,
  type EarlyAudio,
  type EngineFailure,
  type FloorDecision,
  formatForecast,
  type HeardPlace,
  type IdPrefix,
  type Link,
  type LinkListener,
  type Milli,
  type OrderedAudio,
  type Pcm,
  type Pipeline,
  SAMPLES_PER_MS,
  type SpeechRequest,
  type SpeechSession,
  type SpeechToSpeech,
  type SttOptions,
  type ToolServers,
  type TurnDetector,
  type TurnDetectorInput,
  type TurnReport,
  type Utterance,
  type VadEngine,
} from "@sluice/conversation";
import {
  type AudioDecoder,
  type AudioEncoder,
  createAudioDecoder,
  createAudioEncoder,
  invalidAudio,
  invalidRequest,
  parseClientEvent,
  type ServerEvent,
  type Session,
} from "@sluice/realtime";
import type { Logger } from "pino";
import { Gain } from "../media/gain.ts";
import { CallTools } from "./call-tools.ts";
import { PcmStream } from "./pcm-stream.ts";
import { VoiceActivity } from "./voice-activity.ts";

/** The engines of a call. */
export interface CallEngines {
  readonly vad: VadEngine;
  readonly speech: SpeechToSpeech;
  /** Judges pauses for `semantic_vad`, instead of melody and loudness; absent: those do. */
  readonly turn?: TurnDetector | undefined;
  /** MCP servers whose tools run here; absent: none. */
  readonly toolServers?: ToolServers | undefined;
}

/** What a call is made with. */
export interface CallOptions {
  readonly id: string;
  readonly session: Session;
  /** The client named the model when it called. */
  readonly modelLocked: boolean;
  readonly engines: CallEngines;
  readonly now: () => Milli;
  readonly createId: (prefix: IdPrefix) => string;
  /** What the agent takes and guesses, for all calls; without it nothing is known beyond this one. */
  readonly pipeline?: Pipeline | undefined;
  /** The longest a call may last. */
  readonly maxDurationMs: Milli;
  /** What another transceiver saved of the conversation; default: it begins. */
  readonly restored?: ConversationSnapshot | undefined;
  readonly log: Logger;
  /** Called with every turn that was measured. */
  readonly onTurn: (report: TurnReport) => void;
  /** Called when an engine could not answer, with the error's code. */
  readonly onFailure?: ((code: string) => void) | undefined;
  /** Called with every interruption that was judged. */
  readonly onDecision?: (decision: FloorDecision) => void;
  /** The call is over; called once. */
  readonly onEnded: (reason: string) => void;
}

interface Hearing {
  readonly audio: PcmStream;
  readonly abort: AbortController;
}

interface Running {
  readonly abort: AbortController;
  readonly began: PromiseWithResolvers<Began>;
}

/** Speech in one event: long enough to be cheap, short enough to be played at once. */
const EVENT_AUDIO_MS = 200;

/** Of audio in events, what is this near to the ear is still made softer by us. */
const DUCKED_LEAD_MS = 300;

/** Between two forecasts to a client that asked, at least. */
const FORECAST_EVERY_MS = 2_000;

/** Hears nothing: for connections that carry no media, or whose call is over. */
export const ignoring: LinkListener = {
  onOpen: () => {},
  onMessage: () => {},
  onEarlyAudio: () => {},
  onOrderedAudio: () => {},
  onSent: () => {},
  onUtteranceEnded: () => {},
  onClosed: () => {},
};

/** A call under way; it is its pipe's listener. */
export class Call implements LinkListener {
  readonly #options: CallOptions;
  readonly #link: Link;
  readonly #conversation: Conversation;
  readonly #engine: SpeechSession;
  readonly #ended = new AbortController();
  readonly #voice: VoiceActivity;
  readonly #tools: CallTools;
  readonly #running = new Map<string, Running>();
  readonly #hearing = new Map<string, Hearing>();
  #preparing: { readonly itemId: string; readonly abort: AbortController } | undefined;
  readonly #observers = new Set<Link>();
  #origin: Link; // whose input is being handled
  #decoder: { readonly format: string; readonly decoder: AudioDecoder } | undefined;
  #encoder:
    | { readonly itemId: string; readonly encoder: AudioEncoder; readonly since: Milli; sentMs: Milli }
    | undefined;
  readonly #gain = new Gain(); // of audio in events, for clients that cannot be asked
  #appendedMs: Milli = 0;
  #timer: NodeJS.Timeout | undefined;
  #timerAt: Milli = Infinity;
  #forecastAt: Milli = 0; // the next one
  #forecastTold = "";

  constructor(link: Link, options: CallOptions) {
    this.#options = options;
    this.#link = link;
    this.#origin = link;
    this.#engine = options.engines.speech.open(this.#ended.signal);
    this.#conversation = new Conversation({
      session: options.session,
      capabilities: link.capabilities,
      modelLocked: options.modelLocked,
      listens: this.#engine.listen !== undefined,
      detectsEnds: options.engines.turn !== undefined,
      prepares: this.#engine.listen !== undefined && this.#engine.prepare !== undefined,
      pauseMs: this.#engine.pauseMs,
      forecast: options.pipeline?.speech,
      mcpServers: options.engines.toolServers?.configured,
      createId: options.createId,
      restored: options.restored,
      expiresAt: options.now() + Math.min(options.maxDurationMs, options.restored?.remainingMs ?? Infinity),
      expiresAfterMinutes: Math.round(options.maxDurationMs / 60_000),
    });
    this.#tools = new CallTools({
      servers: options.engines.toolServers,
      onListed: (...listed) => this.#handle((now) => this.#conversation.handleToolsListed(now, ...listed)),
      onOutcome: (...outcome) => this.#handle((now) => this.#conversation.handleToolOutcome(now, ...outcome)),
    });
    this.#voice = new VoiceActivity({
      vad: options.engines.vad.open(),
      onWindow: (window) => this.#handle((now) => this.#conversation.handleVoice(now, window)),
      onError: (error) => this.#fail(error),
    });
    this.#arm();
  }

  /** `rtc_…` or `sess_…`: the name by which HTTP knows the call. */
  get id(): string {
    return this.#options.id;
  }

  /** The effective settings. */
  get session(): Session {
    return this.#conversation.session;
  }

  onOpen(_now: Milli): void {
    this.#handle((now) => this.#conversation.handleOpen(now));
  }

  onMessage(_now: Milli, text: string): void {
    this.#receive(this.#link, text);
  }

  onEarlyAudio(now: Milli, audio: EarlyAudio): void {
    this.#handle(() => {
      this.#conversation.handleArrival(now, audio.mediaMs + audio.pcm.length / SAMPLES_PER_MS);
      if (this.#conversation.detectsTurns) this.#voice.handleAudio(audio);
    });
  }

  onOrderedAudio(now: Milli, audio: OrderedAudio): void {
    this.#handle(() => this.#conversation.handleAudio(now, audio));
  }

  onSent(now: Milli, utterance: Utterance, sentMs: Milli, rtpTimestamp: number | undefined): void {
    const wholeMs = (utterance.startMs ?? 0) + sentMs;
    this.#handle(() => this.#conversation.handleSent(now, utterance, wholeMs, rtpTimestamp));
  }

  onUtteranceEnded(now: Milli, utterance: Utterance): void {
    this.#handle(() => this.#conversation.handleUtteranceEnded(now, utterance));
  }

  onClosed(_now: Milli, reason: string): void {
    this.#end(reason);
  }

  /** All that another transceiver needs to go on. */
  snapshot(): ConversationSnapshot {
    return this.#conversation.snapshot(this.#options.now());
  }

  /** The client of a conversation that was taken over is back. */
  goOn(heard: HeardPlace | undefined): void {
    this.#handle((now) => this.#conversation.handleTakenOver(now, heard));
  }

  /** Lets another connection follow and steer the call. */
  observe(link: Link): LinkListener {
    this.#observers.add(link);
    return {
      ...ignoring,
      onOpen: () => this.#as(link, () => this.#handle((now) => this.#conversation.handleOpen(now))),
      onMessage: (_now, text) => this.#receive(link, text),
      onClosed: () => {
        this.#observers.delete(link);
      },
    };
  }

  /** Ends the call, telling the client why. */
  close(reason: string): void {
    if (this.#ended.signal.aborted) return;
    const error = {
      type: "server_error",
      code: "session_ended",
      message: reason,
      param: null,
      event_id: null,
    } as const;
    this.#broadcast({ type: "error", event_id: this.#options.createId("event"), error });
    this.#end(reason);
  }

  #receive(link: Link, text: string): void {
    this.#as(link, () =>
      this.#handle((now) => {
        const parsed = parseClientEvent(text);
        if (!parsed.ok) return this.#conversation.handleInvalid(now, parsed.error);
        const { event } = parsed;
        if (event.type === "input_audio_buffer.append") return this.#append(now, event.audio, event.event_id);
        this.#conversation.handleEvent(now, event);
        if (event.type === "sluice.playout.report") this.#link.heard?.(event.item_id, event.position_ms);
      }),
    );
  }

  #append(now: Milli, audio: string, cause: string | undefined): void {
    if (!this.#link.capabilities.audioInEvents || this.#origin !== this.#link) {
      const message = "The audio of this call comes by its media connection, not by events.";
      return this.#conversation.handleInvalid(now, invalidRequest("invalid_value", message, "type", cause));
    }
    const pcm = this.#decode(audio);
    if (!pcm) return this.#conversation.handleInvalid(now, invalidAudio(cause));
    // A client may append seconds at once: voice activity takes them in the pieces that a microphone would give.
    const piece = 20 * SAMPLES_PER_MS;
    for (let at = 0; at < pcm.length; at += piece) {
      const part = pcm.subarray(at, at + piece);
      const mediaMs = this.#appendedMs;
      this.#appendedMs += part.length / SAMPLES_PER_MS;
      this.#conversation.handleArrival(now, this.#appendedMs);
      this.#conversation.handleAudio(now, { pcm: part, mediaMs, origin: "received" });
      if (this.#conversation.detectsTurns) this.#voice.handleAudio({ pcm: part, mediaMs });
    }
  }

  #decode(audio: string): Pcm | undefined {
    const { format } = this.#conversation.session.audio.input;
    if (this.#decoder?.format !== format.type) {
      this.#decoder = { format: format.type, decoder: createAudioDecoder(format) };
    }
    return this.#decoder.decoder.decode(audio);
  }

  #as(link: Link, input: () => void): void {
    this.#origin = link;
    input();
    this.#origin = this.#link;
  }

  /** One input, then all commands, then the timer. An error of ours ends this call, not the process. */
  #handle(input: (now: Milli) => void): void {
    if (this.#ended.signal.aborted) return;
    try {
      input(this.#options.now());
      for (let command = this.#conversation.nextCommand(); command; command = this.#conversation.nextCommand()) {
        this.#carryOut(command);
      }
      this.#tellForecast(this.#options.now());
      this.#arm();
    } catch (error) {
      this.#fail(error);
    }
  }

  #carryOut(command: ConversationCommand): void {
    switch (command.kind) {
      case "send":
        if (command.to === "origin") this.#origin.sendEvent(command.event);
        else this.#broadcast(command.event);
        return;
      case "respond":
        void this.#respond(command.responseId, command.request);
        return;
      case "prepare":
        this.#prepare(command.itemId, command.request);
        return;
      case "unprepare":
        this.#unprepare(command.itemId);
        return;
      case "began":
        this.#running.get(command.responseId)?.began.resolve(command.began);
        return;
      case "abort":
        this.#running.get(command.responseId)?.abort.abort();
        this.#tools.abort(command.responseId);
        return;
      case "connectTools":
        void this.#tools.connect(command.server, command.itemId);
        return;
      case "dropTools":
        this.#tools.drop(command.label);
        return;
      case "callTool":
        void this.#tools.call(command);
        return;
      case "hear":
        this.#hear(command.itemId, command.pcm);
        return;
      case "heard":
        this.#endHearing(command.itemId, command.complete);
        return;
      case "play":
        if (this.#link.capabilities.audioInEvents) this.#sendAudio(command.utterance, command.pcm);
        else this.#link.play(command.utterance, command.pcm);
        return;
      case "endUtterance":
        if (this.#link.capabilities.audioInEvents) this.#endAudio(command.utterance);
        else this.#link.endUtterance(command.utterance);
        return;
      case "flush":
        this.#link.flush();
        return;
      case "judge":
        void this.#judge(command.itemId, command.input);
        return;
      case "duck":
        this.#duck(command.gain, command.rampMs);
        return;
      case "measured":
        this.#options.onTurn(command.report);
        return;
      case "decided":
        this.#options.onDecision?.(command.decision);
        return;
      case "close":
        this.#end(command.reason);
    }
  }

  /** Whenever something happens, but seldom, and only what is new: no timer of its own. */
  #tellForecast(now: Milli): void {
    const { pipeline, createId } = this.#options;
    if (now < this.#forecastAt || !pipeline || this.#conversation.session.sluice?.forecast !== true) return;
    this.#forecastAt = now + FORECAST_EVERY_MS;
    const draft = formatForecast(now, pipeline.forecasts);
    const told = JSON.stringify(draft);
    if (told === this.#forecastTold) return;
    this.#forecastTold = told;
    this.#broadcast({ event_id: createId("event"), ...draft } as ServerEvent);
  }

  #broadcast(event: ServerEvent): void {
    this.#link.sendEvent(event);
    for (const observer of this.#observers) observer.sendEvent(event);
  }

  #sendAudio(utterance: Utterance, pcm: Pcm): void {
    if (this.#encoder?.itemId !== utterance.itemId) {
      const encoder = createAudioEncoder(this.#conversation.session.audio.output.format);
      this.#encoder = { itemId: utterance.itemId, encoder, since: this.#options.now(), sentMs: 0 };
    }
    const piece = EVENT_AUDIO_MS * SAMPLES_PER_MS;
    for (let at = 0; at < pcm.length; at += piece) {
      const begins = this.#encoder.sentMs === 0;
      const part = pcm.subarray(at, at + piece);
      this.#sendAudioEvent(utterance, this.#encoder.encoder.encode(this.#softened(part, this.#encoder)));
      this.#encoder.sentMs += part.length / SAMPLES_PER_MS;
      // It is out: an engine that gives seconds at once has the rest of them written while the ear has the first.
      if (begins) this.#conversation.handleSent(this.#options.now(), utterance, this.#encoder.sentMs, undefined);
    }
    this.#conversation.handleSent(this.#options.now(), utterance, this.#encoder.sentMs, undefined);
  }

  #sendAudioEvent(utterance: Utterance, delta: string): void {
    if (delta === "") return;
    this.#broadcast({
      type: "response.output_audio.delta",
      event_id: this.#options.createId("event"),
      response_id: utterance.responseId,
      item_id: utterance.itemId,
      output_index: utterance.outputIndex,
      content_index: utterance.contentIndex,
      delta,
    });
  }

  /** The gain is for what is heard now: speech far ahead of the ear will sound when it is long over. */
  #softened(pcm: Pcm, { since, sentMs }: { readonly since: Milli; readonly sentMs: Milli }): Pcm {
    if (this.#gain.neutral || since + sentMs - this.#options.now() > DUCKED_LEAD_MS) return pcm;
    const copy = pcm.slice();
    this.#gain.apply(copy);
    return copy;
  }

  #duck(gain: number, rampMs: Milli): void {
    const { capabilities } = this.#link;
    const asked = this.#conversation.session.sluice?.timeline === true;
    if (!capabilities.audioInEvents || asked) this.#link.duck(gain, rampMs);
    else this.#gain.ramp(gain, rampMs);
  }

  #endAudio(utterance: Utterance): void {
    if (this.#encoder?.itemId === utterance.itemId) this.#sendAudioEvent(utterance, this.#encoder.encoder.flush());
    this.#conversation.handleUtteranceEnded(this.#options.now(), utterance);
  }

  #hear(itemId: string, pcm: Pcm): void {
    const known = this.#hearing.get(itemId);
    if (known) return known.audio.push(pcm);
    const hearing: Hearing = { audio: new PcmStream(), abort: new AbortController() };
    this.#hearing.set(itemId, hearing);
    hearing.audio.push(pcm);
    void this.#listen(itemId, hearing);
  }

  async #judge(itemId: string, input: TurnDetectorInput): Promise<void> {
    try {
      const probability = await this.#options.engines.turn?.detect(input, this.#ended.signal);
      if (probability === undefined) return;
      this.#handle((now) => this.#conversation.handleTurnEnd(now, itemId, probability));
    } catch (error) {
      // Melody and loudness judge this pause then.
      if (!this.#ended.signal.aborted) this.#options.log.warn({ call: this.id, err: error }, "turn detector failed");
    }
  }

  async #listen(itemId: string, { audio, abort }: Hearing): Promise<void> {
    const signal = AbortSignal.any([abort.signal, this.#ended.signal]);
    let failure: EngineFailure | undefined = { code: "no_transcript", message: "The engine gave no transcript." };
    try {
      const options = sttOptions(this.#conversation.session);
      for await (const event of this.#engine.listen?.(itemId, audio, signal, options) ?? []) {
        if (event.kind === "final") failure = undefined;
        this.#handle((now) => this.#conversation.handleHeard(now, itemId, event));
      }
    } catch (error) {
      failure = { code: "transcription_failed", message: error instanceof Error ? error.message : String(error) };
    }
    if (failure === undefined || signal.aborted) return;
    const reason = failure;
    this.#handle((now) => this.#conversation.handleHearingFailed(now, itemId, reason));
  }

  #endHearing(itemId: string, complete: boolean): void {
    const hearing = this.#hearing.get(itemId);
    this.#hearing.delete(itemId);
    // What was prepared for it is the answer's from here on, or nobody's.
    if (complete && this.#preparing?.itemId === itemId) this.#preparing = undefined;
    if (complete) hearing?.audio.end();
    else hearing?.abort.abort();
  }

  #prepare(itemId: string, request: Omit<SpeechRequest, "began">): void {
    this.#preparing?.abort.abort();
    this.#preparing = { itemId, abort: new AbortController() };
    this.#engine.prepare?.(request, AbortSignal.any([this.#preparing.abort.signal, this.#ended.signal]));
  }

  #unprepare(itemId: string): void {
    if (this.#preparing?.itemId !== itemId) return;
    this.#preparing.abort.abort();
    this.#preparing = undefined;
  }

  async #respond(responseId: string, request: Omit<SpeechRequest, "began">): Promise<void> {
    const running: Running = { abort: new AbortController(), began: Promise.withResolvers<Began>() };
    this.#running.set(responseId, running);
    const { signal } = running.abort;
    let failure: EngineFailure | undefined;
    try {
      for await (const event of this.#engine.respond({ ...request, began: running.began.promise }, signal)) {
        if (signal.aborted) break;
        this.#handle((now) => this.#conversation.handleEngine(now, responseId, event));
      }
    } catch (error) {
      if (!signal.aborted) {
        this.#options.log.warn({ call: this.id, response: responseId, err: error }, "engine failed");
        failure = { code: "engine_failed", message: error instanceof Error ? error.message : String(error) };
      }
    } finally {
      this.#running.delete(responseId);
    }
    if (signal.aborted) return;
    if (failure) this.#options.onFailure?.(failure.code);
    this.#handle((now) => this.#conversation.handleEngineEnded(now, responseId, failure));
  }

  #arm(): void {
    const at = this.#conversation.pollTimeout();
    // A timer that fires too early only asks again: cheaper than to re-arm it with every packet.
    if (at === undefined || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    // Node's timers are whole milliseconds and may be early: round up, so that the deadline has passed.
    const delay = Math.min(2 ** 31 - 1, Math.max(0, Math.ceil(at - this.#options.now())));
    this.#timer = setTimeout(() => {
      this.#timerAt = Infinity;
      this.#handle((now) => this.#conversation.handleTimeout(now));
    }, delay);
  }

  #fail(error: unknown): void {
    this.#options.log.error({ call: this.id, err: error }, "call failed");
    this.close("internal error");
  }

  #end(reason: string): void {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    clearTimeout(this.#timer);
    for (const { abort } of this.#running.values()) abort.abort();
    this.#hearing.clear();
    this.#tools.close();
    this.#engine.close();
    this.#voice.close();
    this.#link.close(reason);
    for (const observer of this.#observers) observer.close(reason);
    this.#observers.clear();
    this.#options.onEnded(reason);
  }
}

/** What the client wants its words transcribed by. */
function sttOptions({ audio }: Session): SttOptions {
  const { language, prompt, keywords } = audio.input.transcription ?? {};
  const expected = [prompt, keywords?.join(", ")].filter(Boolean).join("\n");
  return { ...(language !== undefined && { language }), ...(expected !== "" && { prompt: expected }) };
}
