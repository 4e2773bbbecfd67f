import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { type ConversationSnapshot, SAMPLES_PER_MS } from "@sluice/conversation";
import { createSession } from "@sluice/realtime";
import { createKeyRing, generateKey } from "@sluice/routing";
import type { ConversationStore, Keeping } from "../resumption/conversation-store.ts";
import { MAX_RECORD_SIZE } from "../resumption/seal.ts";
import { type CallSnapshot, decodeSnapshot, encodeSnapshot } from "../resumption/snapshot-format.ts";
import { Keeper } from "./keeper.ts";
import { Takeover } from "./takeover.ts";

const key = generateKey(randomBytes, 0);
const fleet = createKeyRing([key]);

/** A store in memory, with the meaning of Redis'. */
function makeStore(records = new Map<string, Uint8Array | "taken">()) {
  const store: ConversationStore = {
    isUp: true,
    async put(name, record): Promise<Keeping> {
      if (records.get(name) === "taken") return "taken";
      records.set(name, record);
      return "kept";
    },
    has: async (name) => records.get(name) instanceof Uint8Array,
    async take(name) {
      const record = records.get(name);
      if (!(record instanceof Uint8Array)) return undefined;
      records.set(name, "taken");
      return record;
    },
    drop: (name) => void records.delete(name),
  };
  return { store, records };
}

function makeSnapshot(changes: Partial<ConversationSnapshot> = {}): CallSnapshot {
  const session = createSession({
    id: "sess_1",
    model: "m",
    expiresAt: 2_000_000_000,
    defaults: {
      instructions: "Be kind.",
      tools: [{ type: "mcp", server_label: "s", server_url: "https://tools.example/mcp", authorization: "secret" }],
      sluice: { timeline: true, resume: true },
      audio: { input: { turn_detection: { type: "semantic_vad" }, transcription: { model: "w", language: "de" } } },
    },
  });
  const pcm = new Int16Array(100 * SAMPLES_PER_MS).map((_, at) => at - 1000);
  return {
    expiresAt: Date.now() + 30_000,
    callId: "rtc_1",
    conversation: {
      conversationId: "conv_1",
      session,
      modelLocked: false,
      remainingMs: 1000,
      hasSpoken: true,
      items: [
        {
          item: {
            id: "item_1",
            object: "realtime.item",
            type: "message",
            role: "user",
            status: "completed",
            content: [{ type: "input_audio", transcript: null }],
          },
          caller: { pcm, voicedStartMs: 10, voicedEndMs: 90 },
        },
        {
          item: {
            id: "item_2",
            object: "realtime.item",
            type: "message",
            role: "assistant",
            status: "incomplete",
            content: [{ type: "output_audio", transcript: "Hello there." }],
          },
          agent: { pieces: [{ text: "Hello there.", startMs: 0 }], audioMs: 800 },
        },
      ],
      responseId: "resp_1",
      unanswered: false,
      sounding: [
        {
          utterance: { responseId: "resp_1", itemId: "item_2", outputIndex: 0, contentIndex: 0 },
          generatedMs: 800,
          heardMs: 300,
          whole: false,
        },
      ],
      audioFromMs: 1234,
      ...changes,
    },
    link: { received: 3, acknowledged: 16, events: ['{"type":"x"}'], audioFromMs: 1234 },
  };
}

async function keep(takeover: Takeover, snapshot: CallSnapshot): Promise<string> {
  const token = takeover.seal.mintToken();
  await takeover.store!.put(takeover.seal.nameOf(token), takeover.seal.seal(token, encodeSnapshot(snapshot)!));
  return token;
}

test("a snapshot is what it was, keys of tool servers and the caller's voice included", () => {
  const snapshot = makeSnapshot();
  const reading = decodeSnapshot(Date.now(), encodeSnapshot(snapshot)!);
  assert.ok(reading.ok);
  assert.deepEqual(
    reading.snapshot,
    JSON.parse(JSON.stringify(snapshot), (k, v) => (k === "pcm" ? snapshot.conversation.items[0]?.caller?.pcm : v)),
  );
});

