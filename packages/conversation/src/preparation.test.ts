/** Answers before their turn, speech held back for its lead, and where the timeline says that the time went. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { SessionPatch } from "@sluice/realtime";
import { Forecast } from "./forecast.ts";
import type { LinkCapabilities } from "./link.ts";
import { NEVER_MS, pauseMs } from "./preparation.ts";
import { Spending } from "./spending.ts";
import { clientPlayout, Scene, serverPlayout, tone } from "./testing.ts";

const timeline: SessionPatch = { sluice: { timeline: true } } as SessionPatch;

function scene(defaults: SessionPatch = timeline, options: { forecast?: Forecast; pipe?: LinkCapabilities } = {}) {
  const { pipe = serverPlayout, forecast } = options;
  return new Scene(pipe, defaults, true, [], { prepares: true, forecast });
}

const kinds = (one: Scene) =>
  one.commands.splice(0).flatMap(({ kind }) => (/prepare|respond/.test(kind) ? [kind] : []));

test("in a pause an answer is prepared, taken back when the caller goes on, and asked for when it is the end", () => {
  const talk = scene();
  talk.caller(1000, true);
  assert.deepEqual(kinds(talk), []);
  talk.caller(160, false);
  const [prepare] = talk.commands.filter(({ kind }) => kind === "prepare");
  assert(prepare?.kind === "prepare");
  assert.equal(prepare.request.items.at(-1)?.id, prepare.itemId);
  assert.ok(prepare.request.sinceSpeechMs! >= 96 && prepare.request.sinceSpeechMs! <= 128);
  assert.deepEqual(kinds(talk), ["prepare"]);
  talk.caller(400, true);
  assert.deepEqual(kinds(talk), ["unprepare"]);
  talk.caller(700, false);
  assert.deepEqual(kinds(talk), ["prepare", "respond"]);
});

test("ears whose words are waited for are told of a pause sooner, unless they decode as they listen, or too much was in vain", () => {
  const heard = (wordsMs: number, partialMs: number | undefined) => {
    const ears = new Forecast();
    for (let turn = 0; turn < 40; turn++) {
      ears.record(0, "sttFinal", wordsMs);
      if (partialMs !== undefined) ears.record(0, "partial", partialMs);
    }
    return ears;
  };
  const rich = new Spending();
  assert.equal(pauseMs(0, new Forecast(), rich), 96);
  assert.equal(pauseMs(0, heard(400, undefined), rich), 48);
  assert.equal(pauseMs(0, heard(400, NEVER_MS), rich), 48);
  assert.equal(pauseMs(0, heard(400, 200), rich), 96);
  assert.equal(pauseMs(0, heard(100, undefined), rich), 96);
  const poor = new Spending({ credit: 1 });
  poor.handleSpent(2);
  poor.handleMiss(2);
  assert.equal(pauseMs(0, heard(400, undefined), poor), 96);
});

test("each utterance asks anew after how much silence an answer is worth its price", () => {
  let wanted = 48;
  const talk = new Scene(serverPlayout, timeline, true, [], { prepares: true, pauseMs: () => wanted });
  const silences = () =>
    talk.commands.splice(0).flatMap((command) => (command.kind === "prepare" ? [command.request.sinceSpeechMs!] : []));
  talk.caller(1000, true);
  talk.caller(700, false);
  const { responseId } = talk;
  const [first] = silences();
  assert.ok(first! >= 48 && first! < 80, `${first}`);
  wanted = 96;
  talk.conversation.handleEngineEnded(talk.now, responseId);
  talk.caller(1000, true);
  talk.caller(700, false);
  const [second] = silences();
  assert.ok(second! >= 96 && second! < 128, `${second}`);
});

test("nothing is prepared where no answer comes by itself, or another is under way", () => {
  const turn_detection = { type: "server_vad", create_response: false } as const;
  const asked = scene({ audio: { input: { turn_detection } } } as SessionPatch);
  asked.caller(1000, true);
  asked.caller(700, false);
  assert.deepEqual(kinds(asked), []);
  const busy = scene({
    audio: { input: { turn_detection: { type: "server_vad", interrupt_response: false } } },
  } as SessionPatch);
  busy.client({ type: "response.create" });
  busy.caller(1000, true);
  busy.caller(200, false);
  assert.deepEqual(kinds(busy), ["respond"]);
});

test("what was prepared for audio that the client clears is void", () => {
  const talk = scene();
  talk.caller(1000, true);
  talk.caller(160, false);
  talk.client({ type: "input_audio_buffer.clear" });
  assert.deepEqual(kinds(talk), ["prepare", "unprepare"]);
});

/** A forecast of utterances one in twenty of which would have run dry by `ms`. */
function bursty(ms: number): Forecast {
  const forecast = new Forecast();
  for (let at = 0; at < 400; at++) {
    forecast.record(0, "lead", at % 20 === 0 ? ms : 0);
    forecast.record(0, "buffer", at % 20 === 0 ? ms + 400 : 300);
  }
  return forecast;
}

