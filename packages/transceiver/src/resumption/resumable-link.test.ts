import assert from "node:assert/strict";
import { test } from "node:test";
import type { Link, LinkCapabilities, LinkListener, Pcm, Utterance } from "@sluice/conversation";
import { ResumableLink } from "./resumable-link.ts";

const utterance: Utterance = { responseId: "r", itemId: "a", outputIndex: 0, contentIndex: 0 };
const pcm = (ms: number, value = 0): Pcm => new Int16Array(ms * 24).fill(value);
const buffered = {
  playout: "server",
  leadMs: 10_000,
  audioInEvents: false,
  reset: true,
  playoutReports: true,
} as const;
const paced = { ...buffered, leadMs: 0, reset: false, playoutReports: false } as const;
const ASK = JSON.stringify({ type: "session.update", session: { type: "realtime", sluice: { resume: true } } });

/** A link that notes what is done with it. */
function makeLink(capabilities: LinkCapabilities = buffered) {
  const done: string[] = [];
  const played: { startMs: number | undefined; ms: number }[] = [];
  const link: Link = {
    capabilities,
    sendEvent: (event) => done.push(JSON.stringify(event).replace(',"event_id":"event_1"', "")),
    play: ({ startMs }, audio) => played.push({ startMs, ms: audio.length / 24 }),
    endUtterance: () => done.push("end"),
    flush: () => done.push("flush"),
    duck: () => done.push("duck"),
    close: (reason) => done.push(`close ${reason}`),
  };
  return { link, done, played };
}

/** A conversation over a resumable link; `come` opens another connection of its client. */
function begin(capabilities?: LinkCapabilities) {
  const first = makeLink(capabilities);
  const heard: string[] = [];
  const graces: string[] = [];
  let tokens = 0;
  const link = new ResumableLink(first.link, {
    graceMs: 30_000,
    createEventId: () => "event_1",
    isWanted: () => true,
    issueToken: () => `token ${++tokens}`,
    onDetached: () => graces.push("detached"),
    onAttached: () => graces.push("attached"),
  });
  const listener: LinkListener = {
    onOpen: () => heard.push("open"),
    onMessage: (_, text) => heard.push(text),
    onEarlyAudio: () => {},
    onOrderedAudio: (_, { mediaMs }) => heard.push(`audio at ${mediaMs}`),
    onSent: (_, { startMs }, ms) => heard.push(`sent ${ms} from ${startMs ?? 0}`),
    onUtteranceEnded: (_, { itemId }) => heard.push(`ended ${itemId}`),
    onClosed: (_, reason) => heard.push(`closed: ${reason}`),
  };
  const wire = link.start(listener);
  wire.onOpen(0);
  const come = (its?: LinkCapabilities) => {
    const next = makeLink(its);
    const nextWire = link.offer(next.link);
    nextWire.onOpen(0);
    return { ...next, wire: nextWire };
  };
  return { link, first, wire, heard, graces, come };
}

const resume = (received: number, place = {}) => JSON.stringify({ type: "sluice.resume", received, ...place });

test("for a client that did not ask it is the link itself", () => {
  const { link, first, wire, heard, graces } = begin();
  link.sendEvent({ type: "x" });
  wire.onMessage(0, '{"type":"y"}');
  wire.onClosed(0, "gone", true);
  assert.deepEqual(first.done, ['{"type":"x"}']);
  assert.deepEqual(heard, ["open", '{"type":"y"}', "closed: gone"]);
  assert.deepEqual(graces, []);
});

test("events that the client had are not sent again, those that it had not are, once, in order", () => {
  const { link, wire, heard, come } = begin();
  wire.onMessage(0, ASK);
  for (const type of ["a", "b", "c"]) link.sendEvent({ type });
  wire.onClosed(0, "lost", true);
  link.sendEvent({ type: "d" }); // said to nobody
  const next = come();
  assert.deepEqual(next.done, ['{"type":"sluice.resumed","received":0,"audio_ms":0}']);
  next.wire.onMessage(0, resume(2));
  link.sendEvent({ type: "e" });
  assert.deepEqual(next.done.slice(1), [
    '{"type":"sluice.resumable","token":"token 2","grace_ms":30000}',
    '{"type":"c"}',
    '{"type":"d"}',
    '{"type":"e"}',
  ]);
  assert(!heard.some((line) => line.startsWith("closed")));
});

test("the client learns how many of its events came, and is acknowledged now and then", () => {
  const { first, wire, heard, come } = begin();
  wire.onMessage(0, ASK);
  for (let i = 0; i < 17; i++) wire.onMessage(0, `{"type":"n","i":${i}}`);
  wire.onMessage(0, '{"type":"sluice.clock","client_ms":1}');
  assert.deepEqual(first.done.at(-1), '{"type":"sluice.ack","received":16}');
  assert.equal(heard.length, 1 + 1 + 17 + 1);
  wire.onClosed(0, "lost", true);
  assert.match(come().done[0]!, /"received":17/);
});

test("speech goes on from where the ear is", () => {
  const { link, first, wire, heard, come } = begin();
  wire.onMessage(0, ASK);
  link.play(utterance, pcm(1000));
  link.play(utterance, pcm(1000));
  link.heard("a", 600);
  wire.onClosed(0, "lost", true);
  link.play(utterance, pcm(500)); // the engine did not stop
  link.endUtterance(utterance);
  const next = come();
  assert.deepEqual(next.played, [], "not before the client said where it is");
  next.wire.onMessage(0, resume(0, { item_id: "a", position_ms: 900 }));
  assert.deepEqual(next.played, [
    { startMs: 900, ms: 100 },
    { startMs: 900, ms: 1000 },
    { startMs: 900, ms: 500 },
  ]);
  assert.equal(next.done.at(-1), "end");
  next.wire.onSent(0, { ...utterance, startMs: 900 }, 20, undefined);
  assert.equal(heard.at(-1), "sent 20 from 900");
  assert.equal(first.played.length, 2);
});

