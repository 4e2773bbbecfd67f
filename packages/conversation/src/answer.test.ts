import assert from "node:assert/strict";
import { test } from "node:test";
import { Answer, type AnswerCommand, type AnswerOptions, sameWords } from "./answer.ts";
import { Forecast } from "./forecast.ts";
import { Spending } from "./spending.ts";

function scene(options: Partial<AnswerOptions> = {}) {
  const ears = new Forecast();
  for (let turn = 0; turn < 40; turn++) ears.record(0, "partial", 0);
  const all = { model: new Forecast(), voice: new Forecast(), ears, eager: new Spending(), ...options };
  const answer = new Answer(all);
  const take = (now: number): string[] => {
    const told: string[] = [];
    for (let command = answer.nextCommand(now); command; command = answer.nextCommand(now)) told.push(tell(command));
    return told;
  };
  return { answer, take, ...all };
}

function tell(command: AnswerCommand): string {
  if (command.kind === "generate") return `generate ${command.run} ${command.second ? "second " : ""}${command.words}`;
  if (command.kind === "speak") return `speak ${command.run} ${command.written.trim()}`;
  return `${command.kind} ${command.run}`;
}

test("the model is asked once the words are known, and its answer counts once the turn is over", () => {
  const { answer, take } = scene();
  assert.deepEqual(take(0), []);
  answer.handleWords(10, "Hello?");
  assert.deepEqual(take(10), ["generate 1 Hello?"]);
  answer.handleText(20, 1, "Good morning, dear caller. And");
  assert.deepEqual(take(20), ["speak 1 Good morning,"]);
  answer.handleText(30, 1, " more. ");
  assert.deepEqual(take(30), []); // not before it is sure
  answer.handleCommitted(40);
  assert.deepEqual(take(40), ["adopt 1", "speak 1 dear caller."]);
});

test("a partial transcript that turns out the same, but for signs and capitals, was worth asking about", () => {
  const { answer, take, eager } = scene();
  answer.handlePartial(0, "hello there");
  assert.deepEqual(take(0), ["generate 1 hello there"]);
  answer.handleWords(200, "Hello, there!");
  assert.deepEqual(take(200), []);
  answer.handleCommitted(400);
  assert.deepEqual(take(400), ["adopt 1"]);
  assert.equal(eager.total.hits, 1);
});

test("other words void what was made of the first, and are asked about", () => {
  const { answer, take, eager } = scene();
  answer.handlePartial(0, "hello");
  take(0);
  for (let i = 0; i < 7; i++) answer.handleText(10, 1, "word ");
  answer.handleWords(200, "Hello there");
  assert.deepEqual(take(200), ["abandon 1", "generate 2 Hello there"]);
  assert.deepEqual([eager.total.misses, eager.total.wasted], [1, 7]);
  answer.handleText(210, 1, "late words. ");
  answer.handleCommitted(300);
  assert.deepEqual(take(300), ["adopt 2"]);
});

test("an answer waits for the last word on what was said, even when the turn is over", () => {
  const { answer, take } = scene();
  answer.handlePartial(0, "hello");
  answer.handleCommitted(100);
  answer.handleText(110, 1, "Good morning, ");
  assert.ok(!take(110).includes("adopt 1"));
  answer.handleWords(150, "Hello.");
  assert.ok(take(150).includes("adopt 1"));
});

test("a caller who pauses again and again costs a bounded number of requests", () => {
  const { answer, take } = scene();
  const asked = ["one", "one two", "one two three", "one two three four", "five"].flatMap((words, at) => {
    answer.handlePartial(at, words);
    return take(at).filter((command) => command.startsWith("generate"));
  });
  assert.equal(asked.length, 3);
  answer.handleWords(9, "five six");
  answer.handleCommitted(10);
  assert.ok(take(10).some((command) => command.endsWith("five six")));
});

test("nothing is asked early once too much was in vain, and on time all the same", () => {
  const eager = new Spending({ credit: 10 });
  eager.handleSpent(100);
  eager.handleMiss(50);
  const { answer, take } = scene({ eager });
  answer.handleWords(0, "Hello?");
  assert.deepEqual(take(0), []);
  answer.handleCommitted(400);
  assert.deepEqual(take(400), ["generate 1 Hello?", "adopt 1"]);
});

test("words that wait for punctuation too long are spoken without it", () => {
  const { answer, take } = scene({ firstClauseMs: 150 });
  answer.handleCommitted(0);
  answer.handleWords(0, undefined);
  take(0);
  answer.handleText(100, 1, "well there is something that I would ");
  assert.deepEqual(take(100), []);
  assert.equal(answer.pollTimeout(), 250);
  assert.deepEqual(take(250), ["speak 1 well there is something that I"]);
});

