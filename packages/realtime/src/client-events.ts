/** Every event that a client may send: the GA Realtime API's eleven, and Sluice's own. */
import { z } from "zod";
import { newItem } from "./item.ts";
import { responseOptions } from "./response.ts";
import { sessionPatch } from "./session-patch.ts";

// Clients echo what they like in event_id; it comes back in an error, so it is bounded.
const eventId = { event_id: z.string().max(512).exactOptional() };
const itemId = z.string().min(1).max(256);
const serverMs = z.number();

/** The parser of each client event, by its `type`. */
export const clientEvents = {
  "session.update": z.object({ type: z.literal("session.update"), ...eventId, session: sessionPatch }),
  "input_audio_buffer.append": z.object({
    type: z.literal("input_audio_buffer.append"),
    ...eventId,
    /** Base64, at most 15 MiB of it, in the session's input format. */
    audio: z.string().max(15 * 1024 * 1024),
  }),
  "input_audio_buffer.commit": z.object({ type: z.literal("input_audio_buffer.commit"), ...eventId }),
  "input_audio_buffer.clear": z.object({ type: z.literal("input_audio_buffer.clear"), ...eventId }),
  "conversation.item.create": z.object({
    type: z.literal("conversation.item.create"),
    ...eventId,
    item: newItem,
    /** `root`: first in the conversation; absent: last. */
    previous_item_id: itemId.nullish().transform((id) => id ?? undefined),
  }),
  "conversation.item.truncate": z.object({
    type: z.literal("conversation.item.truncate"),
    ...eventId,
    item_id: itemId,
    content_index: z.int().min(0).max(1024).default(0),
    /** What was heard of the item's audio, ms. */
    audio_end_ms: z.number().min(0).max(86_400_000),
  }),
  "conversation.item.retrieve": z.object({
    type: z.literal("conversation.item.retrieve"),
    ...eventId,
    item_id: itemId,
  }),
  "conversation.item.delete": z.object({ type: z.literal("conversation.item.delete"), ...eventId, item_id: itemId }),
  "response.create": z.object({
    type: z.literal("response.create"),
    ...eventId,
    response: responseOptions.nullish().transform((options) => options ?? undefined),
  }),
  "response.cancel": z.object({
    type: z.literal("response.cancel"),
    ...eventId,
    response_id: itemId.nullish().transform((id) => id ?? undefined),
  }),
  "output_audio_buffer.clear": z.object({ type: z.literal("output_audio_buffer.clear"), ...eventId }),
  /** Asks for the server's clock; answered at once. */
  "sluice.clock": z.object({ type: z.literal("sluice.clock"), ...eventId, client_ms: z.number() }),
  /** The caller's last voiced sample left the mouth at `ended_ms`, server clock. */
  "sluice.speech.report": z.object({ type: z.literal("sluice.speech.report"), ...eventId, ended_ms: serverMs }),
  /** The item was first heard at `started_ms`, server clock; by `at_ms`, `position_ms` of it were heard. */
  "sluice.playout.report": z.object({
    type: z.literal("sluice.playout.report"),
    ...eventId,
    item_id: itemId,
    started_ms: serverMs,
    position_ms: z.number().min(0).max(86_400_000),
    at_ms: serverMs,
  }),
};

/** The `type` of a client event. */
export type ClientEventType = keyof typeof clientEvents;

/** A client event of one type, or of any. */
export type ClientEvent<T extends ClientEventType = ClientEventType> = T extends ClientEventType
  ? z.output<(typeof clientEvents)[T]>
  : never;

/** A client event as a client may write it, before defaults. */
export type ClientEventInput<T extends ClientEventType = ClientEventType> = T extends ClientEventType
  ? z.input<(typeof clientEvents)[T]>
  : never;
