import assert from "node:assert/strict";
import { test } from "node:test";
import { formatBindingRequest, formatBindingSuccess, hasValidIntegrity, parseStun } from "@sluice/routing";
import { type Address, IceLite } from "./ice-lite.ts";

const PASSWORD = "serverpassword0123456789";
const PEER_PASSWORD = "clientpassword0123456789";
const HOME: Address = { address: "192.0.2.1", port: 1000 };
const AWAY: Address = { address: "198.51.100.7", port: 2000 };
const THIRD: Address = { address: "203.0.113.9", port: 3000 };

function agent() {
  let transactions = 0;
  return new IceLite(0, {
    ufrag: "server",
    password: PASSWORD,
    peerUfrag: "client",
    peerPassword: PEER_PASSWORD,
    randomTransactionId: () => Buffer.alloc(12, ++transactions),
  });
}

interface Check {
  ufrag?: string;
  client?: string;
  password?: string;
  useCandidate?: boolean;
  role?: "controlled";
}

function check({ ufrag = "server", client = "client", password = PASSWORD, useCandidate = true, role }: Check = {}) {
  const packet = formatBindingRequest({
    transactionId: Buffer.alloc(12, 9),
    username: `${ufrag}:${client}`,
    password,
    useCandidate,
    ...(role ? { role } : {}),
  });
  return parseStun(packet)!;
}

function drain(ice: IceLite) {
  const sent = [];
  for (let each = ice.nextTransmit(); each; each = ice.nextTransmit())
    sent.push({ ...each, message: parseStun(each.packet)! });
  return sent;
}

function connected() {
  const ice = agent();
  ice.handleStun(0, check(), HOME);
  ice.handleEstablished();
  drain(ice);
  return ice;
}

test("answers an authenticated check with its source, signed, and follows it", () => {
  const ice = agent();
  assert.equal(ice.handleStun(0, check(), HOME), true);
  const [answer, ...rest] = drain(ice);
  assert.equal(rest.length, 0);
  assert.deepEqual(answer!.to, HOME);
  assert.equal(answer!.message.class, "success");
  assert.deepEqual(answer!.message.mappedAddress, HOME);
  assert(hasValidIntegrity(answer!.message, PASSWORD));
  assert.deepEqual(ice.path, HOME);
});

test("until the peer goes on its last answer is sent again, and never more bytes than its checks had", () => {
  const ice = agent();
  let came = 0;
  let went = 0;
  const take = (now: number) => {
    const message = check({ client: "client".padEnd(9 + ((now / 500) % 7), "x") });
    came += message.packet.length;
    assert(ice.handleStun(now, message, HOME));
    for (const { packet } of drain(ice)) went += packet.length;
  };
  const sent: number[] = [];
  const wait = (until: number) => {
    for (let due = ice.pollTimeout()!; due <= until; due = ice.pollTimeout()!) {
      ice.handleTimeout(due);
      for (const { packet, to, message } of drain(ice)) {
        assert.deepEqual(to, HOME);
        assert.equal(message.class, "success");
        assert(hasValidIntegrity(message, PASSWORD));
        sent.push(due);
        went += packet.length;
      }
      assert(went <= came, `${went} bytes for ${came}`);
    }
  };
  for (let now = 0; now < 5_000; now += 500) {
    take(now);
    wait(now + 499);
  }
  assert(sent.includes(530), "a check that gets nothing again for 500 ms");
  assert(sent.length >= 4 && sent.length < 20, `${sent.length} for ten checks`);
  take(5_000);
  ice.handlePeerGoesOn();
  sent.length = 0;
  wait(20_000);
  take(20_000);
  wait(25_000);
  assert.deepEqual(sent, []);
});

test("answers to somebody else's address are not sent again", () => {
  const ice = agent();
  ice.handleStun(0, check(), HOME);
  ice.handleStun(1, check(), HOME);
  ice.handleStun(2, check({ useCandidate: false }), AWAY); // the path stays
  assert.deepEqual(
    drain(ice).map(({ to }) => to),
    [HOME, HOME, AWAY],
  );
  ice.handleTimeout(200);
  assert.deepEqual(
    drain(ice).map(({ to }) => to),
    [HOME],
  );
});

