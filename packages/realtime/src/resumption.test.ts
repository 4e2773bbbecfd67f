import assert from "node:assert/strict";
import { test } from "node:test";
import { ACK_EVERY, isCounted, parseResumption, ReceiptCounter, ReplayWindow } from "./resumption.ts";

test("what speaks of the connection or of now is not counted, whatever stands inside an event", () => {
  assert(isCounted('{"type":"response.create"}'));
  assert(isCounted('{"type":"sluice.turn"}'));
  assert(!isCounted('{"event_id":"1","type":"sluice.clock","client_ms":1}'));
  assert(isCounted('{"type":"conversation.item.create","item":{"type":"sluice.ack"}}'));
  assert(isCounted('{"type":"x","text":"\\"type\\":\\"sluice.ack\\""}'));
  assert(isCounted("no JSON at all"));
});

test("each event is replayed once, from the first that the other side has not had", () => {
  const window = new ReplayWindow();
  for (const json of ["a", "b", "c", "d"]) window.push(json);
  assert(window.acknowledge(1));
  assert(window.acknowledge(3));
  assert.deepEqual(window.unacknowledged, ["d"]);
  assert(window.acknowledge(3));
  assert(window.acknowledge(4));
  assert.deepEqual(window.unacknowledged, []);
});

test("a count that cannot be is refused and changes nothing", () => {
  const window = new ReplayWindow();
  for (const json of ["a", "b"]) window.push(json);
  assert(window.acknowledge(1));
  for (const wrong of [0, 3, -1]) assert(!window.acknowledge(wrong));
  assert.deepEqual(window.unacknowledged, ["b"]);
});

test("a window that overflows says so instead of replaying with a hole", () => {
  for (const limits of [{ events: 2 }, { size: 2 }]) {
    const window = new ReplayWindow(limits);
    for (const json of ["a", "b", "c"]) window.push(json);
    assert(window.overflowed);
    assert.deepEqual(window.unacknowledged, []);
  }
});

test("acknowledgements are due every so many events", () => {
  const counter = new ReceiptCounter();
  for (let i = 1; i < ACK_EVERY; i++) assert(!counter.count());
  assert(counter.count());
  assert.deepEqual(counter.acknowledge(), { type: "sluice.ack", received: ACK_EVERY });
  assert(!counter.count());
});

test("events of resumption are read, and malformed ones are none", () => {
  const good = [
    { type: "sluice.ack", received: 3 },
    { type: "sluice.resumable", token: "t", grace_ms: 30_000 },
    { type: "sluice.resumed", received: 0, audio_ms: null },
    { type: "sluice.resumed", received: 0, audio_ms: 12.5 },
    { type: "sluice.resume", received: 7 },
    { type: "sluice.resume", received: 7, item_id: "item_1", position_ms: 120.5 },
  ];
  for (const event of good) assert.deepEqual(parseResumption(JSON.stringify(event)), event);
  for (const bad of [
    { type: "sluice.ack", received: -1 },
    { type: "sluice.ack", received: "3" },
    { type: "sluice.resumable", grace_ms: 1 },
    { type: "sluice.resumed", received: 0 },
    { type: "sluice.resume", received: 1.5 },
    { type: "sluice.resume", received: 1, item_id: "x" },
    { type: "sluice.other" },
  ])
    assert.equal(parseResumption(JSON.stringify(bad)), undefined);
  assert.equal(parseResumption('"sluice.'), undefined);
});
