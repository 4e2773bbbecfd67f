/** The agent's speech between the engine and the pipe: held back for its lead, if it needs one. Never reads a clock. */
import type { Milli, Pcm } from "./audio.ts";
import type { Forecast } from "./forecast.ts";
import { Lead, leadOf, NO_LEAD } from "./lead.ts";
import type { Utterance } from "./link.ts";

/** What a client that holds speech waits for, unless it is told of more. */
const CLIENT_LEAD_MS: Milli = 40;

/** Speech to play now; `released`: the utterance begins with it, and was held back until now. */
export interface OutgoingSpeech {
  readonly utterance: Utterance;
  readonly pcm: Pcm;
  readonly released: boolean;
}

interface Outgoing {
  readonly utterance: Utterance;
  readonly lead: Lead;
  readonly grantedMs: Milli;
}

/** The outlet of one conversation. */
export class SpeechOutlet {
  readonly #holds: boolean;
  readonly #forecast: Forecast | undefined;
  readonly #outgoing = new Map<string, Outgoing>(); // by response: one utterance each

  /** `holds`: we pace the speech, so the lead is ours to give; otherwise the client is told of it. */
  constructor(holds: boolean, forecast: Forecast | undefined) {
    this.#holds = holds;
    this.#forecast = forecast;
  }

  handleAudio(now: Milli, utterance: Utterance, pcm: Pcm): readonly OutgoingSpeech[] {
    let outgoing = this.#outgoing.get(utterance.responseId);
    if (!outgoing) {
      const need = leadOf(this.#forecast, now);
      outgoing = {
        utterance,
        lead: this.#holds ? new Lead(need) : new Lead(NO_LEAD, CLIENT_LEAD_MS + need.waitMs),
        grantedMs: need.waitMs,
      };
      this.#outgoing.set(utterance.responseId, outgoing);
    }
    const held = outgoing.lead.pollTimeout() !== undefined && !outgoing.lead.begun;
    return told(outgoing, outgoing.lead.handleAudio(now, pcm), held);
  }

  /** The lead that the utterance of a response was found to want. */
  leadMs(responseId: string): Milli {
    return this.#outgoing.get(responseId)?.grantedMs ?? 0;
  }

  /** The response is over; what is held is let go when it is `complete`, and void otherwise. */
  handleEnd(now: Milli, responseId: string, complete: boolean): readonly OutgoingSpeech[] {
    const outgoing = this.#outgoing.get(responseId);
    this.#outgoing.delete(responseId);
    if (!outgoing || !complete) return [];
    this.#forecast?.record(now, "lead", outgoing.lead.neededMs);
    this.#forecast?.record(now, "buffer", outgoing.lead.neededBufferMs);
    const held = !outgoing.lead.begun;
    return told(outgoing, outgoing.lead.handleEnd(now), held);
  }

  handleTimeout(now: Milli): readonly OutgoingSpeech[] {
    const due: OutgoingSpeech[] = [];
    for (const outgoing of this.#outgoing.values()) {
      const held = !outgoing.lead.begun;
      due.push(...told(outgoing, outgoing.lead.handleTimeout(now), held));
    }
    return due;
  }

  pollTimeout(): Milli | undefined {
    let first: Milli | undefined;
    for (const { lead } of this.#outgoing.values()) {
      const at = lead.pollTimeout();
      if (at !== undefined && (first === undefined || at < first)) first = at;
    }
    return first;
  }
}

function told({ utterance }: Outgoing, pieces: readonly Pcm[], released: boolean): OutgoingSpeech[] {
  return pieces.map((pcm, index) => ({ utterance, pcm, released: released && index === 0 }));
}
