/**
 * Connects and disconnects, and tells by how much the heap grew: run with --expose-gc. Of four calls one is given up
 * after the answer, one in the middle of its handshake, one is hung up by us and one by the client.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Call, endClients, openServer, until } from "./call.ts";

const CONCURRENT = 4;
const cycles = Number(process.argv[2]);
const server = await openServer();

async function cycle(kind: number): Promise<void> {
  const call = await Call.open(server, { impatient: kind < 2 });
  if (kind === 1) await until("the handshake began", () => call.proxy.toServer.some((each) => each[0] === 22));
  if (kind === 2) {
    call.send("hello");
    await until("it is answered", () => call.events.length > 0);
  }
  if (kind < 3) server.hangup(call.callId, "hung up");
  await call.close();
}

async function churn(count: number): Promise<number> {
  for (let done = 0; done < count; done += CONCURRENT) {
    await Promise.all(Array.from({ length: CONCURRENT }, (_, kind) => cycle(kind)));
  }
  await sleep(1_100); // the longest timer that a session may leave behind
  globalThis.gc!();
  globalThis.gc!();
  return process.memoryUsage().heapUsed;
}

const before = await churn(Math.max(CONCURRENT, cycles / 5)); // code is compiled and caches are filled
const after = await churn(cycles);
const left = { sessions: server.stats().sessions, grewBytes: after - before };
await server.close();
process.stdout.write(`${JSON.stringify(left)}\n`, () => {
  endClients();
  process.exit(0); // node-datachannel keeps threads for a while
});
