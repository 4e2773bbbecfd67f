import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type ContextItem,
  type ContextPart,
  type LanguageModel,
  type LlmEvent,
  type LlmRequest,
  type Pcm,
  Pipeline,
  SAMPLES_PER_MS,
  type SpeechEvent,
  type SpeechRequest,
  type SpeechToSpeech,
  type SttEvent,
  type TextToSpeech,
} from "@sluice/conversation";
import { testSpeechToSpeech } from "../contract/index.ts";
import { leavesNothing } from "../contract/resources.ts";
import {
  createScriptedLlm,
  createScriptedStt,
  createScriptedTts,
  type ScriptedLlmOptions,
  type ScriptedSttOptions,
  type ScriptedTtsOptions,
} from "../scripted/engines.ts";
import { type CascadeOptions, createCascade } from "./cascade.ts";

const never = new AbortController().signal;
const second = Int16Array.from({ length: 1000 * SAMPLES_PER_MS }, (_, at) => Math.round(9000 * Math.sin(at / 9)));
const REPLY = "Good morning, dear caller. It is a fine day. Shall we go out? There is more to say than this.";

function cascade({
  llm,
  stt,
  tts,
  ...options
}: Partial<Omit<CascadeOptions, "llm" | "stt" | "tts">> & {
  llm?: Partial<ScriptedLlmOptions>;
  stt?: Partial<ScriptedSttOptions>;
  tts?: Partial<ScriptedTtsOptions>;
} = {}): SpeechToSpeech {
  return createCascade({
    stt: createScriptedStt({ first: 1, hear: () => "Hello?", ...stt }),
    llm: createScriptedLlm({ first: 1, reply: () => REPLY, ...llm }),
    tts: createScriptedTts({ first: 1, msPerCharacter: 20, ...tts }),
    fallbackTts: async () => undefined,
    ...options,
  });
}

testSpeechToSpeech(
  "cascade",
  async () => cascade(),
  async () => second,
);
testSpeechToSpeech(
  "cascade without speech recognition",
  async () => createCascade({ llm: createScriptedLlm({ first: 1 }), tts: createScriptedTts({ first: 1 }) }),
  async () => second,
);

test("cascade: what was said is told, answered, and the answer's words are those of the model", async () => {
  const asked: LlmRequest[] = [];
  const reply = (request: LlmRequest) => {
    asked.push(request);
    return REPLY;
  };
  const events = await respond(cascade({ llm: { reply } }), [speech("item_1")]);
  assert.deepEqual(events[0], { kind: "inputTranscript", itemId: "item_1", text: "Hello?" });
  assert.equal(transcriptOf(events), REPLY);
  assert.deepEqual(asked[0]!.items[0], { ...speech("item_1"), parts: [{ ...part(second), transcript: "Hello?" }] });
  assert.ok(events.some(({ kind }) => kind === "usage"));
});

test("cascade: words stand where they sound, clause by clause", async () => {
  const events = await respond(cascade(), [typed("item_1", "Hi.")]);
  const starts: [number, string][] = [];
  let samples = 0;
  for (const event of events) {
    if (event.kind === "audio") samples += event.pcm.length;
    if (event.kind === "transcript") starts.push([Math.round(samples / SAMPLES_PER_MS), event.delta]);
  }
  let characters = 0;
  for (const [ms, delta] of starts) {
    assert.ok(Math.abs(ms - characters * 20) <= 20 * starts.length, `${delta} at ${ms} ms`); // a space has no sound at a clause's end
    characters += delta.length;
  }
  assert.ok(starts.length >= 3);
});

test("cascade: a voice that tells its words has them told one by one", async () => {
  const tts: TextToSpeech = {
    async *speak(text) {
      for await (const whole of text)
        for (const word of whole.match(/\S+\s*/g) ?? []) {
          yield { kind: "word", text: word, startMs: 0 };
          yield { kind: "audio", pcm: new Int16Array(240) };
        }
    },
  };
  const events = await respond(
    createCascade({ llm: createScriptedLlm({ first: 0, reply: () => "One two **three** four. Five six." }), tts }),
    [typed("item_1", "Hi.")],
  );
  assert.equal(transcriptOf(events), "One two **three** four. Five six.");
  const deltas = events.flatMap((event) => (event.kind === "transcript" ? [event.delta] : []));
  assert.ok(deltas.includes("Five ") && deltas.includes("One two **three** four. "), JSON.stringify(deltas)); // changed words cannot be told apart
});

