/** Who may join a call over Media over QUIC, over real sockets; what is said in it is `test/e2e/moq.test.ts`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadQuicEngine } from "@sluice/transceiver";
import { until } from "../../lab/fleet.ts";
import { Caller, CallerEndpoint, type CallerOptions, SessionRefused } from "../../lab/webtransport/caller.ts";
import { BareServer } from "../../lab/webtransport/server.ts";
import { loadMoqNet } from "../../packages/transceiver/src/node/moq-net.ts";

const loaded = loadQuicEngine();
const net = await loadMoqNet();
const skip = !loaded.engine ? loaded.reason : net.net ? false : net.reason;

test("sessions with one token have one call while it lives, for the page that asked", { skip }, async (t) => {
  const server = await BareServer.open({ engine: loaded.engine! });
  const endpoint = await CallerEndpoint.open(loaded.engine!);
  t.after(async () => {
    await endpoint.close();
    await server.close();
  });
  const connect = async (options: CallerOptions): Promise<number> => {
    try {
      await Caller.connect(endpoint, options);
      return 200;
    } catch (error) {
      assert.ok(error instanceof SessionRefused, String(error));
      return error.status;
    }
  };
  const origin = "https://example.com";
  const answer = server.answer(origin, 0, "moq");
  assert.match(answer.url, /^https:\/\/127\.0\.0\.1:\d+\/moq\?token=/);
  assert.equal(await connect({ answer, origin: "https://evil.example" }), 403);
  // A token that was shown is used up, whoever showed it.
  assert.equal(await connect({ answer, origin }), 401);

  const good = server.answer(origin, 0, "moq");
  assert.deepEqual([await connect({ answer: good, origin }), await connect({ answer: good, origin })], [200, 200]);
  assert.equal(server.moqCalls.length, 1, "both are in one call");
  assert.equal(await connect({ answer: good, origin: "https://evil.example" }), 403, "it is no call of everybody's");
  assert.equal(await connect({ answer: server.answer(origin, 0, "moq"), origin }), 200);
  assert.equal(server.moqCalls.length, 2, "another token, another call");

  const path = (url: string, to: string) => `${to}${new URL(url).search}`;
  const moq = server.answer(undefined, 0, "moq");
  const plain = server.answer();
  assert.equal(await connect({ answer: moq, path: path(moq.url, "/v1/realtime/webtransport") }), 401);
  assert.equal(await connect({ answer: plain, path: path(plain.url, "/moq") }), 401);

  // These callers speak no MoQ, so their sessions ended; the calls end after the grace.
  await until("the calls are over", () => server.moqCalls.every(({ closed }) => closed !== undefined));
  assert.equal(await connect({ answer: good, origin }), 401, "a call that has ended is not begun again");
  assert.deepEqual(server.server.stats().sessions, 0);
});
