import assert from "node:assert/strict";
import { test } from "node:test";
import { clientPlayout, Scene, serverPlayout } from "./testing.ts";

const TURN = [
  "input_audio_buffer.speech_started",
  "input_audio_buffer.speech_stopped",
  "input_audio_buffer.committed",
  "conversation.item.added",
  "conversation.item.done",
  "response.created",
];
const SPEECH_OPENED = ["response.output_item.added", "conversation.item.added", "response.content_part.added"];
const SPEECH_CLOSED = [
  "response.output_audio.done",
  "response.output_audio_transcript.done",
  "response.content_part.done",
  "response.output_item.done",
  "conversation.item.done",
  "response.done",
];

/** A scene whose caller has spoken and whose agent has said two seconds. */
function answered(capabilities = serverPlayout, defaults = {}, listens = false) {
  const scene = new Scene(capabilities, defaults, listens);
  scene.caller(1000, true);
  scene.caller(600, false);
  const utterance = scene.speak(2000, "one two three four");
  scene.take();
  return { scene, utterance };
}

test("a session begins with session.created", () => {
  assert.deepEqual(new Scene(serverPlayout).takeTypes(), ["session.created"]);
});

test("a spoken turn sends the events of a voice turn in the protocol's order", () => {
  const scene = new Scene(clientPlayout);
  scene.take();
  scene.caller(1000, true);
  scene.caller(600, false);
  assert.deepEqual(scene.takeTypes(), TURN);
  scene.speak(400, "hello");
  assert.deepEqual(scene.takeTypes(), [...SPEECH_OPENED, "response.output_audio_transcript.delta"]);
  scene.finish();
  assert.deepEqual(scene.takeTypes(), SPEECH_CLOSED);
});

test("the caller's item keeps the id that speech_started announced, and names its true predecessor", () => {
  const scene = new Scene(clientPlayout);
  scene.client({ type: "conversation.item.create", item: { id: "first", type: "message", role: "user", content: [] } });
  scene.take();
  scene.caller(1000, true);
  scene.caller(600, false);
  const [started, stopped, committed, added, done] = scene.take();
  assert(started?.type === "input_audio_buffer.speech_started");
  assert(stopped?.type === "input_audio_buffer.speech_stopped");
  assert(committed?.type === "input_audio_buffer.committed");
  assert(added?.type === "conversation.item.added" && done?.type === "conversation.item.done");
  const ids = [stopped.item_id, committed.item_id, added.item.id, done.item.id];
  assert.deepEqual(
    ids,
    ids.map(() => started.item_id),
  );
  assert.deepEqual([committed.previous_item_id, added.previous_item_id], ["first", "first"]);
});

test("speech_started names the start of what the model gets, and the engine gets the voice inside its bounds", () => {
  const scene = new Scene(serverPlayout);
  scene.caller(960, false);
  scene.take();
  scene.caller(800, true);
  scene.caller(600, false);
  const [started, stopped] = scene.take();
  assert(started?.type === "input_audio_buffer.speech_started");
  assert.equal(started.audio_start_ms, 960 - 300);
  assert(stopped?.type === "input_audio_buffer.speech_stopped");
  assert.ok(Math.abs(stopped.audio_end_ms - (960 + 800 + 500)) <= 32);
  const asked = scene.commands.findLast((command) => command.kind === "respond");
  const item = asked?.request.items.at(-1);
  assert(item?.role === "user" && item.parts[0]?.kind === "audio");
  const { pcm, voicedStartMs, voicedEndMs } = item.parts[0];
  assert.equal(voicedStartMs, 300);
  assert.ok(Math.abs(voicedEndMs - 1100) <= 32);
  assert.ok(pcm && pcm.length / 24 >= voicedEndMs);
});

test("on a pipe that we play, the buffer's start and its end are told, and no audio rides in events", () => {
  const { scene, utterance } = answered();
  scene.finish();
  scene.take();
  scene.send(utterance, 2000);
  assert.deepEqual(scene.takeTypes(), ["output_audio_buffer.started"]);
  scene.ended(utterance);
  assert.deepEqual(scene.takeTypes(), ["output_audio_buffer.stopped"]);
});

test("speech during a response cancels it, empties the pipe, and cuts the item where the ear was", () => {
  const { scene, utterance } = answered();
  scene.send(utterance, 1000);
  scene.take();
  scene.caller(100, true);
  assert.deepEqual(scene.takeTypes(), [
    "input_audio_buffer.speech_started",
    ...SPEECH_CLOSED,
    "output_audio_buffer.cleared",
    "conversation.item.truncated",
  ]);
  assert(scene.commands.some((command) => command.kind === "abort"));
  assert(scene.commands.some((command) => command.kind === "flush"));
});

