import assert from "node:assert/strict";
import { test } from "node:test";
import { loadScenarios } from "./measure.ts";
import { runScenario, type Scenario } from "./scenario.ts";

const hello: Scenario = {
  name: "hello",
  about: "one turn on a bad network",
  network: "cafe-wifi",
  inference: "fast",
  script: [{ say: "please tell me the news" }, { listen: true }],
};

test("a seed replays its call to the sample, another seed is another call", async () => {
  const [first, again, other] = [
    await runScenario(hello, { seed: 5 }),
    await runScenario(hello, { seed: 5 }),
    await runScenario(hello, { seed: 6 }),
  ];
  assert.deepEqual(again.record.ear, first.record.ear);
  assert.deepEqual(again.record.events, first.record.events);
  assert.deepEqual(again.score, first.score);
  assert.notDeepEqual(other.record.ear, first.record.ear);
});

test("on a clear line every word arrives both ways, and the timeline is the recorded sound", async () => {
  const clear: Scenario = {
    ...hello,
    network: "clear",
    script: [...hello.script, { say: "and now the long story" }, { listen: true }],
  };
  const { score } = await runScenario(clear, { seed: 2 });
  assert.deepEqual([score.prompt.rate, score.answer.rate, score.gapMs], [0, 0, 0]);
  for (const { differenceMs, stages, timelineMs } of score.turns) {
    assert.ok(
      differenceMs !== undefined && Math.abs(differenceMs) <= 1,
      `${differenceMs} ms between timeline and sound`,
    );
    assert.ok(Math.abs(Object.values(stages).reduce((sum, ms) => sum + ms, 0) - timelineMs!) < 0.01);
  }
});

test("a call without repair loses words where one with it does not", async () => {
  const way = { delayMs: 30, loss: 0.15 };
  const rates = [];
  for (const pipe of ["legacy", "webrtc"] as const) {
    const said = {
      ...hello,
      script: [
        { say: "I want to know how to get to the house by the water, and what the people there think about it all" },
      ],
    };
    const network = { name: "lossy", about: "", up: way, down: way, measured: "", source: "", assumed: "" };
    const script = [...said.script, { listen: true as const }];
    rates.push((await runScenario({ ...said, script }, { seed: 5, pipe, network })).score);
  }
  const [legacy, webrtc] = rates.map(({ prompt, answer }) => prompt.rate + answer.rate);
  assert.ok(legacy! > webrtc! + 0.05, `legacy ${legacy}, webrtc ${webrtc}`);
  assert.ok(rates[1]!.prompt.rate === 0);
});

test("every scenario names what exists, and is called as its file", async () => {
  const scenarios = await loadScenarios();
  assert.ok(scenarios.size >= 8);
  for (const [file, { name, about, script }] of scenarios) {
    assert.equal(name, file);
    assert.ok(about.length > 10 && script.length > 0);
  }
});
