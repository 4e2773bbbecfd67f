/** What one session of a call is given of the agent: its catalog, its speech, the Realtime events. */
import type { Milli } from "@sluice/conversation";
import { AUDIO_TRACK, CATALOG_TRACK, EVENTS_TRACK, formatCatalog } from "./catalog.ts";
import { encodeLegacy, type MediaFrame } from "./container.ts";
import type { MoqBroadcast, MoqOutgoingGroup, MoqOutgoingTrack } from "./net.ts";

/** Events of one group: a player that comes late has those of the newest one. `@moq/net` keeps up to 1,024. */
const MAX_GROUP_EVENTS = 256;
const MAX_GROUP_BYTES = 256 * 1024;
const CATALOG_PRIORITY = 100;
/** Events explain what is heard: before it, and behind nothing but the catalog. */
const EVENTS_PRIORITY = 90;
const AUDIO_PRIORITY = 80;
const MICROS_PER_MS = 1000;

/** The Realtime events of a call, and those of them that whoever comes later still gets. */
export class EventLog {
  readonly #startedAt: Milli;
  readonly #recent: { readonly payload: Uint8Array; readonly micros: number }[] = [];
  #bytes = 0;

  constructor(now: Milli) {
    this.#startedAt = now;
  }

  /** The events of the group under way. */
  get recent(): readonly { readonly payload: Uint8Array; readonly micros: number }[] {
    return this.#recent;
  }

  /** One more event, told to all. */
  append(now: Milli, json: string, agents: readonly AgentBroadcast[]): void {
    const payload = new TextEncoder().encode(json);
    const event = { payload, micros: Math.round((now - this.#startedAt) * MICROS_PER_MS) };
    const isFull = this.#recent.length >= MAX_GROUP_EVENTS || this.#bytes + payload.length > MAX_GROUP_BYTES;
    if (isFull) {
      this.#recent.length = 0;
      this.#bytes = 0;
    }
    this.#recent.push(event);
    this.#bytes += payload.length;
    for (const agent of agents) agent.tell(event, isFull);
  }
}

/** The agent's broadcast to one session. */
export class AgentBroadcast {
  readonly #broadcast: MoqBroadcast;
  readonly #audio: MoqOutgoingTrack;
  readonly #events: MoqOutgoingTrack;
  #group: MoqOutgoingGroup;
  #isOver = false;

  constructor(broadcast: MoqBroadcast, log: EventLog) {
    this.#broadcast = broadcast;
    const catalog = broadcast.createTrack(CATALOG_TRACK, CATALOG_PRIORITY).appendGroup();
    catalog.writeFrame(new TextEncoder().encode(formatCatalog()), 0);
    catalog.close();
    this.#audio = broadcast.createTrack(AUDIO_TRACK, AUDIO_PRIORITY);
    this.#events = broadcast.createTrack(EVENTS_TRACK, EVENTS_PRIORITY);
    this.#group = this.#events.appendGroup();
    for (const { payload, micros } of log.recent) this.#group.writeFrame(payload, micros);
  }

  /** One packet of speech: a group of its own, so that none waits for another that was lost. */
  speak(frame: MediaFrame): void {
    this.#write(() => {
      const group = this.#audio.appendGroup();
      group.writeFrame(encodeLegacy(frame), frame.micros);
      group.close();
    });
  }

  /** One event; `anew`: the first of a group. */
  tell({ payload, micros }: { readonly payload: Uint8Array; readonly micros: number }, anew: boolean): void {
    this.#write(() => {
      if (anew) {
        this.#group.close();
        this.#group = this.#events.appendGroup();
      }
      this.#group.writeFrame(payload, micros);
    });
  }

  close(): void {
    this.#isOver = true;
    this.#broadcast.close();
  }

  /** `@moq/net` closes its broadcasts before it tells that the session is over, and throws at who writes to them. */
  #write(write: () => void): void {
    if (this.#isOver) return;
    try {
      write();
    } catch {
      this.#isOver = true;
    }
  }
}
