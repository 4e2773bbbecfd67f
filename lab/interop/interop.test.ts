import assert from "node:assert/strict";
import { after, test } from "node:test";
import { converse, startAgent } from "./conversation.ts";
import { PEERS } from "./peers.ts";
import { renderMarkdown, tablesOf } from "./report.ts";

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