test("is silent to a wrong ufrag, a wrong password, a flipped bit and a missing fingerprint", () => {
  const ice = agent();
  const flipped = Buffer.from(check().packet);
  flipped[30]! ^= 1;
  const unsigned = Buffer.from(check().packet.subarray(0, -8)); // no FINGERPRINT
  unsigned.writeUInt16BE(unsigned.length - 20, 2);
  for (const message of [
    check({ ufrag: "other" }),
    check({ password: "guessed-guessed-guessed!" }),
    parseStun(flipped),
    parseStun(unsigned),
  ]) {
    if (message) assert.equal(ice.handleStun(0, message, AWAY), false);
  }
  assert.equal(drain(ice).length, 0);
  assert.equal(ice.path, undefined);
  const { badUsername, badIntegrity, badFingerprint } = ice.counts;
  assert.equal(badUsername + badIntegrity + badFingerprint, 4);
});

test("tells a peer that thinks it is controlled of the role conflict", () => {
  const ice = agent();
  ice.handleStun(0, check({ role: "controlled" }), HOME);
  const [answer] = drain(ice);
  assert.equal(answer!.message.errorCode, 487);
  assert.equal(ice.path, undefined);
});

test("prefers a nominated path to one that is merely checked", () => {
  const ice = agent();
  ice.handleStun(0, check({ useCandidate: false }), HOME);
  ice.handleStun(1, check({ useCandidate: true }), AWAY);
  ice.handleStun(2, check({ useCandidate: false }), HOME);
  assert.deepEqual(ice.path, AWAY);
});

test("asks back before established media follows, and follows the answer", () => {
  const ice = connected();
  ice.handleStun(5_000, check(), AWAY);
  const [answer, question] = drain(ice);
  assert.equal(answer!.message.class, "success");
  assert.equal(question!.message.class, "request");
  assert.equal(question!.message.username, "client:server");
  assert(hasValidIntegrity(question!.message, PEER_PASSWORD));
  assert.deepEqual(question!.to, AWAY);
  assert.deepEqual(ice.path, HOME);
  const reply = formatBindingSuccess({
    transactionId: question!.message.transactionId,
    address: "192.0.2.200",
    port: 3478,
    password: PEER_PASSWORD,
  });
  assert.equal(ice.handleStun(5_050, parseStun(reply)!, THIRD), false, "an answer counts only from where it was asked");
  assert.equal(ice.handleStun(5_050, parseStun(reply)!, AWAY), true);
  assert.deepEqual(ice.path, AWAY);
});

test("does not point media at a victim who never answers, and sends it three packets at most", () => {
  const ice = connected();
  for (let now = 1_000; now < 2_000; now += 10) ice.handleStun(now, check(), AWAY);
  assert.deepEqual(ice.path, HOME);
  const asked = drain(ice).filter(({ message }) => message.class === "request");
  assert(asked.length <= 2, `asked ${asked.length} times`);
});

test("does not take a forged answer to its question", () => {
  const ice = connected();
  ice.handleStun(5_000, check(), AWAY);
  const question = drain(ice).find(({ message }) => message.class === "request")!;
  for (const [transactionId, password] of [
    [question.message.transactionId, "guessed-guessed-guessed!"],
    [Buffer.alloc(12, 77), PEER_PASSWORD],
  ] as const) {
    const forged = formatBindingSuccess({ transactionId, address: "192.0.2.200", port: 1, password });
    assert.equal(ice.handleStun(5_010, parseStun(forged)!, AWAY), false);
  }
  assert.deepEqual(ice.path, HOME);
});

test("follows an ICE restart at once and returns when nothing proves it", () => {
  const ice = connected();
  ice.handleStun(1_000, check({ client: "restarted" }), AWAY);
  assert.deepEqual(ice.path, AWAY);
  assert(ice.onProbation);
  ice.handleTimeout(20_000);
  assert.deepEqual(ice.path, AWAY, "without a question there is no answer to wait for");
  ice.handleProofAsked(20_000);
  assert.equal(ice.pollTimeout(), 28_000);
  ice.handleTimeout(28_000);
  assert.deepEqual(ice.path, HOME);
});