test("cascade: the voice begins with the first clause, while the model still writes", async () => {
  const written = Promise.withResolvers<void>();
  const llm: LanguageModel = {
    async *generate(): AsyncGenerator<LlmEvent> {
      yield { kind: "text", delta: "Good morning, dear" };
      await written.promise; // only once sound was heard
      yield { kind: "text", delta: " caller." };
      yield { kind: "done", reason: "stop" };
    },
  };
  const session = createCascade({ llm, tts: createScriptedTts({ first: 1 }) }).open(never);
  const events: SpeechEvent[] = [];
  for await (const event of session.respond(request([typed("item_1", "Hi.")]), never)) {
    events.push(event);
    if (event.kind === "audio") written.resolve();
  }
  assert.equal(transcriptOf(events), "Good morning, dear caller.");
});

test("cascade: words without punctuation do not wait for ever", async () => {
  const written = Promise.withResolvers<void>();
  const llm: LanguageModel = {
    async *generate(): AsyncGenerator<LlmEvent> {
      yield { kind: "text", delta: "well there is something that I would " };
      await written.promise;
      yield { kind: "text", delta: "like to say" };
      yield { kind: "done", reason: "stop" };
    },
  };
  const session = createCascade({ llm, tts: createScriptedTts({ first: 1 }), firstClauseMs: 20 }).open(never);
  let heard = false;
  for await (const event of session.respond(request([typed("item_1", "Hi.")]), never)) {
    heard ||= event.kind === "audio";
    if (heard) written.resolve();
  }
  assert.ok(heard);
});

test("cascade: the next clause is on its way while this one sounds, and they never change places", async () => {
  const under = { now: 0, most: 0 };
  let call = 0;
  const tts: TextToSpeech = {
    async *speak(text) {
      under.most = Math.max(under.most, ++under.now);
      const value = ++call;
      for await (const _ of text);
      await new Promise((resolve) => setTimeout(resolve, value === 1 ? 30 : 1)); // the later one is ready first
      yield { kind: "audio", pcm: new Int16Array(2400).fill(value) };
      under.now--;
    },
  };
  const events = await respond(createCascade({ llm: createScriptedLlm({ first: 0, reply: () => REPLY }), tts }), [
    typed("item_1", "Hi."),
  ]);
  const order = events.flatMap((event) => (event.kind === "audio" ? [event.pcm[0]!] : []));
  assert.deepEqual(
    order,
    order.map((_, at) => at + 1),
  );
  assert.equal(under.most, 2);
});

test("cascade: functions are passed on, beside what is said", async () => {
  const calls = () => [{ name: "f", arguments: "{}" }];
  const events = await respond(cascade({ llm: { calls } }), [typed("item_1", "Hi.")]);
  assert.deepEqual(
    events.filter(({ kind }) => kind === "toolCall"),
    [{ kind: "toolCall", index: 0, callId: "call_0", name: "f", delta: "{}" }],
  );
  assert.equal(transcriptOf(events), REPLY);
});

test("cascade: reasoning is neither said nor written", async () => {
  const llm: LanguageModel = {
    async *generate(): AsyncGenerator<LlmEvent> {
      yield { kind: "reasoning", delta: "Hm." };
      yield { kind: "text", delta: "Yes, of course." };
      yield { kind: "done", reason: "stop" };
    },
  };
  const agent = createCascade({ llm, tts: createScriptedTts({ first: 1 }) });
  assert.equal(transcriptOf(await respond(agent, [typed("item_1", "Hi.")])), "Yes, of course.");
});

test("cascade: a cough is told as no words, and not answered", async () => {
  const events = await respond(cascade({ stt: { hear: () => " " } }), [speech("item_1")]);
  assert.deepEqual(events, [{ kind: "inputTranscript", itemId: "item_1", text: "" }]);
});

test("cascade: what was said before an interruption is transcribed with the next answer", async () => {
  let calls = 0;
  const hear = () => ["First.", "Second."][calls++] ?? "?";
  const events = await respond(cascade({ stt: { hear } }), [speech("item_1"), speech("item_2")]);
  assert.deepEqual(
    events.flatMap((event) => (event.kind === "inputTranscript" ? [event.text] : [])),
    ["First.", "Second."],
  );
});

test("cascade: an utterance that was heard while it was spoken is not transcribed again", async () => {
  let transcribed = 0;
  const hear = () => `Words ${++transcribed}.`;
  const session = cascade({ stt: { hear } }).open(never);
  const heard: SttEvent[] = [];
  for await (const event of session.listen!("item_1", once(second), never)) heard.push(event);
  assert.deepEqual(heard, [{ kind: "final", text: "Words 1." }]);
  const events: SpeechEvent[] = [];
  for await (const event of session.respond(request([speech("item_1")]), never)) events.push(event);
  assert.deepEqual(events[0], { kind: "inputTranscript", itemId: "item_1", text: "Words 1." });
  assert.equal(transcribed, 1);
});

