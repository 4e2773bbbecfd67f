/**
 * The agent's voice on its way from the engine to the ear, and back through the caller's microphone. Where it has to stop,
 * memory ends where the ear was. Never reads a clock.
 */
import type { Session } from "@sluice/realtime";
import type { Milli, Pcm } from "./audio.ts";
import { EchoDetector } from "./echo.ts";
import type { VoiceWindow } from "./endpointer.ts";
import { formatLedger, formatTurn } from "./extensions.ts";
import type { Forecast } from "./forecast.ts";
import type { Items } from "./items.ts";
import type { LinkCapabilities, Utterance } from "./link.ts";
import type { CallerUtterance } from "./listener.ts";
import type { Outbox } from "./outbox.ts";
import type { Playout, PlayoutEvent } from "./playout.ts";
import type { ResponseRun } from "./response.ts";
import type { HeardPlace, SavedUtterance } from "./snapshot.ts";
import { type OutgoingSpeech, SpeechOutlet } from "./speech-outlet.ts";

/** The agent's voice in one conversation; what of it is out and was heard is the {@link Playout}'s to know. */
export class AgentVoice {
  readonly #outbox: Outbox;
  readonly #items: Items;
  readonly #playout: Playout;
  readonly #capabilities: LinkCapabilities;
  readonly #outlet: SpeechOutlet;
  readonly #echo = new EchoDetector();
  #comesBack = false; // to somebody who would take it for the caller's

  constructor(
    outbox: Outbox,
    items: Items,
    playout: Playout,
    capabilities: LinkCapabilities,
    forecast: Forecast | undefined,
  ) {
    this.#outbox = outbox;
    this.#items = items;
    this.#playout = playout;
    this.#capabilities = capabilities;
    this.#outlet = new SpeechOutlet(capabilities.playout === "server", forecast);
  }

  configure(session: Session): void {
    this.#comesBack = session.audio.input.turn_detection !== null;
  }

  /** Whether what is on its way to the ear is ours to stop. */
  get isOurs(): boolean {
    const { playout, reset } = this.#capabilities;
    return playout === "server" || reset;
  }

  /** Whether the client holds what is sent, and plays it in its own time. */
  get isHeld(): boolean {
    return this.#capabilities.playout === "client";
  }

  /** A response is to answer what the caller just said. */
  handleTurn(now: Milli, responseId: string, caller: CallerUtterance): void {
    this.#playout.handleTurn(now, responseId, caller);
  }

  /** The engine has spoken; `acknowledges`: it is no part of the answer. */
  handleSpeech(now: Milli, utterance: Utterance, pcm: Pcm, acknowledges: boolean): void {
    if (!acknowledges) this.#playout.handleAnswered(now, utterance);
    this.#playout.handleGenerated(now, utterance, pcm, acknowledges);
    this.#play(now, this.#outlet.handleAudio(now, utterance, pcm));
  }

  /** The response is over. */
  handleResponseEnded(now: Milli, run: ResponseRun, complete: boolean): void {
    this.#playout.handleResponseEnded(run.spec.id);
    this.end(now, run, complete);
  }

  /** No more sound comes of the response; what is held back of it is let go when it is `complete`. */
  end(now: Milli, run: ResponseRun, complete: boolean): void {
    this.#play(now, this.#outlet.handleEnd(now, run.spec.id, complete));
    const { utterance } = run;
    if (!utterance || run.audioMs === 0 || run.soundEnded) return;
    run.soundEnded = true;
    this.#outbox.push({ kind: "endUtterance", utterance });
  }