test("two clauses are spoken at a time, and all of it is said before it is done", () => {
  const { answer, take } = scene();
  answer.handleWords(0, undefined);
  answer.handleCommitted(0);
  take(0);
  answer.handleText(10, 1, "Good morning to you. It is a fine day. Shall we go out? There is more to say than this.");
  answer.handleTextEnd(10, 1);
  const spoken = take(10);
  assert.equal(spoken.length, 2);
  for (let clause = 1; clause < 9; clause++) {
    answer.handleSpeech(20 * clause, clause, 1000);
    answer.handleClauseEnd(20 * clause, clause);
    spoken.push(...take(20 * clause));
  }
  assert.equal(spoken.filter((command) => command.startsWith("speak")).length, 3);
  assert.equal(spoken.at(-1), "done 1");
});

const late = () => {
  const model = new Forecast();
  for (let i = 0; i < 100; i++) model.record(i, "firstToken", i < 90 ? 300 : 900);
  return model;
};

test("a first token later than nearly all of them is asked for elsewhere, and the first to answer counts", () => {
  const { answer, take, hedge } = scene({ model: late(), hedge: new Spending({ credit: 20 }), hedgeAt: 0.95 });
  answer.handleWords(1000, undefined);
  answer.handleCommitted(1000);
  assert.deepEqual(take(1000), ["generate 1 undefined", "adopt 1"]);
  const at = answer.pollTimeout()!;
  assert.ok(at > 1850 && at < 1950, `${at}`);
  assert.deepEqual(take(at), ["generate 2 second undefined"]);
  answer.handleText(at + 100, 2, "Good morning, ");
  assert.deepEqual(take(at + 100).slice(0, 2), ["abandon 1", "adopt 2"]);
  answer.handleText(at + 110, 1, "Too late. ");
  assert.deepEqual([hedge!.total.hits, hedge!.total.misses], [1, 0]);
});

test("the second model is let go when the first answers after all, and is not asked too often", () => {
  const hedge = new Spending({ share: 0.1, credit: 5, halfLife: 500 });
  let asked = 0;
  for (let turn = 0; turn < 100; turn++) {
    const { answer, take } = scene({ model: late(), hedge, hedgeAt: 0.95 });
    answer.handleWords(1000, undefined);
    answer.handleCommitted(1000);
    take(1000);
    if (!take(2000).includes("generate 2 second undefined")) continue;
    asked += 1;
    answer.handleText(2100, 1, "Here I am, ");
    assert.ok(take(2100).includes("abandon 2"));
  }
  assert.ok(asked >= 5 && asked <= 14, `${asked} of 100`);
});

test("a first clause whose time came before its words is spoken with the next ones, and waits no second time", () => {
  const { answer, take } = scene({ firstClauseMs: 50 });
  answer.handleWords(0, undefined);
  answer.handleCommitted(0);
  take(0);
  answer.handleText(10, 1, "Well the");
  assert.deepEqual(take(60), []);
  assert.equal(answer.pollTimeout(), undefined);
  answer.handleText(70, 1, " order number is here");
  assert.deepEqual(take(70), ["speak 1 Well the order number is"]);
});

test("the second model is asked the sooner the oftener it wins, and late where no tail is to be cut", () => {
  const spread = (least: number, most: number) => {
    const model = new Forecast({ halfLifeCount: 1e6 });
    for (let i = 0; i < 200; i++) model.record(0, "firstToken", least + ((most - least) * i) / 199);
    return model;
  };
  const asksAfter = (model: Forecast, hedge: Spending) => {
    const { answer, take } = scene({ model, hedge });
    answer.handleWords(0, undefined);
    answer.handleCommitted(0);
    take(0);
    return answer.pollTimeout()!;
  };
  const near = (value: number, wanted: number) => assert.ok(Math.abs(value - wanted) < 0.03 * wanted, `${value}`);
  const account = { share: 0.15, credit: 1000 };
  const [wins, loses] = [new Spending(account), new Spending(account)];
  for (let i = 0; i < 100; i++) wins.handleHit();
  for (let i = 0; i < 100; i++) loses.handleMiss(1);
  near(asksAfter(spread(0, 4000), wins), 2000); // half of the answers cost one request
  near(asksAfter(spread(0, 4000), loses), 3800); // the 85th percentile leaves too little to win: all are in vain
  near(asksAfter(spread(300, 400), wins), 395);
});

test("a second model has a forecast of its own, and is asked sooner where it is quick enough to win", () => {
  const [model, second] = [new Forecast({ halfLifeCount: 1e6 }), new Forecast({ halfLifeCount: 1e6 })];
  for (let i = 0; i < 200; i++) model.record(0, "firstToken", 300 + i);
  const hedge = new Spending({ credit: 1000 });
  for (let i = 0; i < 100; i++) hedge.handleHit();
  const turn = () => {
    const { answer, take } = scene({ model, second, hedge });
    answer.handleWords(0, undefined);
    answer.handleCommitted(0);
    take(0);
    const at = answer.pollTimeout()!;
    take(at);
    answer.handleText(at + 50, 2, "Here ");
    return at;
  };
  const first = turn();
  assert.ok(first > 480, `${first}`); // a request like the first could not win by much
  for (let i = 0; i < 30; i++) turn();
  assert.ok(Math.abs(second.quantile(0, "firstToken", 0.5)! - 50) < 2);
  assert.ok(turn() < 430);
});

