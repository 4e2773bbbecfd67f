import assert from "node:assert/strict";
import { test } from "node:test";
import { Acknowledgements } from "./acknowledgement.ts";
import { Forecast } from "./forecast.ts";

function known(stage: "firstToken" | "firstAudio", ms: number): Forecast {
  const forecast = new Forecast();
  for (let i = 0; i < 50; i++) forecast.record(i, stage, ms);
  return forecast;
}
const fast = { sinceSpeechMs: 500, sinceAskedMs: 0 };

test("a wait that will probably be short is acknowledged only once it was long", () => {
  const due = new Acknowledgements(900).dueIn(50, fast, known("firstToken", 100), known("firstAudio", 100));
  assert.equal(due, 400);
});

test("a wait that will probably be long is acknowledged at once, unless most of it has passed", () => {
  const slow = known("firstToken", 800);
  assert.equal(new Acknowledgements(900).dueIn(50, fast, slow, new Forecast()), 0);
  assert.equal(new Acknowledgements(900).dueIn(50, { ...fast, sinceAskedMs: 600 }, slow, new Forecast()), 400);
});

test("never twice in a row", () => {
  const acknowledgements = new Acknowledgements(900);
  const slow = known("firstToken", 800);
  assert.equal(acknowledgements.dueIn(50, fast, slow, slow), 0);
  acknowledgements.handleSpoken();
  assert.equal(acknowledgements.dueIn(50, fast, slow, slow), undefined);
  assert.equal(acknowledgements.dueIn(50, fast, slow, slow), 0);
});