test("cascade: hearing that failed on the way is done again from the whole", async () => {
  const agent = cascade({ stt: { faults: [{ kind: "cut", calls: [0] }] } });
  const session = agent.open(never);
  await assert.rejects(async () => {
    for await (const event of session.listen!("item_1", once(second), never)) assert.fail(event.kind);
  }, /cut the connection/);
  const events: SpeechEvent[] = [];
  for await (const event of session.respond(request([speech("item_1")]), never)) events.push(event);
  assert.deepEqual(events[0], { kind: "inputTranscript", itemId: "item_1", text: "Hello?" });
});

test("cascade: without ears it asks to be written to, and a model that hears needs none", async () => {
  const deaf = createCascade({ llm: createScriptedLlm({ first: 0 }), tts: createScriptedTts({ first: 0 }) });
  assert.match(transcriptOf(await respond(deaf, [speech("item_1")])), /cannot hear you/);
  const hearing = { ...createScriptedLlm({ first: 0, reply: () => "I heard it." }), hears: true };
  const agent = createCascade({ llm: hearing, tts: createScriptedTts({ first: 0 }) });
  assert.equal(transcriptOf(await respond(agent, [speech("item_1")])), "I heard it.");
});

test("cascade: a voice that fails before its first sound is replaced by another", async () => {
  const other = createScriptedTts({ first: 0, msPerCharacter: 20 });
  const told: unknown[] = [];
  const failing = cascade({
    tts: { faults: [{ kind: "error", calls: { share: 1 } }] },
    fallbackTts: async (failure) => {
      told.push(failure);
      return other;
    },
  });
  assert.equal(transcriptOf(await respond(failing, [typed("item_1", "Hi.")])), REPLY);
  assert.ok(told[0] instanceof Error, "the other is told why");
  const mute: TextToSpeech = { async *speak() {} };
  const silent = createCascade({
    llm: createScriptedLlm({ first: 0, reply: () => REPLY }),
    tts: mute,
    fallbackTts: async () => other,
  });
  const events = await respond(silent, [typed("item_1", "Hi.")]);
  assert.equal(transcriptOf(events), REPLY);
  assert.ok(events.some(({ kind }) => kind === "audio"));
});

test("cascade: each engine's failure is the answer's, and the next answer works", async () => {
  const fault = { faults: [{ kind: "error", calls: [0] }] } as const;
  for (const [stage, agent] of [
    ["stt", cascade({ stt: fault })],
    ["llm", cascade({ llm: fault })],
    ["tts", cascade({ tts: fault })],
  ] as const) {
    const session = agent.open(never);
    const read = async () => {
      const events: SpeechEvent[] = [];
      for await (const event of session.respond(request([speech("item_1")]), never)) events.push(event);
      return events;
    };
    await assert.rejects(read(), { name: "EngineError", stage });
    assert.equal(transcriptOf(await read()), REPLY, stage);
  }
});

test("cascade: what was written before the model failed is said, and then it fails", async () => {
  const agent = cascade({ llm: { faults: [{ kind: "cut", calls: [0], after: 12 }] } });
  const events: SpeechEvent[] = [];
  const read = async () => {
    for await (const event of agent.open(never).respond(request([typed("item_1", "Hi.")]), never)) events.push(event);
  };
  await assert.rejects(read(), { stage: "llm", kind: "cut" });
  assert.ok(REPLY.startsWith(transcriptOf(events)) && events.some(({ kind }) => kind === "audio"));
});

test("cascade: apologises, when it is to, for an answer that never began", async () => {
  const agent = cascade({ llm: { faults: [{ kind: "error", calls: { share: 1 } }] }, apology: "Sorry, that failed." });
  const events: SpeechEvent[] = [];
  const read = async (modality: "audio" | "text") => {
    for await (const event of agent.open(never).respond({ ...request([typed("item_1", "Hi.")]), modality }, never))
      events.push(event);
  };
  await assert.rejects(read("audio"), { stage: "llm" });
  assert.equal(transcriptOf(events), "Sorry, that failed.");
  events.length = 0;
  await assert.rejects(read("text"), { stage: "llm" });
  assert.deepEqual(events, [{ kind: "reached", mark: "words" }]);
});