test("what guesses may cost is a share of all that is spent, not of the chances to guess", () => {
  const hedge = new Spending({ share: 0.1 });
  for (let i = 0; i < 200; i++) hedge.handleMiss(0);
  for (let i = 0; i < 100; i++) {
    hedge.handleSpent(2);
    hedge.handleChance();
  }
  assert.ok(Math.abs(hedge.affordable - 0.2) < 0.01, `${hedge.affordable}`);
});

test("a model that fails before its first word is replaced at once; one without a substitute fails", () => {
  const { answer, take } = scene({ hedge: new Spending() });
  answer.handleWords(0, undefined);
  answer.handleCommitted(0);
  take(0);
  answer.handleTextEnd(5, 1, true);
  assert.deepEqual(take(5), ["abandon 1", "generate 2 second undefined", "adopt 2"]);
  answer.handleTextEnd(9, 2, true);
  assert.deepEqual(take(9), ["done 2"]);
});

test("a model that fails before the turn is over is asked again when it is", () => {
  const { answer, take } = scene();
  answer.handleWords(0, "Hello?");
  take(0);
  answer.handleTextEnd(5, 1, true);
  assert.deepEqual(take(5), ["abandon 1"]);
  answer.handleCommitted(100);
  assert.deepEqual(take(100), ["generate 2 Hello?", "adopt 2"]);
});

test("a partial transcript is asked about once as much silence passed as others needed to be complete", () => {
  const ears = new Forecast();
  const hear = (at: number, partialAfterMs: number | undefined) => {
    const { answer, take } = scene({ ears, sinceSpeechMs: 100 });
    answer.handlePartial(at, "what is");
    if (partialAfterMs !== undefined) answer.handlePartial(at - 100 + partialAfterMs, "what is it");
    const due = answer.pollTimeout();
    const asked = due === undefined ? [] : take(Math.max(due, at + 150));
    answer.handleWords(at + 400, "What is it?");
    return { afterMs: due === undefined ? undefined : due - (at - 100), asked };
  };
  for (let turn = 0; turn < 60; turn++) hear(turn * 1000, 180);
  const known = hear(60_000, 180);
  assert.ok(Math.abs(known.afterMs! - 180) < 5, `${known.afterMs}`);
  assert.deepEqual(known.asked, ["generate 1 what is it"]);
  for (let turn = 61; turn < 400; turn++) hear(turn * 1000, undefined); // none of these was ever complete
  assert.deepEqual(hear(400_000, 180), { afterMs: undefined, asked: [] });
});

test("what a caller who goes on leaves behind is void, and nothing wakes any more", () => {
  const { answer, take } = scene();
  answer.handleWords(0, "Hello?");
  take(0);
  answer.handleText(5, 1, "Good");
  answer.handleClosed(10);
  assert.deepEqual(take(10), ["abandon 1"]);
  assert.equal(answer.pollTimeout(), undefined);
  answer.handleText(11, 1, " morning, dear. ");
  answer.handleWords(12, "Hello there");
  answer.handleCommitted(13);
  assert.deepEqual(take(13), []);
});

test("stages are measured as they pass", () => {
  const { answer, take, model, voice } = scene();
  for (let turn = 0; turn < 40; turn++) {
    const at = turn * 10_000;
    const { answer } = scene({ model, voice });
    answer.handleWords(at, undefined);
    answer.handleCommitted(at);
    while (answer.nextCommand(at));
    for (let word = 0; word < 20; word++)
      answer.handleText(at + 200 + word * 10, 1, word === 2 ? "good morning, " : "a ");
    while (answer.nextCommand(at + 400));
    answer.handleTextEnd(at + 400, 1);
    for (let piece = 0; piece < 5; piece++) answer.handleSpeech(at + 550 + piece * 50, 1, 100);
    answer.handleClauseEnd(at + 750, 1);
  }
  take(0);
  assert.equal(answer.has(1), false);
  const at = 390_000;
  const near = (value: number | undefined, expected: number) =>
    assert.ok(Math.abs(value! / expected - 1) < 0.03, `${value}, not ${expected}`);
  near(model.quantile(at, "firstToken", 0.5), 200);
  near(model.quantile(at, "tokenRate", 0.5), 100);
  near(voice.quantile(at, "firstAudio", 0.5), 150);
  near(voice.quantile(at, "speechRate", 0.5), 2);
});

test("words are the same whatever signs, capitals and forms of letters they are written in", () => {
  for (const [one, other] of [
    ["What's up?", "what’s up"],
    ["  Ｈｅｌｌｏ ", "hello!"],
    ["नमस्ते।", "नमस्ते"],
  ] as const)
    assert.ok(sameWords(one, other), one);
  assert.ok(!sameWords("I can", "I can't"));
  assert.ok(!sameWords("two", "two three"));
});