test("of two transceivers that want a conversation one gets it, and its former owner keeps it no longer", async () => {
  const { store } = makeStore();
  const [owner, one, other] = [1, 2, 3].map(() => new Takeover(fleet, store)) as [Takeover, Takeover, Takeover];
  const token = owner.seal.mintToken();
  let lost = 0;
  const keeper = new Keeper({
    store,
    seal: owner.seal,
    read: () => makeSnapshot(),
    onKept: (received) => assert.equal(received, 3),
    onTaken: () => lost++,
    onTooLong: () => assert.fail(),
    onError: (error) => assert.fail(String(error)),
    renewMs: 10_000,
  });
  keeper.use(token);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(await one.find(token), true);
  const taken = await Promise.all([one.take(token), other.take(token)]);
  assert.equal(taken.filter((snapshot) => snapshot !== undefined).length, 1);
  assert.deepEqual([one.counters.gone + other.counters.gone, await other.find(token)], [1, false]);
  keeper.touch(true);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(lost, 1);
  keeper.close();
});

test("what Redis makes up is refused, and counted", async () => {
  const { store, records } = makeStore();
  const takeover = new Takeover(fleet, store);
  const { seal, counters } = takeover;
  // Guesses are refused without asking it.
  assert.equal(await takeover.find(randomBytes(32).toString("base64url")), false);
  assert.equal(await takeover.find("x".repeat(5000)), false);
  assert.equal(counters.forgedTokens, 2);
  // Changed anywhere, or of another token, or of another fleet.
  const [token, others] = [await keep(takeover, makeSnapshot()), await keep(takeover, makeSnapshot())];
  const record = records.get(seal.nameOf(token)) as Uint8Array;
  for (const at of [0, 1, 5, 20, record.length - 1]) {
    const changed = Uint8Array.from(record);
    changed[at]! ^= 1;
    records.set(seal.nameOf(token), changed);
    assert.equal(await takeover.take(token), undefined, `octet ${at}`);
  }
  records.set(seal.nameOf(token), records.get(seal.nameOf(others))!);
  assert.equal(await takeover.take(token), undefined);
  records.set(seal.nameOf(token), new Uint8Array(MAX_RECORD_SIZE + 1));
  assert.equal(await takeover.take(token), undefined);
  assert.equal(counters.unsealed, 7);
  const strangers = new Takeover(createKeyRing([generateKey(randomBytes, 0)]), store);
  assert.equal(await strangers.find(token), false);
});

test("a sealed record is checked as if a client had sent it, and does not outlive its grace", async () => {
  const takeover = new Takeover(fleet, makeStore().store);
  const late = await keep(takeover, { ...makeSnapshot(), expiresAt: Date.now() - 1 });
  assert.equal(await takeover.take(late), undefined);
  const over = await keep(takeover, makeSnapshot({ remainingMs: 0 }));
  assert.equal(await takeover.take(over), undefined);
  assert.equal(takeover.counters.expired, 2);
  const wrong = await keep(takeover, makeSnapshot({ conversationId: "a b" }));
  assert.equal(await takeover.take(wrong), undefined);
  const strange = makeSnapshot();
  const items = [{ ...strange.conversation.items[0]!, item: { type: "weather" } as never }];
  assert.equal(await takeover.take(await keep(takeover, makeSnapshot({ items }))), undefined);
  assert.equal(takeover.counters.malformed, 2);
});

test("a key that was rotated out of minting still opens, one that was retired does not", async () => {
  const { store } = makeStore();
  const newer = generateKey(randomBytes, 1);
  const token = await keep(new Takeover(fleet, store), makeSnapshot());
  assert.equal(await new Takeover(createKeyRing([newer]), store).find(token), false);
  assert.ok(await new Takeover(createKeyRing([newer, key]), store).take(token));
});
