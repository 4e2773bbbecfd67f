import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConnectOptions, connect } from "./connect.ts";
import type { Conversation } from "./conversation.ts";
import { ConversationModel } from "./conversation-model.ts";
import { Router } from "./router.ts";

/** A conversation that says what the test says. */
function makeConversation() {
  const router = new Router<Record<string, unknown>>();
  let closed = 0;
  const state = { connectionState: "connected", transcript: [], responding: false, muted: false, transport: undefined };
  const conversation = {
    ...state,
    on: (type: string, listener: (value: unknown) => void) => router.on(type, listener),
    close: () => closed++,
  };
  return {
    conversation: conversation as unknown as Conversation,
    say: (type: string, value: unknown, patch = {}) => {
      Object.assign(conversation, patch);
      router.emit(type, value);
    },
    closes: () => closed,
  };
}

/** A model whose `connect` ends as the test says. */
function begin() {
  const asked = Promise.withResolvers<Conversation>();
  let options: ConnectOptions | undefined;
  const by = ((given: ConnectOptions) => {
    options = given;
    given.signal?.addEventListener("abort", () => asked.reject(given.signal?.reason));
    return asked.promise;
  }) as typeof connect;
  const model = new ConversationModel(by);
  let changes = 0;
  model.subscribe(() => changes++);
  return { model, asked, options: () => options, changes: () => changes };
}

test("it shows a conversation from the click to its end", async () => {
  const { model, asked } = begin();
  const { conversation, say } = makeConversation();
  assert.equal(model.snapshot().connectionState, "idle");
  const started = model.start();
  assert.equal(model.snapshot().connectionState, "connecting");
  asked.resolve(conversation);
  assert.equal(await started, conversation);
  assert.equal(model.snapshot().connectionState, "connected");
  say("transcript", {}, { transcript: [{ id: "1", text: "hello" }] });
  say("response.created", {}, { responding: true });
  assert.deepEqual([model.snapshot().transcript.length, model.snapshot().responding], [1, true]);
  say("connectionState", { state: "reconnecting" }, { connectionState: "reconnecting" });
  assert.equal(model.snapshot().connectionState, "reconnecting");
  say("connectionState", { state: "closed", reason: new Error("why") });
  const { connectionState, error, transcript, responding } = model.snapshot();
  assert.deepEqual([connectionState, error?.message, transcript.length, responding], ["idle", "why", 1, false]);
  assert.equal(model.conversation, undefined);
});

test("a snapshot is the same object until something changes", async () => {
  const { model } = begin();
  assert.equal(model.snapshot(), model.snapshot());
});

test("what went wrong is shown, and nothing is thrown", async () => {
  const { model, asked } = begin();
  const started = model.start();
  asked.reject(new Error("no microphone"));
  assert.equal(await started, undefined);
  assert.deepEqual([model.snapshot().connectionState, model.snapshot().error?.message], ["idle", "no microphone"]);
});

test("an attempt that is given up leaves no error and no conversation", async () => {
  const { model, options } = begin();
  const started = model.start();
  model.stop();
  assert(options()?.signal?.aborted);
  assert.equal(await started, undefined);
  assert.deepEqual([model.snapshot().connectionState, model.snapshot().error], ["idle", undefined]);
});

test("stopping hangs up", async () => {
  const { model, asked } = begin();
  const { conversation, closes } = makeConversation();
  asked.resolve(conversation);
  await model.start();
  model.stop();
  assert.deepEqual([closes(), model.snapshot().connectionState], [1, "idle"]);
});
