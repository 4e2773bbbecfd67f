import assert from "node:assert/strict";
import { test } from "node:test";
import { MicrophoneBusy, MicrophoneDenied, NoMicrophone } from "./errors.ts";
import { microphoneError } from "./microphone.ts";

for (const [name, expected] of [
  ["NotAllowedError", MicrophoneDenied],
  ["SecurityError", MicrophoneDenied],
  ["NotFoundError", NoMicrophone],
  ["OverconstrainedError", NoMicrophone],
  ["NotReadableError", MicrophoneBusy],
  ["AbortError", MicrophoneBusy],
] as const) {
  test(`the browser's ${name} is ${expected.name} to an app, with its cause kept`, () => {
    const cause = new DOMException("no", name);
    const error = microphoneError(cause);
    assert.ok(error instanceof expected);
    assert.equal(error.cause, cause);
    assert.equal(error.name, expected.name);
  });
}

test("what is no microphone error stays what it is", () => {
  const cause = new TypeError("bad constraints");
  assert.equal(microphoneError(cause), cause);
  assert.match(microphoneError("odd").message, /odd/);
});