  /** Nothing more of what was said so far reaches the ear: we stop it, or the client does, who was told why. */
  silence(now: Milli): void {
    if (!this.#playout.playing) return;
    const cut = this.#playout.cut(now);
    if (!this.isOurs) return; // its own `conversation.item.truncate` says where
    this.#outbox.push({ kind: "flush" });
    for (const { utterance, heardMs, started } of cut) {
      if (started) this.#outbox.send({ type: "output_audio_buffer.cleared", response_id: utterance.responseId });
      this.#cut(utterance, heardMs);
    }
  }

  /**
   * What sounded when another transceiver died, of which `lostId` was giving a response: a client that holds all of it plays
   * on, other speech was cut where the ear is. Answers whether any was.
   */
  takeOver(
    now: Milli,
    sounding: readonly SavedUtterance[],
    lostId: string | undefined,
    heard: HeardPlace | undefined,
  ): boolean {
    if (heard) this.#playout.handleGone(heard.itemId); // it may be younger than what was saved
    let cut = false;
    for (const saved of sounding) {
      const { utterance, generatedMs, whole } = saved;
      const heardMs = Math.min(heard?.itemId === utterance.itemId ? heard.positionMs : saved.heardMs, generatedMs);
      const holds = this.isHeld && whole && utterance.responseId !== lostId;
      // A client whose sound is not ours to stop plays on what it holds.
      if (holds || !this.isOurs) {
        this.#playout.restore(now, saved, heardMs);
        continue;
      }
      cut = true;
      this.#playout.handleGone(utterance.itemId);
      this.#outbox.send({ type: "output_audio_buffer.cleared", response_id: utterance.responseId });
      this.#cut(utterance, heardMs);
    }
    return cut;
  }

  /**
   * Whether a window of the caller's audio holds the agent's voice and nothing else to speak of; `softened`: the agent is not as
   * loud as it spoke; `judged`: whether anybody wants to know.
   */
  isEcho(now: Milli, window: VoiceWindow, softened: boolean, judged: boolean): boolean {
    return this.#echo.handleWindow(now, window, this.#playout.ear(now), softened, judged);
  }

  /** How much the caller has heard of what it says, see {@link Playout.answerHeardMs}. */
  answerHeardMs(now: Milli): Milli {
    return this.#playout.answerHeardMs(now);
  }

  handleTimeout(now: Milli): void {
    this.#play(now, this.#outlet.handleTimeout(now));
    this.#playout.handleTimeout(now);
  }

  pollTimeout(): Milli | undefined {
    const [held, played] = [this.#outlet.pollTimeout(), this.#playout.pollTimeout()];
    return held === undefined || (played !== undefined && played < held) ? played : held;
  }

  /** What became of the sound; clients and metrics are told. */
  nextEvent(): PlayoutEvent | undefined {
    const event = this.#playout.nextEvent();
    if (event) this.#tell(event);
    return event;
  }

  #tell(event: PlayoutEvent): void {
    switch (event.kind) {
      case "started": {
        const { responseId: response_id, itemId: item_id } = event.utterance;
        const rtp_timestamp = event.rtpTimestamp ?? null;
        if (this.isOurs) this.#outbox.send({ type: "output_audio_buffer.started", response_id });
        if (!this.#outbox.timeline) return;
        const lead_ms = Math.round(this.#outlet.leadMs(response_id));
        const sent_ms = event.at;
        this.#outbox.send({ type: "sluice.utterance.started", response_id, item_id, rtp_timestamp, sent_ms, lead_ms });
        return;
      }
      case "ended": {
        const { responseId: response_id } = event.utterance;
        if (this.isOurs) this.#outbox.send({ type: "output_audio_buffer.stopped", response_id });
        return;
      }
      case "began":
        return this.#outbox.push({ kind: "began", responseId: event.responseId, began: event.began });
      case "stopped":
        if (this.isOurs) this.#cut(event.utterance, event.heardMs);
        return;
      case "ledger":
        if (this.#outbox.timeline) this.#outbox.send(formatLedger(event.utterance, event.entry));
        return;
      case "turn":
        this.#outbox.push({ kind: "measured", report: event.report });
        if (this.#outbox.timeline) this.#outbox.send(formatTurn(event.report));
    }
  }

  #play(now: Milli, pieces: readonly OutgoingSpeech[]): void {
    for (const { utterance, pcm, released } of pieces) {
      if (released) this.#playout.handleReleased(now, utterance);
      if (this.#comesBack) this.#echo.handleSpeech(utterance.itemId, pcm);
      this.#outbox.push({ kind: "play", utterance, pcm });
    }
  }

  #cut({ itemId, contentIndex }: Utterance, heardMs: Milli): void {
    this.#items.cut(itemId, contentIndex, Math.floor(heardMs));
  }
}