test("stays at a restarted path that is proved", () => {
  const ice = connected();
  ice.handleStun(1_000, check({ client: "restarted" }), AWAY);
  ice.handleProofAsked(1_000);
  ice.handleProof();
  ice.handleTimeout(20_000);
  assert.deepEqual(ice.path, AWAY);
});

test("believes three unproved restarts and no fourth", () => {
  const ice = connected();
  for (const [index, at] of [1_000, 12_000, 23_000, 26_000].entries()) {
    const to = { address: "203.0.113.1", port: index + 1 };
    ice.handleStun(at, check({ client: `r${index}aa` }), to);
    ice.handleProofAsked(at);
    assert.deepEqual(ice.path, index < 3 ? to : { address: "203.0.113.1", port: 3 });
    if (index < 2) ice.handleTimeout(at + 8_000);
  }
});

test("a check without nomination moves the path only after the path fell silent", () => {
  const ice = agent();
  ice.handleStun(0, check(), HOME);
  ice.handleStun(1_000, check({ useCandidate: false }), AWAY);
  assert.deepEqual(ice.path, HOME);
  ice.handleStun(3_500, check({ useCandidate: false }), AWAY);
  assert.deepEqual(ice.path, AWAY);
});

test("consent lasts 30 s from the newest authenticated check", () => {
  const ice = connected();
  ice.handleStun(10_000, check(), HOME);
  assert.equal(ice.pollTimeout(), 40_000);
  ice.handleStun(20_000, check({ password: "guessed-guessed-guessed!" }), HOME);
  ice.handleTimeout(39_999);
  assert(!ice.expired);
  ice.handleTimeout(40_000);
  assert(ice.expired);
});

test("remembers the eight newest addresses that checked", () => {
  const ice = agent();
  for (let port = 1; port <= 9; port++) ice.handleStun(0, check(), { ...HOME, port });
  assert(!ice.isValidated({ ...HOME, port: 1 }));
  assert(ice.isValidated({ ...HOME, port: 9 }));
});

test("media from a new address gets copies there, three bytes for one, and the path follows once the address answers", () => {
  const ice = connected();
  assert.equal(ice.handleMedia(100, AWAY, 100), true);
  const [asked, ...rest] = drain(ice);
  assert(asked && rest.length === 0);
  assert.deepEqual(asked.to, AWAY);
  assert.deepEqual(ice.path, HOME);
  assert.deepEqual(ice.copyTo(110, 200), AWAY);
  assert.equal(ice.copyTo(110, 200), undefined);
  ice.handleMedia(120, AWAY, 100);
  assert.deepEqual(ice.copyTo(120, 200), AWAY);
  const { transactionId } = asked.message;
  const success = formatBindingSuccess({ transactionId, address: "192.0.2.9", port: 1, password: PEER_PASSWORD });
  assert.equal(ice.handleStun(150, parseStun(success)!, AWAY), true);
  assert.deepEqual(ice.path, AWAY);
  assert.equal(ice.copyTo(160, 1), undefined);
});

test("an address that never answers gets copies for 3 s, two checks, and no other one gets any for 30 s", () => {
  const ice = connected();
  for (let now = 0; now < 10_000; now += 20) ice.handleMedia(now, AWAY, 100);
  assert.equal(drain(ice).length, 2);
  assert.equal(ice.copyTo(3_000, 1), undefined);
  assert.equal(ice.handleMedia(29_999, THIRD, 100), false);
  assert.equal(ice.handleMedia(30_000, THIRD, 100), true);
  assert.equal(ice.counts.mediaTrials, 2);
  assert.deepEqual(ice.path, HOME);
});

test("a check from where the peer was ends the copies; before the handshake there are none", () => {
  const ice = connected();
  ice.handleMedia(0, AWAY, 100);
  ice.handleStun(20, check(), HOME);
  assert.equal(ice.copyTo(30, 1), undefined);
  assert.equal(agent().handleMedia(0, AWAY, 100), false);
});
