/**
 * A call's snapshot as bytes, and back. A record is sealed by the fleet, and is checked all the same as if a client had sent
 * it: what is not plain sense is refused as a whole. Pure.
 */
import {
  type CallerAudio,
  type ConversationSnapshot,
  durationMs,
  type Milli,
  type SavedItem,
  type SavedSpeech,
} from "@sluice/conversation";
import {
  createSession,
  decodeBase64,
  encodeBase64,
  type Item,
  newItem,
  parseSession,
  type Session,
} from "@sluice/realtime";
import { z } from "zod";
import type { LinkSnapshot } from "./resumable-link.ts";
import { MAX_RECORD_SIZE } from "./seal.ts";

/** What a transceiver needs to take a call over. */
export interface CallSnapshot {
  /** Unix milliseconds after which nobody may go on with it. */
  readonly expiresAt: number;
  /** `rtc_…` or `sess_…`: the call keeps its name. */
  readonly callId: string;
  readonly conversation: ConversationSnapshot;
  readonly link: LinkSnapshot;
}

/** What became of bytes that were to be a snapshot. */
export type SnapshotReading =
  | { readonly ok: true; readonly snapshot: CallSnapshot }
  | { readonly ok: false; readonly reason: "malformed" | "expired" };

const MAX_ITEMS = 4096;
const LONGEST_MS = 24 * 3_600_000;

const id = z.string().regex(/^[\w-]{1,256}$/);
const ms = z.number().min(0).max(LONGEST_MS);
const count = z.int().min(0);
const speech = z.object({
  pieces: z.array(z.object({ text: z.string(), startMs: ms })).max(65_536),
  endMs: ms.exactOptional(),
  audioMs: ms,
  generatedMs: ms.exactOptional(),
});
const saved = z.object({
  item: z.looseObject({ id: z.string().min(1).max(256), status: z.enum(["completed", "incomplete"]) }),
  caller: z.object({ pcm: z.string(), voicedStartMs: ms, voicedEndMs: ms }).exactOptional(),
  agent: speech.exactOptional(),
  callId: z.string().max(256).exactOptional(),
});
const utterance = z.object({
  responseId: id,
  itemId: z.string().min(1).max(256),
  outputIndex: z.int().min(0).max(1024),
  contentIndex: z.int().min(0).max(1024),
});
const record = z.object({
  expiresAt: z.number(),
  callId: id,
  conversation: z.object({
    conversationId: id,
    session: z.looseObject({ id, model: z.string().max(256), expires_at: count }),
    modelLocked: z.boolean(),
    remainingMs: z.number().max(LONGEST_MS),
    hasSpoken: z.boolean(),
    items: z.array(saved).max(MAX_ITEMS),
    responseId: id.exactOptional(),
    unanswered: z.boolean(),
    sounding: z.array(z.object({ utterance, generatedMs: ms, heardMs: ms, whole: z.boolean() })).max(64),
    audioFromMs: ms,
  }),
  link: z.object({
    received: count,
    acknowledged: count,
    events: z.array(z.string()).max(2000),
    audioFromMs: ms.nullable(),
  }),
});

/** The snapshot as bytes; `undefined` when it is too long to be kept. */
export function encodeSnapshot(snapshot: CallSnapshot): Uint8Array | undefined {
  const items = snapshot.conversation.items.map(({ caller, ...rest }) => ({
    ...rest,
    ...(caller && { caller: { ...caller, pcm: encodePcm(caller.pcm) } }),
  }));
  const json = JSON.stringify({ ...snapshot, conversation: { ...snapshot.conversation, items } });
  const bytes = new TextEncoder().encode(json);
  return bytes.length > MAX_RECORD_SIZE - 1024 ? undefined : bytes;
}

/** The snapshot of such bytes. `now`: Unix milliseconds. */
export function decodeSnapshot(now: number, bytes: Uint8Array): SnapshotReading {
  const malformed = { ok: false, reason: "malformed" } as const;
  if (bytes.length > MAX_RECORD_SIZE) return malformed;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    return malformed;
  }
  const parsed = record.safeParse(value);
  if (!parsed.success) return malformed;
  const { expiresAt, callId, link, conversation } = parsed.data;
  if (now > expiresAt || conversation.remainingMs <= 0) return { ok: false, reason: "expired" };
  const session = readSession(conversation.session);
  const items = conversation.items.map(readItem);
  if (!session || !items.every((item) => item !== undefined)) return malformed;
  const snapshot = { expiresAt, callId, link, conversation: { ...conversation, session, items } };
  return { ok: true, snapshot };
}

function readSession(value: { readonly id: string; readonly model: string; readonly expires_at: number }) {
  const parsed = parseSession(value);
  if (!parsed.ok) return undefined;
  const session: Session = createSession({
    id: value.id,
    model: value.model,
    expiresAt: value.expires_at,
    defaults: parsed.session,
  });
  return session;
}

function readItem({ item: raw, caller, agent, callId }: z.output<typeof saved>): SavedItem | undefined {
  const parsed = newItem.safeParse(raw);
  if (!parsed.success) return undefined;
  const item = { ...parsed.data, id: raw.id, object: "realtime.item", status: raw.status } as Item;
  const audio = caller && readCaller(caller);
  if (caller && !audio) return undefined;
  return {
    item,
    ...(audio && { caller: audio }),
    ...(agent && { agent: agent satisfies SavedSpeech }),
    ...(callId !== undefined && { callId }),
  };
}

function readCaller({ pcm, voicedStartMs, voicedEndMs }: { pcm: string; voicedStartMs: Milli; voicedEndMs: Milli }) {
  const bytes = decodeBase64(pcm);
  if (!bytes || bytes.length % 2 !== 0) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const samples = Int16Array.from({ length: bytes.length >> 1 }, (_, at) => view.getInt16(at * 2, true));
  if (voicedEndMs > durationMs(samples) + 1) return undefined;
  return { pcm: samples, voicedStartMs, voicedEndMs } satisfies CallerAudio;
}

function encodePcm(pcm: Int16Array): string {
  const bytes = new Uint8Array(pcm.length * 2);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < pcm.length; at++) view.setInt16(at * 2, pcm[at]!, true);
  return encodeBase64(bytes);
}
