import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBindingRequest, parseStun } from "@sluice/routing";
import type { DtlsSink } from "./dtls.ts";
import { encodeRecord } from "./dtls-record.ts";
import { WebRtcSession } from "./session.ts";

const HOME = { address: "192.0.2.1", port: 1000 };
const PASSWORD = "serverpassword0123456789";

/** A session over a DTLS that is told what to do. */
function open() {
  const clock = { now: 0 };
  const dtls = {
    due: undefined as number | undefined,
    records: 0,
    timeouts: 0,
    sink: undefined as DtlsSink | undefined,
  };
  const sent: Uint8Array[] = [];
  const idle = {
    nextNack: () => undefined,
    pollTimeout: () => undefined,
    handleTimeout: () => ({ early: [], ordered: [] }),
    nextFrame: () => undefined,
  };
  const session = new WebRtcSession({
    callId: "c",
    offer: {
      sections: [],
      audio: undefined,
      data: undefined,
      iceUfrag: "client",
      icePassword: "clientpassword0123456789",
      fingerprints: [],
    } as unknown as ConstructorParameters<typeof WebRtcSession>[0]["offer"],
    iceUfrag: "server",
    icePassword: PASSWORD,
    dtls: {
      fingerprint: { algorithm: "sha-256", digest: "00" },
      open: (_now, _fingerprints, sink) => {
        dtls.sink = sink;
        return {
          handleRecord: () => void (dtls.records += 1),
          handleMedia: () => {},
          handleTimeout: () => void (dtls.timeouts += 1),
          pollTimeout: () => dtls.due,
          send: () => {},
          close: () => {},
        };
      },
    },
    sctp: { open: () => assert.fail("nothing asks for SCTP") },
    uplink: idle as never,
    downlink: { ...idle, roundTripMs: undefined, lossPercent: undefined } as never,
    ssrc: 1,
    cname: "c",
    now: () => clock.now,
    wallOffsetMs: 0,
    random: (size) => new Uint8Array(size),
    send: (packet) => sent.push(packet),
    onInput: () => {},
    onEnded: () => {},
    onListenerError: () => {},
  });
  const check = () => {
    const transactionId = new Uint8Array(12);
    const username = `server:${"client".padEnd(20, "t")}`;
    const packet = formatBindingRequest({ transactionId, username, password: PASSWORD, useCandidate: true });
    assert(session.handleStun(clock.now, parseStun(packet)!, HOME));
  };
  return { session, clock, dtls, sent, check };
}

test("an answer goes again while no DTLS comes, and not once it does", () => {
  const { session, clock, dtls, sent, check } = open();
  check();
  check();
  const answers = sent.length;
  clock.now = session.pollTimeout()!;
  session.handleTimeout(clock.now);
  assert.equal(sent.length, answers + 1);
  check();
  const hello = encodeRecord({ type: 22, epoch: 0, sequenceNumber: 0, fragment: Uint8Array.of(1) });
  session.handlePacket(clock.now, "dtls", hello, HOME);
  assert.equal(dtls.records, 1);
  const before = sent.length;
  for (clock.now += 1; clock.now < 1_000; clock.now += 10) session.handleTimeout(clock.now);
  assert.equal(sent.length, before);
});

test("waits for what DTLS wants to do after the handshake, too", () => {
  const { session, clock, dtls } = open();
  dtls.sink!.onConnected(undefined);
  dtls.due = 100;
  assert.equal(session.pollTimeout(), 100);
  clock.now = 100;
  session.handleTimeout(100);
  assert.equal(dtls.timeouts, 1);
});
