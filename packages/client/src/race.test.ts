import assert from "node:assert/strict";
import { test } from "node:test";
import { BadAnswer, ServerUnreachable, Unauthorized } from "./errors.ts";
import { Candidate, race } from "./race.ts";
import type { Transport, TransportKind, TransportListener } from "./transport.ts";

/** Pipes that open, fail or hang as told: ms until the first event, an error, or `undefined` for never. */
function pipes(fates: Partial<Record<TransportKind, number | Error>>) {
  const made: string[] = [];
  const closed: string[] = [];
  const make = (kind: TransportKind) => {
    made.push(kind);
    const fate = fates[kind];
    return new Candidate((listener: TransportListener) => {
      const transport: Partial<Transport> = {
        dial: async () => {
          if (fate instanceof Error) throw fate;
          if (fate !== undefined) setTimeout(() => listener.onMessage(`hello from ${kind}`), fate);
        },
        close: () => closed.push(kind),
      };
      return transport as Transport;
    });
  };
  const run = (kinds: TransportKind[], staggerMs = 50, signal = new AbortController().signal) =>
    race({ kinds, make, staggerMs, signal, now: () => performance.now() });
  return { run, made, closed };
}

test("the preferred pipe wins when it works, and nothing else is opened", async () => {
  const { run, made } = pipes({ webtransport: 5, webrtc: 0, websocket: 0 });
  const { choice } = await run(["webtransport", "webrtc", "websocket"]);
  assert.equal(choice.kind, "webtransport");
  assert.match(choice.reason, /^webtransport answered after \d+ ms$/);
  assert.deepEqual(made, ["webtransport"]);
});

test("a pipe that fails is followed at once, and the choice says why", async () => {
  const { run, closed } = pipes({ webtransport: new BadAnswer("not offered"), webrtc: 5 });
  const { choice } = await run(["webtransport", "webrtc", "websocket"], 10_000);
  assert.equal(choice.kind, "webrtc");
  assert.match(choice.reason, /^webtransport: not offered; webrtc answered after \d+ ms$/);
  assert.deepEqual(closed, ["webtransport"]);
});

test("a pipe that hangs is overtaken and closed", async () => {
  const { run, closed } = pipes({ websocket: 5 });
  const { choice } = await run(["webrtc", "websocket"], 20);
  assert.equal(choice.kind, "websocket");
  assert.match(choice.reason, /webrtc took longer than \d+ ms/);
  assert.deepEqual(closed, ["webrtc"]);
});

test("a wrong key ends the race: no other pipe would do better", async () => {
  const { run, made } = pipes({ webtransport: new Unauthorized("no"), webrtc: 0 });
  await assert.rejects(run(["webtransport", "webrtc"]), Unauthorized);
  assert.deepEqual(made, ["webtransport"]);
});

test("when nothing works the first pipe's error is told", async () => {
  const { run } = pipes({ webrtc: new ServerUnreachable("no answer"), websocket: new BadAnswer("no") });
  await assert.rejects(run(["webrtc", "websocket"]), ServerUnreachable);
});

test("an aborted race closes what it opened", async () => {
  const { run, closed } = pipes({});
  const attempt = new AbortController();
  const running = run(["webrtc", "websocket"], 5, attempt.signal);
  setTimeout(() => attempt.abort(new Error("enough")), 20);
  await assert.rejects(running, /enough/);
  assert.deepEqual(closed.sort(), ["webrtc", "websocket"]);
});

test("what a pipe said before it was chosen is heard after", async () => {
  const { run } = pipes({ webrtc: 1 });
  const { candidate } = await run(["webrtc"]);
  const heard: string[] = [];
  candidate.adopt({ onMessage: (text: string) => heard.push(text) } as TransportListener);
  assert.deepEqual(heard, ["hello from webrtc"]);
});