test("cascade: a stall of any engine ends at an abort, and leaves nothing", async () => {
  const stall = { faults: [{ kind: "stall", calls: { share: 1 } }] } as const;
  for (const agent of [cascade({ stt: stall }), cascade({ llm: stall }), cascade({ tts: stall })]) {
    await leavesNothing(async () => {
      const controller = new AbortController();
      const session = agent.open(never);
      setTimeout(() => controller.abort(), 10);
      for await (const _ of session.respond(request([speech("item_1")]), controller.signal));
    });
  }
});

test("cascade: greets when there is nothing to answer but something to do", async () => {
  assert.equal(transcriptOf(await respond(cascade(), [])), REPLY);
  const session = cascade().open(never);
  for await (const event of session.respond({ ...request([]), instructions: "" }, never)) assert.fail(event.kind);
});

/** A session that hears a second of speech as item_1 and is told of a pause; the audio ends with `commit`. */
function hearing(agent: SpeechToSpeech) {
  const session = agent.open(never);
  const audio = Promise.withResolvers<void>();
  const spoken = async function* () {
    yield second;
    await audio.promise;
    yield new Int16Array(2400);
  };
  session.listen!("item_1", spoken(), never);
  const { began: _, ...prepared } = request([
    { id: "item_1", role: "user", parts: [{ ...part(second), pcm: undefined }] },
  ]);
  const pause = new AbortController();
  return {
    pause: () => session.prepare!(prepared, pause.signal),
    goOn: () => pause.abort(),
    async commit(change: Partial<SpeechRequest> = {}) {
      audio.resolve();
      const events: SpeechEvent[] = [];
      for await (const event of session.respond({ ...request([speech("item_1")]), ...change }, never))
        events.push(event);
      return events;
    },
  };
}

/** Waits until `holds`. */
async function until(holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 400 && !holds(); turn++) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.ok(holds());
}

/** A cascade that counts what it asks of its engines. */
function counting(hear: () => string = () => "Hello?", options: Partial<CascadeOptions> = {}) {
  const asked: string[] = [];
  const spoken: string[] = [];
  const pipeline = new Pipeline();
  const llm = createScriptedLlm({
    first: 1,
    reply: (request) => {
      asked.push(JSON.stringify(request.items.at(-1)));
      return REPLY;
    },
    calls: () => [{ name: "f", arguments: "{}" }],
  });
  const voice = createScriptedTts({ first: 1, msPerCharacter: 20 });
  const tts: TextToSpeech = {
    async *speak(text, how, signal) {
      for await (const clause of text) {
        spoken.push(clause);
        yield* voice.speak(once(clause), how, signal);
      }
    },
  };
  const stt = createScriptedStt({ first: 1, hear });
  return {
    agent: createCascade({ llm, stt, tts, pipeline, fallbackTts: async () => undefined, ...options }),
    asked,
    spoken,
    pipeline,
  };
}

