import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { encodeRecord } from "../../packages/transceiver/src/webrtc/dtls-record.ts";
import { converse, startAgent } from "./conversation.ts";
import { PEERS } from "./peers.ts";
import { addToRecord, mergeReports, readRecord } from "./record.ts";
import { provenanceOf, renderMarkdown, tablesOf } from "./report.ts";
import { nameOf } from "./trace.ts";

// What needs no installation; the rest runs by `npm run interop`.
const agent = await startAgent();
after(() => agent.stop());

test("clients by libdatachannel and werift talk to Sluice and hear its answer, both at once", async () => {
  const talk = async (name: string) => {
    const { client } = PEERS.find((peer) => peer.name === name)!;
    const { missing, prompt_wer, answer_wer } = await converse(client!, agent.firstLine, 0, 1);
    assert.deepEqual(missing, [], `${name}: events that did not come`);
    assert(prompt_wer <= 0.25, `${name}: Sluice misheard ${prompt_wer}`);
    assert(answer_wer <= 0.25, `${name} misheard ${answer_wer}`);
  };
  await Promise.all(["libdatachannel", "werift"].map(talk));
});

test("parts that are measured one by one are kept together, the newest of each row", () => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-record-"));
  after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "new", "peers.json");
  const nothing = { clients: [], setups: [], servers: [], relays: [], browsers: [] };
  const row = (peer: string, day: number, more: object = {}) => ({
    peer,
    version: "1",
    command: "npm run interop",
    commit: `${day}${day}234567890a`,
    date: `2026-11-0${day}T00:00:00Z`,
    machine: "m",
    ...more,
  });
  addToRecord(path, { ...nothing, clients: [row("aiortc", 1, { loss: 0 }), row("aiortc", 1, { loss: 0.1 })] });
  addToRecord(path, { ...nothing, relays: [row("nginx", 2), row("sluice", 2)] });
  addToRecord(path, { ...nothing, clients: [row("werift", 3, { loss: 0 }), row("aiortc", 3, { loss: 0.1 })] });
  const absent = { version: "", missing: "not installed" };
  addToRecord(path, {
    ...nothing,
    clients: [row("aiortc", 4, absent)],
    servers: [{ ...row("janus", 4, absent), echo: "" }],
  });
  const record = mergeReports(readRecord(path), { ...nothing, relays: [row("nginx", 1)] }); // an older one
  const seen = (rows: readonly { peer: string; loss?: number; date: string }[]) =>
    rows.map(({ peer, loss = "", date }) => `${peer} ${loss} ${date.slice(9, 10)}`);
  assert.deepEqual(seen(record.clients), ["werift 0 3", "aiortc 0 1", "aiortc 0.1 3"]);
  assert.deepEqual(seen(record.relays), ["sluice  2", "nginx  2"]);
  assert.deepEqual(seen(record.servers), ["janus  4"]);
  assert.deepEqual(provenanceOf(record), [
    "clients: 2026-11-03 at 3323456, 2026-11-01 at 1123456",
    "servers: 2026-11-04 at 4423456",
    "relays: 2026-11-02 at 2223456",
    "all on m",
  ]);
});

test("the packets of a set-up have names", () => {
  assert.equal(nameOf(Buffer.from(`000100002112a442${"00".repeat(12)}`, "hex")), "STUN request");
  const record = { type: 22, sequenceNumber: 0, fragment: Uint8Array.of(1, 0, 0, 0) };
  assert.equal(nameOf(encodeRecord({ ...record, epoch: 0 })), "DTLS ClientHello");
  assert.equal(nameOf(encodeRecord({ ...record, epoch: 1 })), "DTLS Finished");
  assert.equal(nameOf(Buffer.from([0x80, 111, ...Array<number>(20).fill(0)])), "SRTP");
});

test("a table says what was not measured, and with which command a row was", () => {
  for (const { head, rows } of tablesOf(undefined)) {
    assert.equal(rows[0]![0], "not measured in this run");
    assert.equal(rows[0]!.length, head.length);
  }
  const origin = { version: "1", command: "npm run interop", commit: "c", date: "2026-11-26T00:00:00Z", machine: "m" };
  const relays = [
    { ...origin, peer: "here", pps: 50_000, cpu_us_per_packet: 12.5 },
    { ...origin, peer: "away", missing: "not installed" },
  ];
  const text = renderMarkdown({ clients: [], servers: [], relays });
  assert.match(text, /\| here \| 1 \| 50,000 \| 12.5 \|.*`npm run interop` \|/);
  assert.match(text, /\| away \| 1 \| not installed \|/);
});
