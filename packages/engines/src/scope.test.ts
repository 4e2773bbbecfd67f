import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";
import { Scope } from "./scope.ts";

test("ends with any of its parents, for the parent's reason, and holds on to none", () => {
  const [first, second] = [new AbortController(), new AbortController()];
  const scope = new Scope(first.signal, second.signal);
  assert.equal(scope.signal.aborted, false);
  second.abort("over");
  assert.equal(scope.signal.reason, "over");
  assert.equal(getEventListeners(first.signal, "abort").length, 0);
  first.abort("later");
  assert.equal(scope.signal.reason, "over");
});

test("is over at once within work that is", () => {
  const { signal } = new AbortController();
  const scope = new Scope(signal, AbortSignal.abort("before"), signal);
  assert.equal(scope.signal.reason, "before");
  assert.equal(getEventListeners(signal, "abort").length, 0);
});

test("ends by itself, and is not reached any more once it is left", () => {
  const parent = new AbortController();
  const [ended, left] = [new Scope(parent.signal), new Scope(parent.signal)];
  ended.abort("done");
  left.leave();
  assert.equal(getEventListeners(parent.signal, "abort").length, 0);
  parent.abort("over");
  assert.equal(ended.signal.reason, "done");
  assert.equal(left.signal.aborted, false);
});