test("an interruption tells how much was heard, and memory keeps the words that were", () => {
  const { scene, utterance } = answered();
  scene.finish();
  scene.send(utterance, 1000);
  scene.take();
  scene.caller(100, true);
  const truncated = scene.take().find((event) => event.type === "conversation.item.truncated");
  assert(truncated?.type === "conversation.item.truncated");
  assert.ok(truncated.audio_end_ms >= 1000 && truncated.audio_end_ms <= 1100, `${truncated.audio_end_ms}`);
  scene.client({ type: "conversation.item.retrieve", item_id: utterance.itemId });
  const [retrieved] = scene.take();
  assert(retrieved?.type === "conversation.item.retrieved" && retrieved.item.type === "message");
  assert.deepEqual(retrieved.item.content, [{ type: "output_audio", transcript: "one two three" }]);
});

test("an interruption before the first packet clears nothing that was never started", () => {
  const { scene } = answered();
  scene.caller(100, true);
  const types = scene.takeTypes();
  assert(!types.includes("output_audio_buffer.cleared"));
  assert(types.includes("conversation.item.truncated"));
});

test("a cancelled response says why and lets nothing of its engine through", () => {
  const { scene, utterance } = answered(clientPlayout);
  scene.caller(100, true);
  const done = scene.take().find((event) => event.type === "response.done");
  assert(done?.type === "response.done");
  assert.equal(done.response.status, "cancelled");
  assert.deepEqual(done.response.status_details, { type: "cancelled", reason: "turn_detected" });
  scene.conversation.handleEngine(scene.now, utterance.responseId, { kind: "transcript", delta: "late" });
  scene.conversation.handleEngineEnded(scene.now, utterance.responseId);
  assert.equal(scene.conversation.nextCommand(), undefined);
});

test("without interrupt_response the agent speaks on, and the turn is answered after it", () => {
  const defaults = { audio: { input: { turn_detection: { type: "server_vad" as const, interrupt_response: false } } } };
  const { scene } = answered(serverPlayout, defaults);
  scene.caller(600, true);
  scene.caller(600, false);
  assert.deepEqual(scene.takeTypes(), TURN.slice(0, -1));
  scene.finish();
  assert.deepEqual(scene.takeTypes(), [...SPEECH_CLOSED, "response.created"]);
});

test("with create_response false a turn ends in an item and no response", () => {
  const turn_detection = { type: "server_vad" as const, create_response: false };
  const scene = new Scene(serverPlayout, { audio: { input: { turn_detection } } });
  scene.take();
  scene.caller(1000, true);
  scene.caller(600, false);
  assert.deepEqual(scene.takeTypes(), TURN.slice(0, -1));
});

test("push to talk: nothing is detected, commit makes the item, response.create the response", () => {
  const scene = new Scene(serverPlayout, { audio: { input: { turn_detection: null } } });
  scene.take();
  scene.client({ type: "input_audio_buffer.clear" });
  scene.caller(1000, true);
  scene.client({ type: "input_audio_buffer.commit" });
  scene.client({ type: "response.create" });
  assert.deepEqual(scene.takeTypes(), [
    "input_audio_buffer.cleared",
    "input_audio_buffer.committed",
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
  ]);
});

test("a commit of less than 100 ms is refused by its code and its event_id", () => {
  const scene = new Scene(serverPlayout, { audio: { input: { turn_detection: null } } });
  scene.take();
  scene.client({ type: "input_audio_buffer.commit", event_id: "mine" });
  const [refusal] = scene.take();
  assert(refusal?.type === "error");
  assert.equal(refusal.error.code, "input_audio_buffer_commit_empty");
  assert.equal(refusal.error.event_id, "mine");
});

test("a second response.create while one is active is refused, out of band it is not", () => {
  const { scene } = answered();
  scene.client({ type: "response.create", event_id: "again" });
  const [refusal] = scene.take();
  assert(refusal?.type === "error");
  assert.equal(refusal.error.code, "conversation_already_has_active_response");
  scene.client({ type: "response.create", response: { conversation: "none", metadata: { topic: "aside" } } });
  const [created] = scene.take();
  assert(created?.type === "response.created");
  assert.equal(created.response.conversation_id, null);
  assert.deepEqual(created.response.metadata, { topic: "aside" });
});