test("over a paced link it goes on from what was sent", () => {
  const { link, wire, come } = begin(paced);
  wire.onMessage(0, ASK);
  link.play(utterance, pcm(1000));
  wire.onSent(0, utterance, 240, 0);
  wire.onClosed(0, "lost", true);
  const next = come();
  next.wire.onMessage(0, resume(0));
  assert.deepEqual(next.played, [{ startMs: 240, ms: 760 }]);
});

test("what was heard to its end while nobody was connected is over", () => {
  const { link, wire, heard, come } = begin();
  wire.onMessage(0, ASK);
  link.play(utterance, pcm(1000));
  link.endUtterance(utterance);
  link.play({ ...utterance, itemId: "b" }, pcm(800));
  wire.onClosed(0, "lost", true);
  const next = come();
  next.wire.onMessage(0, resume(0, { item_id: "b", position_ms: 300 }));
  assert(heard.includes("ended a"));
  assert.deepEqual(next.played, [{ startMs: 300, ms: 500 }]);
});

test("what was interrupted is not said again", () => {
  const { link, wire, come } = begin();
  wire.onMessage(0, ASK);
  link.play(utterance, pcm(1000));
  wire.onClosed(0, "lost", true);
  link.flush();
  const next = come();
  next.wire.onMessage(0, resume(0));
  assert.deepEqual(next.played, []);
});

test("the caller's audio goes on: on the client's own clock over frames, behind what was heard over anything else", () => {
  const { wire, heard, come } = begin();
  wire.onMessage(0, ASK);
  wire.onOrderedAudio(0, { pcm: pcm(20), mediaMs: 980, origin: "received" });
  wire.onClosed(0, "lost", true);
  const frames = come();
  assert.match(frames.done[0]!, /"audio_ms":1000/);
  frames.wire.onMessage(0, resume(0));
  frames.wire.onOrderedAudio(0, { pcm: pcm(20), mediaMs: 1000, origin: "received" });
  assert.equal(heard.at(-1), "audio at 1000");
  const rtp = come(paced);
  assert.match(rtp.done[0]!, /"audio_ms":null/);
  rtp.wire.onMessage(0, resume(0));
  rtp.wire.onOrderedAudio(0, { pcm: pcm(20), mediaMs: 7000, origin: "received" });
  rtp.wire.onOrderedAudio(0, { pcm: pcm(20), mediaMs: 7020, origin: "received" });
  assert.deepEqual(heard.slice(-2), ["audio at 1020", "audio at 1040"]);
});

test("a client that comes over a new path takes the conversation from its old one", () => {
  const { link, first, wire, heard, graces, come } = begin();
  wire.onMessage(0, ASK);
  const next = come();
  wire.onMessage(0, '{"type":"late"}');
  next.wire.onMessage(0, resume(0));
  assert.equal(first.done.at(-1), "close the conversation goes on over another connection");
  wire.onClosed(0, "closed by us", false);
  wire.onMessage(0, '{"type":"later"}');
  link.sendEvent({ type: "x" });
  assert.deepEqual([heard.at(-1), next.done.at(-1), graces], [ASK, '{"type":"x"}', ["attached"]]);
});

test("a client that drops the new path before it said what it has is carried on by its old one", () => {
  const { link, first, wire, heard, graces, come } = begin();
  wire.onMessage(0, ASK);
  const next = come();
  wire.onMessage(0, '{"type":"meanwhile"}');
  link.sendEvent({ type: "x" });
  assert.deepEqual([heard.at(-1), first.done.at(-1)?.includes("resumable")], [ASK, true]);
  next.wire.onClosed(0, "the client hung up", false);
  assert.equal(heard.at(-1), '{"type":"meanwhile"}');
  assert.equal(first.done.at(-2), '{"type":"x"}');
  assert.match(first.done.at(-1)!, /sluice.resumable/); // the last token is spent
  wire.onMessage(0, '{"type":"after"}');
  link.sendEvent({ type: "y" });
  assert.deepEqual([heard.at(-1), first.done.at(-1), graces], ['{"type":"after"}', '{"type":"y"}', ["attached"]]);
});

test("nobody comes back: it ends when the grace is over, and a client that comes later is sent away", () => {
  const { link, wire, heard, graces, come } = begin();
  wire.onMessage(0, ASK);
  wire.onClosed(0, "lost", true);
  assert.deepEqual(graces, ["detached"]);
  link.expire(30_000);
  assert.equal(heard.at(-1), "closed: the connection was lost and did not come back");
  assert.deepEqual(come().done, ["close the conversation is over"]);
});

test("a client that hangs up is not waited for", () => {
  const { wire, heard } = begin();
  wire.onMessage(0, ASK);
  wire.onClosed(0, "the client hung up", false);
  assert.equal(heard.at(-1), "closed: the client hung up");
});

test("a client that counts events which were never sent is sent away", () => {
  const { wire, heard, come } = begin();
  wire.onMessage(0, ASK);
  wire.onClosed(0, "lost", true);
  const next = come();
  next.wire.onMessage(0, resume(5));
  assert.match(heard.at(-1)!, /never sent/);
  assert.match(next.done.at(-1)!, /^close/);
});