test("every wait of a turn is told under its own name, and they add up to it", () => {
  const talk = scene(timeline, { forecast: bursty(150) });
  talk.caller(1000, true);
  talk.caller(600, false);
  const id = talk.responseId;
  const reach = (ms: number, mark: "words" | "token" | "clause") => {
    talk.advance(ms);
    talk.conversation.handleEngine(talk.now, id, { kind: "reached", mark });
  };
  const toldAt = talk.now; // the turn was over up to 132 ms before
  reach(40, "words");
  reach(300, "token");
  reach(20, "clause");
  talk.advance(160);
  const pcm = tone(100);
  talk.conversation.handleEngine(talk.now, id, { kind: "audio", pcm });
  talk.advance(140);
  assert.equal(talk.commands.filter(({ kind }) => kind === "play").length, 0);
  talk.advance(9);
  talk.advance(10);
  const play = talk.commands.find(({ kind }) => kind === "play");
  assert(play?.kind === "play");
  const { utterance } = play;
  talk.advance(7);
  talk.conversation.handleSent(talk.now, utterance, 20, 1000);
  talk.advance(0);
  talk.advance(700); // the client has its say for so long
  const turn = talk.take().find((event) => event.type === "sluice.turn");
  assert(turn?.type === "sluice.turn");
  const told = Object.fromEntries(turn.stages.map(({ name, ms }) => [name, Math.round(ms)]));
  assert.deepEqual(Object.keys(told), [
    "silence",
    "endpointing",
    "recognition",
    "model",
    "clause",
    "voice",
    "lead",
    "egress",
  ]);
  assert.deepEqual([told.model, told.clause, told.voice], [300, 20, 160]);
  assert.ok(Math.abs(told.lead! - 150) <= 4, `${told.lead}`); // as well as a sketch knows it
  assert.ok(Math.abs(told.lead! + told.egress! - 166) <= 1, JSON.stringify(told));
  assert.ok(told.recognition! >= 40 && told.recognition! <= 40 + 600 - 468, `${told.recognition} from ${toldAt}`);
  const sum = turn.stages.reduce((total, { ms }) => total + ms, 0);
  assert.ok(Math.abs(sum - turn.total_ms) < 1);
});

test("with engines that take no time, the silence asked for is all that is waited for", () => {
  const talk = scene();
  talk.caller(1000, true);
  talk.caller(480, false);
  for (let ms = 0; ms < 60 && !talk.commands.some(({ kind }) => kind === "respond"); ms++) talk.advance(1);
  const id = talk.responseId;
  const committedAt = talk.now;
  for (const mark of ["words", "token", "clause"] as const) {
    talk.conversation.handleEngine(talk.now, id, { kind: "reached", mark });
  }
  const utterance = talk.speak(400, "well");
  assert.equal(talk.commands.filter(({ kind }) => kind === "play").length, 1, "played at once");
  talk.send(utterance, 40);
  talk.advance(700);
  const turn = talk.take().find((event) => event.type === "sluice.turn");
  assert(turn?.type === "sluice.turn");
  const others = turn.stages.filter(({ name }) => name !== "silence" && name !== "endpointing");
  assert.ok(
    others.every(({ ms }) => ms <= 20),
    JSON.stringify(turn.stages),
  ); // the scene's own steps
  assert.ok(turn.total_ms <= 500 + 32 + 20, `${turn.total_ms} of ${committedAt}`);
});

test("a client that holds the speech is told its lead, and gets the speech at once", () => {
  const talk = scene(timeline, { forecast: bursty(150), pipe: clientPlayout });
  talk.caller(1000, true);
  talk.caller(600, false);
  const utterance = talk.speak(100, "well");
  assert.equal(talk.commands.filter(({ kind }) => kind === "play").length, 1);
  talk.conversation.handleSent(talk.now, utterance, 100, undefined);
  talk.advance(0);
  talk.finish();
  const started = talk.take().find((event) => event.type === "sluice.utterance.started");
  assert(started?.type === "sluice.utterance.started");
  assert.ok(Math.abs(started.lead_ms - 150) <= 4, `${started.lead_ms}`);
});

test("speech that is held back is played when the answer is complete, and dropped when it is cancelled", () => {
  for (const complete of [true, false]) {
    const talk = scene(timeline, { forecast: bursty(500) });
    talk.caller(1000, true);
    talk.caller(600, false);
    talk.conversation.handleEngine(talk.now, talk.responseId, { kind: "audio", pcm: tone(100) });
    if (complete) talk.finish();
    else talk.client({ type: "response.cancel" });
    assert.equal(talk.commands.filter(({ kind }) => kind === "play").length, complete ? 1 : 0);
    talk.advance(1000);
    assert.equal(talk.commands.filter(({ kind }) => kind === "play").length, complete ? 1 : 0);
  }
});

test("an acknowledgement is the first sound, is named, and is no part of what the agent says", () => {
  const talk = scene();
  talk.caller(1000, true);
  talk.caller(600, false);
  const id = talk.responseId;
  talk.conversation.handleEngine(talk.now, id, { kind: "acknowledgement", pcm: tone(600) });
  talk.advance(0);
  talk.caller(20, false);
  const play = talk.commands.find(({ kind }) => kind === "play");
  assert(play?.kind === "play");
  talk.send(play.utterance, 400);
  assert.ok(!talk.take().some((event) => event.type === "sluice.turn"), "told once the answer is there");
  talk.speak(1000, "It is fine.");
  talk.send(play.utterance, 600, 400);
  const events = talk.take();
  const turn = events.find((event) => event.type === "sluice.turn");
  assert(turn?.type === "sluice.turn");
  assert.ok(turn.acknowledged_ms! >= 400 && turn.acknowledged_ms! <= 440, `${turn.acknowledged_ms}`);
  talk.finish();
  const done = talk.take().find((event) => event.type === "response.output_audio_transcript.done");
  assert(done?.type === "response.output_audio_transcript.done");
  assert.equal(done.transcript, "It is fine.");
});