test("response.cancel with nothing to cancel keeps OpenAI's words", () => {
  const scene = new Scene(serverPlayout);
  scene.take();
  scene.client({ type: "response.cancel", event_id: "c1" });
  const [refusal] = scene.take();
  assert(refusal?.type === "error");
  assert.equal(refusal.error.code, "response_cancel_not_active");
  assert.match(refusal.error.message, /^Cancellation failed/);
});

test("a client's stop cancels the response and then the sound", () => {
  const { scene, utterance } = answered();
  scene.send(utterance, 200);
  scene.take();
  scene.client({ type: "response.cancel" });
  assert.deepEqual(scene.takeTypes(), SPEECH_CLOSED);
  scene.client({ type: "output_audio_buffer.clear" });
  assert.deepEqual(scene.takeTypes(), ["output_audio_buffer.cleared", "conversation.item.truncated"]);
});

test("output_audio_buffer.clear alone stops response and sound", () => {
  const { scene, utterance } = answered();
  scene.send(utterance, 200);
  scene.take();
  scene.client({ type: "output_audio_buffer.clear" });
  assert.deepEqual(scene.takeTypes(), [...SPEECH_CLOSED, "output_audio_buffer.cleared", "conversation.item.truncated"]);
});

test("a text turn is added, done, and answered in text when asked so", () => {
  const scene = new Scene(clientPlayout, { output_modalities: ["text"] });
  scene.take();
  const content = [{ type: "input_text", text: "hello" }];
  scene.client({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  scene.client({ type: "response.create" });
  scene.conversation.handleEngine(scene.now, scene.responseId, { kind: "text", delta: "hi" });
  scene.finish();
  assert.deepEqual(scene.takeTypes(), [
    "conversation.item.added",
    "conversation.item.done",
    "response.created",
    ...SPEECH_OPENED,
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
  ]);
});

test("a function call is in progress until its arguments are complete", () => {
  const scene = new Scene(clientPlayout);
  scene.client({ type: "response.create" });
  scene.take();
  const call = { kind: "toolCall", index: 0, callId: "call_x", name: "weather" } as const;
  scene.conversation.handleEngine(scene.now, scene.responseId, { ...call, delta: '{"a":' });
  scene.conversation.handleEngine(scene.now, scene.responseId, { ...call, delta: "1}" });
  scene.finish();
  const events = scene.take();
  assert.deepEqual(
    events.map((event) => event.type),
    [
      "response.output_item.added",
      "conversation.item.added",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.delta",
      "response.function_call_arguments.done",
      "response.output_item.done",
      "conversation.item.done",
      "response.done",
    ],
  );
  const statuses = events.flatMap((event) => ("item" in event ? [event.item.status] : []));
  assert.deepEqual(statuses, ["in_progress", "in_progress", "completed", "completed"]);
});

test("over a socket the client truncates, within what was generated, completed or not", () => {
  const { scene, utterance } = answered(clientPlayout);
  scene.finish();
  scene.take();
  const cut = { type: "conversation.item.truncate", item_id: utterance.itemId, content_index: 0 } as const;
  scene.client({ ...cut, audio_end_ms: 5000, event_id: "long" });
  const [refusal] = scene.take();
  assert(refusal?.type === "error");
  assert.match(refusal.error.message, /already shorter than 5000ms/);
  scene.client({ ...cut, audio_end_ms: 700 });
  assert.deepEqual(scene.takeTypes(), ["conversation.item.truncated"]);
});

test("an engine that fails ends the response as failed, and the session goes on", () => {
  const scene = new Scene(serverPlayout);
  scene.client({ type: "response.create" });
  scene.take();
  scene.finish({ code: "engine_failed", message: "the model is gone" });
  const [done] = scene.take();
  assert(done?.type === "response.done");
  assert.equal(done.response.status, "failed");
  assert.ok(done.response.usage);
  scene.client({ type: "response.create" });
  assert.deepEqual(scene.takeTypes(), ["response.created"]);
});

test("sluice events are sent only to a client that asked for them", () => {
  const silent = answered();
  silent.scene.send(silent.utterance, 400);
  assert(!silent.scene.takeTypes().some((type) => type.startsWith("sluice.")));
  const asked = answered(serverPlayout, { sluice: { timeline: true } });
  asked.scene.send(asked.utterance, 400);
  assert(asked.scene.takeTypes().includes("sluice.utterance.started"));
});

test("a turn's stages add up to its total, by the egress clock when the client reports nothing", () => {
  const { scene, utterance } = answered(serverPlayout, { sluice: { timeline: true } });
  scene.send(utterance, 1000);
  const turn = scene.take().find((event) => event.type === "sluice.turn");
  assert(turn?.type === "sluice.turn");
  assert.equal(turn.clock, "egress");
  assert.deepEqual(
    turn.stages.map((stage) => stage.name),
    ["silence", "endpointing", "engine", "egress"],
  );
  const sum = turn.stages.reduce((total, stage) => total + stage.ms, 0);
  assert.ok(Math.abs(sum - turn.total_ms) < 1);
  const silence = turn.stages[0]?.ms ?? 0; // a packet's arrival lags its samples by up to a frame
  assert.ok(silence <= 500 && silence > 468, `${silence}`);
});

test("a turn is measured at mouth and ear when the client reports both", () => {
  const scene = new Scene(serverPlayout, { sluice: { timeline: true } });
  scene.caller(1000, true);
  const stoppedAt = scene.now;
  scene.client({ type: "sluice.speech.report", ended_ms: stoppedAt - 45 });
  scene.caller(600, false);
  const utterance = scene.speak(2000, "one");
  const sentAt = scene.now;
  scene.send(utterance, 60);
  scene.take();
  const report = { started_ms: sentAt + 50, position_ms: 10, at_ms: sentAt + 60 };
  scene.client({ type: "sluice.playout.report", item_id: utterance.itemId, ...report });
  const turn = scene.take().find((event) => event.type === "sluice.turn");
  assert(turn?.type === "sluice.turn");
  assert.equal(turn.clock, "client");
  assert.deepEqual(
    turn.stages.map((stage) => stage.name),
    ["capture", "silence", "endpointing", "engine", "egress", "playout"],
  );
  assert.ok(Math.abs(turn.total_ms - (sentAt + 50 - (stoppedAt - 45))) < 1);
  assert.equal(turn.stages.at(-1)?.ms, 50);
});

test("the engine learns when its answer began", () => {
  const { scene, utterance } = answered();
  scene.send(utterance, 40);
  const told = scene.commands.find((command) => command.kind === "began");
  assert(told?.kind === "began");
  assert.equal(told.began.clock, "egress");
  assert.ok((told.began.afterSpeechMs ?? 0) >= 500);
});

test("a session that reaches its end says so and closes", () => {
  const scene = new Scene(serverPlayout);
  scene.take();
  scene.advance(3_600_000);
  const [error] = scene.take();
  assert(error?.type === "error");
  assert.equal(error.error.code, "session_expired");
  assert.equal(scene.commands.at(-1)?.kind, "close");
  assert.equal(scene.conversation.pollTimeout(), undefined);
});

test("a hum while the agent speaks makes it softer for a moment and leaves no trace in the conversation", () => {
  const { scene, utterance } = answered(serverPlayout, { sluice: { timeline: true } });
  scene.finish();
  scene.send(utterance, 1000);
  scene.take();
  scene.caller(400, "hum");
  scene.caller(1000, false);
  const floor = scene.take().filter((event) => !["sluice.ledger", "output_audio_buffer.stopped"].includes(event.type));
  assert.deepEqual(
    floor.map((event) => event.type),
    ["sluice.floor"],
  );
  assert(floor[0]?.type === "sluice.floor" && floor[0].decision === "continue");
  const ducks = scene.commands.filter((command) => command.kind === "duck");
  assert.deepEqual(
    ducks.map(({ gain }) => gain),
    [0.25, 1],
  );
  assert(!scene.commands.some((command) => command.kind === "flush"));
});

test("a hum is void for whoever listens, and the sentence after it is a turn of its own", () => {
  const { scene } = answered(serverPlayout, {}, true);
  scene.caller(400, "hum");
  scene.caller(800, false);
  const hums = scene.commands.filter((command) => command.kind === "heard" && !command.complete);
  assert.equal(hums.length, 1);
  scene.take();
  scene.caller(800, true);
  const [started] = scene.take();
  assert(started?.type === "input_audio_buffer.speech_started");
  scene.caller(700, false);
  assert(scene.takeTypes().includes("response.created"));
});

test("what is said after a hum without a pause for breath interrupts, and begins where the words do", () => {
  const { scene, utterance } = answered();
  scene.send(utterance, 1100);
  scene.caller(256, "hum");
  scene.caller(192, false);
  scene.take();
  scene.caller(320, true);
  const [started, ...rest] = scene.take();
  assert(started?.type === "input_audio_buffer.speech_started");
  assert.ok(Math.abs(started.audio_start_ms - (1600 + 448 - 300)) <= 32, `${started.audio_start_ms}`);
  assert(rest.some((event) => event.type === "output_audio_buffer.cleared" || event.type === "response.done"));
});

test("a caller who goes on as soon as their turn was taken for over is heard whole", () => {
  for (const pause of [0, 20, 40, 100, 300]) {
    for (const interrupted of [false, true]) {
      const { scene, utterance } = answered();
      if (interrupted) {
        // This turn began by taking the floor: what was decided then does not hold for what comes after it.
        scene.send(utterance, 1100);
        scene.caller(600, true);
        scene.caller(500, false);
      }
      scene.caller(pause, false);
      scene.take();
      scene.caller(180, true);
      scene.caller(800, false);
      const types = scene.takeTypes();
      const name = `${pause} ms, ${interrupted}`;
      assert(types.includes("input_audio_buffer.speech_started"), name);
      assert(types.includes("input_audio_buffer.committed"), name);
      assert(types.includes("response.created"), name);
    }
  }
});

test("a short word is heard before the answer is, and while it has just begun", () => {
  for (const heardMs of [0, 200, 700]) {
    const { scene, utterance } = answered(serverPlayout, { sluice: { timeline: true } });
    scene.send(utterance, heardMs);
    scene.take();
    scene.caller(80, true);
    scene.caller(800, false);
    const floor = scene.events.filter((event) => event.type === "sluice.floor");
    assert.deepEqual(
      floor.map(({ decision }) => decision),
      ["stop"],
      `${heardMs}`,
    );
    assert(scene.takeTypes().includes("input_audio_buffer.committed"));
  }
});

test("a word that sounds like a hum, and what was hummed before a word, is part of a turn that goes on", () => {
  const { scene } = answered();
  scene.take();
  scene.caller(256, "hum");
  scene.caller(192, false);
  scene.caller(320, true);
  const [started] = scene.take();
  assert(started?.type === "input_audio_buffer.speech_started");
  assert.ok(started.audio_start_ms <= 1600, `${started.audio_start_ms}`); // where the hum began, or a little before
  for (const [text, type] of [
    ["two", "input_audio_buffer.speech_started"],
    ["mhm", undefined],
  ] as const) {
    const { scene: dark } = answered(serverPlayout, {}, true);
    dark.take();
    dark.caller(256, "hum");
    dark.caller(100, false);
    const hearing = dark.commands.findLast((command) => command.kind === "hear");
    assert(hearing);
    dark.heard(hearing.itemId, { kind: "partial", text, stable: false });
    assert.equal(dark.takeTypes()[0], type, text);
  }
});

test("over a socket, too, a hum is not announced while the answer must still be sounding", () => {
  const { scene } = answered(clientPlayout);
  const utterance = scene.commands.findLast((command) => command.kind === "play")!.utterance;
  scene.conversation.handleSent(scene.now, utterance, 2000, undefined);
  scene.finish();
  scene.ended(utterance);
  scene.take();
  scene.caller(400, "hum");
  scene.caller(200, false);
  assert.deepEqual(scene.takeTypes(), []);
  scene.caller(2000, false); // by then the client has played it all
  scene.client({ type: "session.update", session: { type: "realtime", sluice: { turn: { dismiss_noise: false } } } });
  scene.take();
  scene.caller(400, "hum");
  assert.deepEqual(scene.takeTypes(), ["input_audio_buffer.speech_started"]);
});

test("with a silent agent a hum is no turn: only sluice.floor tells of it, and a counter", () => {
  for (const interrupt_response of [true, false]) {
    const turn_detection = { type: "server_vad" as const, interrupt_response };
    const scene = new Scene(serverPlayout, { audio: { input: { turn_detection } }, sluice: { timeline: true } });
    scene.take();
    scene.caller(400, "hum");
    scene.caller(800, false);
    const [event, ...others] = scene.take();
    assert(event?.type === "sluice.floor" && others.length === 0);
    assert.deepEqual([event.decision, event.reason], ["dismiss", "hum"]);
    assert.ok(scene.commands.some((command) => command.kind === "decided" && command.decision.decision === "dismiss"));
    assert.ok(!scene.commands.some((command) => command.kind === "respond"));
    scene.caller(400, true); // what comes then is a turn as ever
    scene.caller(800, false);
    assert.ok(scene.takeTypes().includes("input_audio_buffer.committed"));
  }
});

const SPOKEN = ["speech_started", "speech_stopped", "committed"].map((type) => `input_audio_buffer.${type}`);

test("a hum in which a recogniser understands words is a turn, whenever it says so", () => {
  for (const text of ["", "yes"]) {
    const scene = new Scene(serverPlayout, { sluice: { timeline: true } }, true);
    scene.take();
    scene.caller(400, "hum");
    scene.caller(800, false);
    assert.deepEqual(scene.takeTypes(), []); // it has the last word
    const told = scene.commands.findLast((command) => command.kind === "heard");
    assert(told?.complete);
    scene.heard(told.itemId, { kind: "final", text });
    const types = scene.takeTypes();
    assert.deepEqual(types.slice(0, 3), text === "" ? ["sluice.floor"] : SPOKEN);
    assert.equal(
      scene.commands.some((command) => command.kind === "respond"),
      text !== "",
    );
  }
  const early = new Scene(serverPlayout, {}, true);
  early.caller(400, "hum");
  const hearing = early.commands.findLast((command) => command.kind === "hear");
  assert(hearing);
  early.take();
  early.heard(hearing.itemId, { kind: "partial", text: "Mhm", stable: false });
  assert.deepEqual(early.takeTypes(), SPOKEN.slice(0, 1));
});

test("a recogniser that fails, or says nothing for long, leaves it at what the sound was", () => {
  for (const fails of [true, false]) {
    const scene = new Scene(serverPlayout, { sluice: { timeline: true } }, true);
    scene.caller(400, "hum");
    scene.caller(800, false);
    scene.take();
    const told = scene.commands.findLast((command) => command.kind === "heard");
    assert(told);
    if (fails) scene.heard(told.itemId, { code: "cut", message: "The line is dead." });
    else scene.advance(2000);
    assert.deepEqual(scene.takeTypes(), ["sluice.floor"]);
    scene.heard(told.itemId, { kind: "final", text: "yes" });
    assert.deepEqual(scene.takeTypes(), []);
  }
});

test("what is spoken before the recogniser has had its word begins with what was doubted", () => {
  const scene = new Scene(serverPlayout, {}, true);
  scene.caller(400, "hum");
  scene.caller(800, false);
  scene.caller(600, true);
  scene.caller(800, false);
  const committed = scene.commands.findLast((command) => command.kind === "respond");
  const item = committed?.request.items.at(-1);
  assert(item?.role === "user" && item.parts[0]?.kind === "audio");
  assert.ok((item.parts[0].pcm?.length ?? 0) / 24 >= 400 + 800 + 600);
  assert.equal(scene.events.filter(({ type }) => type === "input_audio_buffer.committed").length, 1);
});

test("words that an engine hears in time stop the agent before their sound is judged", () => {
  const turn = { stop_after_ms: 1000, decide_by_ms: 1000 };
  const { scene } = answered(serverPlayout, { sluice: { timeline: true, turn } }, true);
  scene.caller(128, true);
  assert(!scene.takeTypes().includes("input_audio_buffer.speech_started"));
  const heard = scene.commands.findLast((command) => command.kind === "hear");
  assert(heard);
  scene.heard(heard.itemId, { kind: "partial", text: "wait", stable: false });
  const types = scene.takeTypes();
  assert(types.includes("input_audio_buffer.speech_started") && types.includes("sluice.floor"));
  assert(scene.commands.some((command) => command.kind === "flush"));
});

test("a turn detector is asked about each pause, and its word decides how long it is waited", () => {
  const turn_detection = { type: "semantic_vad" as const };
  const scene = new Scene(serverPlayout, { audio: { input: { turn_detection } } }, false, [], { detectsEnds: true });
  scene.caller(800, true);
  scene.caller(160, false);
  const asked = scene.commands.findLast((command) => command.kind === "judge");
  assert(asked);
  assert.ok(asked.input.audio.length / 24 >= 900);
  assert.equal(asked.input.transcript, undefined);
  scene.conversation.handleTurnEnd(scene.now, asked.itemId, 0.02); // not at all
  scene.caller(1500, false);
  assert(!scene.takeTypes().includes("input_audio_buffer.speech_stopped"));
  scene.conversation.handleTurnEnd(scene.now, asked.itemId, 0.99);
  scene.caller(40, false);
  assert(scene.takeTypes().includes("input_audio_buffer.speech_stopped"));
});
