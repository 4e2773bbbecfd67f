import assert from "node:assert/strict";
import { test } from "node:test";
import type { ClientEventInput } from "@sluice/realtime";
import { Conversation, type Opened } from "./conversation.ts";
import { ConnectionLost, ConversationGone } from "./errors.ts";
import { Candidate } from "./race.ts";
import type { Transport, TransportKind, TransportListener } from "./transport.ts";

interface Sent {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A pipe that notes what is sent over it and says what the test says. */
function openPipe(kind: TransportKind = "websocket") {
  const sent: Sent[] = [];
  const begun: (number | undefined)[] = [];
  let closes = 0;
  let abandoned = 0;
  let refreshed = 0;
  let listener!: TransportListener;
  const candidate = new Candidate((it) => {
    listener = it;
    const transport: Partial<Transport> = {
      kind,
      truncates: false,
      send: (text) => sent.push(JSON.parse(text) as Sent),
      begin: (from) => begun.push(from),
      handleEvent: () => {},
      played: () => undefined,
      cut: () => {},
      refresh: () => refreshed++,
      setMicrophone: async () => {},
      handlePlayout: () => {},
      abandon: () => abandoned++,
      close: () => closes++,
    };
    return transport as Transport;
  });
  const opened: Opened = { candidate, choice: { kind, reason: "test", attempts: [] } };
  return {
    opened,
    begun,
    say: (event: object) => listener.onMessage(JSON.stringify(event)),
    lose: () => listener.onClosed(new ConnectionLost("lost"), true),
    hangUp: () => listener.onClosed(undefined, false),
    listener: () => listener,
    types: () => sent.map(({ type }) => type).filter((type) => type !== "sluice.clock"),
    clocks: () => sent.filter(({ type }) => type === "sluice.clock").length,
    find: (type: string) => sent.find((event) => event.type === type),
    closes: () => closes,
    abandoned: () => abandoned,
    refreshed: () => refreshed,
  };
}

const settings: ClientEventInput<"session.update"> = {
  type: "session.update",
  session: { type: "realtime", sluice: { timeline: true, resume: true } },
};

/** A conversation whose first pipe is up; `next` is what it is given when it asks for another. */
function begin() {
  const first = openPipe();
  const states: string[] = [];
  const asked: string[] = [];
  const next = Promise.withResolvers<Opened>();
  const other = Promise.withResolvers<Opened>();
  let silenced = 0;
  const conversation = new Conversation({
    timeline: true,
    now: () => performance.now(),
    settings,
    reopen: (token, signal) => {
      asked.push(token);
      signal.addEventListener("abort", () => next.reject(signal.reason));
      return next.promise;
    },
    switchTo: (kind, token) => {
      asked.push(`${kind} ${token}`);
      return other.promise;
    },
    reconnectMs: 500,
    meter: () => undefined,
    silence: () => silenced++,
    onClosed: () => {},
  });
  conversation.on("connectionState", ({ state, reason }) =>
    states.push(reason ? `${state}: ${reason.message}` : state),
  );
  conversation.begin(first.opened);
  first.say({ type: "session.created", session: {} });
  first.say({ type: "session.updated", session: {} });
  first.say({ type: "sluice.resumable", token: "t1", grace_ms: 30_000 });
  return { conversation, first, states, asked, next, other, silenced: () => silenced };
}

const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
const text = (words: string): ClientEventInput => ({
  type: "conversation.item.create",
  item: { type: "message", role: "user", content: [{ type: "input_text", text: words }] },
});

test("the session's settings go out when it is there, and then the conversation is connected", () => {
  const { conversation, first, states } = begin();
  assert.deepEqual(first.types(), ["session.update"]);
  assert.deepEqual([states, first.begun, conversation.resumable], [["connected"], [0], true]);
  conversation.close();
});

test("a lost connection is replaced, and what the server did not get is sent again, once and in order", async () => {
  const { conversation, first, states, asked, next } = begin();
  for (const words of ["one", "two", "three"]) conversation.send(text(words));
  first.lose();
  conversation.send(text("four")); // said to nobody
  assert.deepEqual([states.at(-1), asked], ["reconnecting: lost", ["t1"]]);
  const second = openPipe("webtransport");
  next.resolve(second.opened);
  await settle();
  second.say({ type: "sluice.resumed", received: 2, audio_ms: 1234 });
  assert.deepEqual(second.types(), ["sluice.resume", "conversation.item.create", "conversation.item.create"]);
  assert.equal(second.find("sluice.resume")?.received, 0);
  assert.match(JSON.stringify(second.find("conversation.item.create")), /three/);
  assert.deepEqual([states.at(-1), second.begun, conversation.transport?.kind], ["connected", [1234], "webtransport"]);
  conversation.close();
});

test("the client says how many events it has had and where the ear is", async () => {
  const { conversation, first, next } = begin();
  for (let i = 0; i < 5; i++) first.say({ type: "response.output_text.delta", delta: "x" });
  first.say({ type: "sluice.ledger" }); // does not count
  const position = { itemId: "item_1", startedMs: 0, positionMs: 432.19, atMs: 1 };
  first.listener().onPlayed(position);
  first.lose();
  const second = openPipe();
  next.resolve(second.opened);
  await settle();
  second.say({ type: "sluice.resumed", received: 0, audio_ms: null });
  const { received, item_id, position_ms } = second.find("sluice.resume")!;
  assert.deepEqual([received, item_id, position_ms], [5, "item_1", 432.2]);
  conversation.close();
});

test("the server's events are acknowledged now and then", () => {
  const { conversation, first } = begin();
  for (let i = 0; i < 16; i++) first.say({ type: "response.output_text.delta", delta: "x" });
  assert.equal(first.find("sluice.ack")?.received, 16);
  conversation.close();
});

test("a server that is silent after the network changed is doubted: another connection is sought beside this one", async () => {
  const { conversation, first, states, asked, next } = begin();
  conversation.handleNetworkChange();
  assert.equal(first.refreshed(), 1);
  await new Promise((resolve) => setTimeout(resolve, 1700));
  assert.deepEqual(
    [states.at(-1), asked, first.closes()],
    ["reconnecting: the server fell silent for 1.5 s", ["t1"], 0],
  );
  const second = openPipe();
  next.resolve(second.opened);
  await settle();
  second.say({ type: "sluice.resumed", received: 0, audio_ms: null });
  assert.deepEqual([states.at(-1), first.abandoned()], ["connected", 1]);
  conversation.close();
});

test("a server that was doubted and speaks again is kept, and what was said meanwhile was not held back", async () => {
  const { conversation, first, states } = begin();
  conversation.handleNetworkChange();
  await new Promise((resolve) => setTimeout(resolve, 1700));
  conversation.send(text("one"));
  assert.equal(first.types().at(-1), "conversation.item.create");
  first.say({ type: "sluice.clock", client_ms: 0, server_ms: 0 });
  await settle();
  assert.deepEqual([states.at(-1), first.closes()], ["connected", 0]);
  conversation.close();
});

test("a server that was doubted lets go of the old connection for the new one, which may be heard of before it is there", async () => {
  const { conversation, first, states, next } = begin();
  conversation.handleNetworkChange();
  await new Promise((resolve) => setTimeout(resolve, 1700));
  first.hangUp();
  assert.equal(states.at(-1), "reconnecting: the server fell silent for 1.5 s");
  const second = openPipe();
  next.resolve(second.opened);
  await settle();
  second.say({ type: "sluice.resumed", received: 0, audio_ms: null });
  assert.equal(states.at(-1), "connected");
  conversation.close();
});

test("a server that fell silent is asked for a sign of life, and dies of none, within two seconds", async () => {
  const { conversation, first, states, asked } = begin();
  first.say({ type: "response.output_text.delta", delta: "x" });
  const before = first.clocks();
  await new Promise((resolve) => setTimeout(resolve, 1900));
  assert.ok(first.clocks() > before);
  assert.deepEqual([states.at(-1), asked], ["reconnecting: the server fell silent for 1.1 s", ["t1"]]);
  conversation.close();
});

test("of a conversation that was taken over, speech that the client still holds ends where the new server says", async () => {
  const { conversation, first, next, silenced } = begin();
  first.say({ type: "response.created", response: { id: "r" } });
  first.lose();
  const second = openPipe();
  next.resolve(second.opened);
  await settle();
  second.say({ type: "sluice.resumed", received: 0, audio_ms: null, taken_over: true });
  assert.deepEqual([conversation.responding, silenced()], [false, 0]);
  second.say({ type: "output_audio_buffer.cleared", response_id: "r" });
  assert.equal(silenced(), 1);
  conversation.close();
});

test("a server that answers is kept", async () => {
  const { conversation, first, asked } = begin();
  conversation.handleNetworkChange();
  setTimeout(() => first.say({ type: "sluice.clock", client_ms: 0, server_ms: 0 }), 200);
  await new Promise((resolve) => setTimeout(resolve, 1700));
  assert.deepEqual(asked, []);
  conversation.close();
});

test("when no connection comes back in time, or the server has let go, the conversation is over and says why", async () => {
  const late = begin();
  late.first.lose();
  await new Promise((resolve) => setTimeout(resolve, 600));
  assert.equal(late.states.at(-1), "closed: no connection came back in time");
  const gone = begin();
  gone.first.lose();
  gone.next.reject(new ConversationGone("gone"));
  await settle();
  assert.equal(gone.states.at(-1), "closed: gone");
});

test("a server that hangs up is not called back", () => {
  const { first, states, asked } = begin();
  first.hangUp();
  assert.deepEqual([states.at(-1), asked], ["closed", []]);
});

test("an old connection that speaks again is not heard", async () => {
  const { conversation, first, next } = begin();
  first.lose();
  const second = openPipe();
  next.resolve(second.opened);
  await settle();
  second.say({ type: "sluice.resumed", received: 0, audio_ms: null });
  const heard: string[] = [];
  conversation.on("event", ({ type }) => heard.push(type));
  first.say({ type: "response.created", response: { id: "r" } });
  second.say({ type: "response.done", response: { id: "r" } });
  assert.deepEqual(heard, ["response.done"]);
  conversation.close();
});

test("a conversation changes its pipe: the old one carries it until the other is open, and nothing is lost or said twice", async () => {
  const { conversation, first, states, asked, other } = begin();
  const kinds: string[] = [];
  conversation.on("transport", ({ kind }) => kinds.push(kind));
  conversation.send(text("one"));
  const switched = conversation.switchTransport("webrtc");
  assert.deepEqual(asked, ["webrtc t1"]);
  await assert.rejects(conversation.switchTransport("websocket"), ConnectionLost); // one at a time
  conversation.send(text("two"));
  assert.deepEqual(first.types().slice(1), ["conversation.item.create", "conversation.item.create"]);
  first.hangUp(); // the server lets go of it, and says so before the other pipe says anything
  const second = openPipe("webrtc");
  other.resolve(second.opened);
  second.say({ type: "sluice.resumed", received: 1, audio_ms: null });
  assert.equal((await switched).kind, "webrtc");
  second.say({ type: "sluice.resumable", token: "t2", grace_ms: 30_000 });
  conversation.send(text("three"));
  assert.deepEqual(second.types(), ["sluice.resume", ...Array(2).fill("conversation.item.create")]);
  assert.deepEqual([states, kinds], [["connected"], ["webrtc"]]);
  assert.deepEqual([first.abandoned(), first.closes()], [1, 0]); // a hang-up would end what goes on elsewhere
  conversation.close();
});

test("a pipe that cannot be opened leaves the conversation where it is", async () => {
  const { conversation, first, states, other } = begin();
  const switched = conversation.switchTransport("webtransport");
  other.reject(new Error("no engine"));
  await assert.rejects(switched, /no engine/);
  conversation.send(text("one"));
  assert.deepEqual(first.types(), ["session.update", "conversation.item.create"]);
  assert.deepEqual([states, first.abandoned()], [["connected"], 0]);
  conversation.close();
});

test("a pipe that breaks while another is opened in vain is replaced as ever", async () => {
  const { conversation, first, states, asked, other } = begin();
  const switched = conversation.switchTransport("webtransport");
  first.lose();
  assert.deepEqual(states, ["connected"]);
  other.reject(new Error("no engine"));
  await assert.rejects(switched, /no engine/);
  assert.deepEqual([states.at(-1), asked.at(-1)], ["reconnecting: lost", "t1"]);
  conversation.close();
});
