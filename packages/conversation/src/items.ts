/** The conversation's items as its clients write them, ask for them and take them away, each told in the protocol's events. */
import {
  type AudioFormat,
  type CauseId,
  type ClientEvent,
  createDuplicateItem,
  createItem,
  deleteInvalidItem,
  type Item,
  invalidAudio,
  invalidRequest,
  previousItemNotFound,
  type RealtimeError,
  type ResponseOptions,
  retrieveInvalidItem,
  type Session,
  truncateInvalidItem,
  truncateNotAudio,
  truncateTooLong,
} from "@sluice/realtime";
import type { Milli } from "./audio.ts";
import type { ContextItem } from "./engines.ts";
import { giveAudio, takeAudio } from "./item-audio.ts";
import { type CallerAudio, type Memory, toContext } from "./memory.ts";
import type { IdPrefix, Outbox } from "./outbox.ts";

/** The items of one conversation; what was said is in its {@link Memory}. */
export class Items {
  readonly #memory: Memory;
  readonly #outbox: Outbox;
  readonly #createId: (prefix: IdPrefix) => string;

  constructor(memory: Memory, outbox: Outbox, createId: (prefix: IdPrefix) => string) {
    this.#memory = memory;
    this.#outbox = outbox;
    this.#createId = createId;
  }

  /** A whole item joins the conversation; `caller`: the speech behind it. */
  add(item: Item, previousId?: string, caller?: CallerAudio): void {
    const dropped = this.#memory.add(item, previousId, caller && { caller });
    for (const item_id of dropped) this.#outbox.send({ type: "conversation.item.deleted", item_id });
    const previous_item_id = this.#memory.previousId(item.id);
    this.#outbox.send({ type: "conversation.item.added", item, previous_item_id });
    this.#outbox.send({ type: "conversation.item.done", item, previous_item_id });
  }

  /** What a client wrote, as an item that may be added; `undefined`: it may not, and the client was told why. */
  read(
    { item: draft, previous_item_id: previousId, event_id: cause }: ClientEvent<"conversation.item.create">,
    format: AudioFormat,
  ): { readonly item: Item; readonly caller?: CallerAudio } | undefined {
    const taken = takeAudio(createItem(draft, this.#createId("item")), format);
    if (!taken) return this.#refuse(invalidAudio(cause));
    if (this.#memory.has(taken.item.id)) return this.#refuse(createDuplicateItem(taken.item.id, cause));
    if (previousId !== undefined && previousId !== "root" && !this.#memory.has(previousId)) {
      return this.#refuse(previousItemNotFound(previousId, cause));
    }
    return taken;
  }

  /** What a response is to be given instead of the conversation; `undefined` when some of it cannot be had. */
  resolve(
    input: NonNullable<ResponseOptions["input"]>,
    format: AudioFormat,
    cause: CauseId,
  ): readonly ContextItem[] | undefined {
    const items: ContextItem[] = [];
    for (const entry of input) {
      if (entry.type !== "item_reference") {
        const taken = takeAudio(createItem(entry, this.#createId("item")), format);
        if (!taken) return this.#refuse(invalidAudio(cause));
        items.push(...toContext(taken.item, { ...(taken.caller && { caller: taken.caller }) }));
        continue;
      }
      const referred = this.#memory.contextOf(entry.id);
      if (!referred) {
        const message = `Item with id '${entry.id}' not found.`;
        return this.#refuse(invalidRequest("invalid_value", message, "response.input", cause));
      }
      items.push(...referred);
    }
    return items;
  }

  /** Shows an item; its audio only in a `format`. */
  retrieve(
    { item_id: itemId, event_id: cause }: ClientEvent<"conversation.item.retrieve">,
    format: AudioFormat | undefined,
  ): void {
    const item = this.#memory.find(itemId);
    if (!item) return this.#refuse(retrieveInvalidItem(itemId, cause));
    const pcm = format && this.#memory.callerAudio(itemId)?.pcm;
    const shown = pcm ? giveAudio(item, pcm, format) : item;
    this.#outbox.send({ type: "conversation.item.retrieved", item: shown });
  }

  /** Answers whether there was such an item. */
  delete({ item_id, event_id: cause }: ClientEvent<"conversation.item.delete">): boolean {
    const known = this.#memory.delete(item_id);
    if (known) this.#outbox.send({ type: "conversation.item.deleted", item_id });
    else this.#refuse(deleteInvalidItem(item_id, cause));
    return known;
  }

  /** The client has stopped the agent's speech by itself, and says where. Answers whether that can be. */
  truncate(event: ClientEvent<"conversation.item.truncate">, session: Session): boolean {
    const { item_id: itemId, content_index: contentIndex, audio_end_ms: audioEndMs, event_id: cause } = event;
    const audio = this.#memory.agentAudio(itemId);
    if (!this.#memory.has(itemId)) this.#refuse(truncateInvalidItem(itemId, cause));
    else if (!audio || session.output_modalities[0] === "text") this.#refuse(truncateNotAudio(cause));
    else if (audioEndMs > Math.ceil(audio.audioMs)) this.#refuse(truncateTooLong(audio.audioMs, audioEndMs, cause));
    else {
      this.cut(itemId, contentIndex, audioEndMs);
      return true;
    }
    return false;
  }

  /** Memory of the agent's speech ends where the ear was. */
  cut(item_id: string, content_index: number, audio_end_ms: Milli): void {
    if (!this.#memory.has(item_id)) return;
    this.#memory.truncate(item_id, audio_end_ms);
    this.#outbox.send({ type: "conversation.item.truncated", item_id, content_index, audio_end_ms });
  }

  #refuse(error: RealtimeError): undefined {
    this.#outbox.fail(error);
  }
}