test("cascade: an answer is begun in the pause, first clause included, and taken over when the turn is over", async () => {
  const { agent, asked, spoken, pipeline } = counting();
  const caller = hearing(agent);
  caller.pause();
  await until(() => spoken.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(spoken, ["Good morning,"]); // and no more before it is sure
  const events = await caller.commit();
  assert.equal(asked.length, 1);
  assert.match(asked[0]!, /Hello\?/);
  assert.equal(transcriptOf(events), REPLY);
  assert.equal(events.filter(({ kind }) => kind === "toolCall").length, 1);
  assert.equal(events.filter(({ kind }) => kind === "inputTranscript").length, 1);
  assert.deepEqual({ ...pipeline.eager.total, spent: 0 }, { spent: 0, wasted: 0, hits: 1, misses: 0 });
  assert.deepEqual(pipeline.hearing.total, { spent: 1, wasted: 0, hits: 1, misses: 0 });
});

test("cascade: a caller who goes on is heard anew from the whole, and what was prepared is void", async () => {
  let hearings = 0;
  const { agent, asked, pipeline } = counting(() => (++hearings === 1 ? "Hello" : "Hello there"));
  const caller = hearing(agent);
  caller.pause();
  await until(() => pipeline.eager.total.spent > 3);
  caller.goOn();
  const events = await caller.commit();
  assert.deepEqual(
    events.filter(({ kind }) => kind === "inputTranscript"),
    [{ kind: "inputTranscript", itemId: "item_1", text: "Hello there" }],
  );
  assert.equal(asked.length, 2);
  assert.match(asked[1]!, /Hello there/);
  assert.equal(events.filter(({ kind }) => kind === "toolCall").length, 1); // functions are called by answers that count
  assert.equal(transcriptOf(events), REPLY);
  assert.equal(pipeline.eager.total.misses, 1);
  assert.ok(pipeline.eager.total.wasted > 0);
  assert.deepEqual(pipeline.hearing.total, { spent: 2, wasted: 1, hits: 1, misses: 1 });
});

test("cascade: an answer that was prepared for something else is not given", async () => {
  const { agent, asked, spoken } = counting();
  const caller = hearing(agent);
  caller.pause();
  await until(() => spoken.length === 1);
  const events = await caller.commit({ instructions: "Be long." });
  assert.equal(asked.length, 2);
  assert.equal(transcriptOf(events), REPLY);
});

test("cascade: nothing is prepared once too much was in vain", async () => {
  const { agent, asked, pipeline } = counting();
  pipeline.eager.handleMiss(1000);
  const caller = hearing(agent);
  caller.pause();
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.equal(asked.length, 0);
  assert.equal(transcriptOf(await caller.commit()), REPLY);
});

test("cascade: a pause that never ends leaves nothing when the call does", async () => {
  await leavesNothing(async () => {
    const { agent, spoken } = counting();
    const ended = new AbortController();
    const session = agent.open(ended.signal);
    session.listen!(
      "item_1",
      (async function* () {
        yield second;
        await new Promise(() => {});
      })(),
      never,
    );
    const { began: _, ...prepared } = request([speech("item_1")]);
    session.prepare!(prepared, never);
    await until(() => spoken.length === 1);
    ended.abort();
  });
});

test("cascade: a second model answers when the first is later than ever, and when it fails", async () => {
  for (const fault of [
    { kind: "stall", calls: { share: 1 } },
    { kind: "error", calls: { share: 1 } },
  ] as const) {
    const fallbackLlm = createScriptedLlm({ first: 1, reply: () => "The other one speaks." });
    const { agent, pipeline } = counting(undefined, {
      llm: createScriptedLlm({ first: 1, faults: [fault] }),
      fallbackLlm,
    });
    for (let i = 0; i < 30; i++) pipeline.forecasts.of("llm").record(performance.now(), "firstToken", 5);
    const events = await respond(agent, [typed("item_1", "Hi.")]);
    assert.equal(transcriptOf(events), "The other one speaks.", fault.kind);
    assert.equal(pipeline.hedge.total.misses, 0);
  }
});

test("cascade: a long wait is acknowledged, never twice in a row, and it is no part of what was said", async () => {
  const acknowledgement = { afterMs: 30, text: "One moment." };
  const { agent } = counting(undefined, {
    llm: createScriptedLlm({ first: 150, reply: () => REPLY }),
    acknowledgement,
  });
  const session = agent.open(never);
  const told: boolean[] = [];
  for (let turn = 0; turn < 5; turn++) {
    const events: SpeechEvent[] = [];
    const asked = { ...request([typed("item_1", "Hi.")]), sinceSpeechMs: 0 };
    for await (const event of session.respond(asked, never)) events.push(event);
    assert.equal(transcriptOf(events), REPLY);
    told.push(events.some(({ kind }) => kind === "acknowledgement"));
    const kinds = events.map(({ kind }) => kind);
    if (told.at(-1)) assert.ok(kinds.indexOf("acknowledgement") < kinds.indexOf("audio"));
  }
  assert.ok(told.includes(true));
  assert.ok(
    told.every((one, at) => !(one && told[at + 1])),
    `${told}`,
  );
});

function part(pcm: Pcm): ContextPart & { kind: "audio" } {
  return { kind: "audio", pcm, transcript: undefined, voicedStartMs: 0, voicedEndMs: 1000 };
}

function speech(id: string): ContextItem {
  return { id, role: "user", parts: [part(second)] };
}

function typed(id: string, text: string): ContextItem {
  return { id, role: "user", parts: [{ kind: "text", text }] };
}

function request(items: readonly ContextItem[]): SpeechRequest {
  return { instructions: "Be brief.", items, modality: "audio", voice: "alloy", began: new Promise(() => {}) };
}

async function respond(agent: SpeechToSpeech, items: readonly ContextItem[]): Promise<SpeechEvent[]> {
  const events: SpeechEvent[] = [];
  for await (const event of agent.open(never).respond(request(items), never)) events.push(event);
  return events;
}

function transcriptOf(events: readonly SpeechEvent[]): string {
  return events.map((event) => (event.kind === "transcript" ? event.delta : "")).join("");
}

async function* once<T>(value: T): AsyncGenerator<T> {
  yield value;
}
