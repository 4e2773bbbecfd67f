/** A fleet as an operator runs it: real browsers' calls go through relay and transceiver, and outlive what befalls those. */
import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import type { Browser, BrowserContext } from "playwright-core";
import { type Caller, placeCall } from "../../lab/caller.ts";
import { EAR_RATE, installEar, takeRecording } from "../../lab/ear.ts";
import {
  API_KEY,
  freeUdpPort,
  HOST,
  newKeys,
  type RelayProcess,
  startRedis,
  startRelay,
  startTransceiver,
  type TransceiverProcess,
  until,
} from "../../lab/fleet.ts";
import { NetemProxy } from "../../lab/netem-proxy/proxy.ts";
import { microphoneWav, resample, silence, speak } from "../../lab/speech.ts";
import { findTurns } from "../../lab/turns.ts";
import { launchChromium } from "../chromium.ts";

const [newKey, oldKey] = [newKeys(2)[1]!, newKeys(1)[0]!];
let sentence: Int16Array;
let browser: Browser;
let relay: RelayProcess;
let proxy: NetemProxy;
let transceiver: TransceiverProcess;
let secondUdpPort: number;

before(async () => {
  sentence = await speak("The quick brown fox.");
  browser = await launchChromium({
    microphoneWav: await microphoneWav([silence(500), sentence, silence(1300)]),
    loop: true,
  });
  const udpPort = await freeUdpPort();
  secondUdpPort = await freeUdpPort();
  const transceivers = [`0.1=${HOST}:${udpPort}`, `0.2=${HOST}:${secondUdpPort}`];
  relay = await startRelay({ keys: [oldKey], transceivers, grace: 0 });
  proxy = await openProxy(relay.port);
  transceiver = await startTransceiver({ keys: [oldKey], serverId: "0.1", udpPort, relays: [`${HOST}:${proxy.port}`] });
});
after(async () => {
  await browser?.close();
  proxy?.close();
  await Promise.all([relay?.stop("SIGKILL"), transceiver?.stop("SIGKILL")]);
});

function openProxy(port: number): Promise<NetemProxy> {
  return NetemProxy.open({ listen: { address: HOST, port: 0 }, target: { address: HOST, port }, seed: 1 });
}

/** Calls, and hangs up at the end of the test at the latest: no test waits for calls of another. */
async function call(t: TestContext, server = transceiver, context?: BrowserContext): Promise<Caller> {
  const target = { url: `${server.url}/v1/realtime/calls`, key: API_KEY };
  const caller = await placeCall(context ?? (await browser.newContext()), target);
  t.after(() => caller.hangUp());
  return caller;
}

/** Waits until the caller has been heard, and hears an answer, after now. */
async function talks(caller: Caller): Promise<void> {
  const { packetsReceived: before } = await caller.report();
  const events: string[] = [];
  await until("the caller is answered by voice", async () => {
    const report = await caller.report();
    assert.notEqual(report.state, "failed");
    assert.notEqual(report.state, "closed");
    events.push(...report.events);
    const heardAt = events.indexOf("input_audio_buffer.speech_started");
    return heardAt >= 0 && events.includes("output_audio_buffer.started", heardAt) && report.packetsReceived > before;
  });
}

test("a caller behind a NAT is answered in its own voice, through relay and transceiver", async (t) => {
  const context = await browser.newContext();
  await installEar(context);
  const caller = await call(t, transceiver, context);
  await talks(caller);
  await caller.page.waitForTimeout(4000);
  const utterance = resample(sentence, 24_000, EAR_RATE);
  // The microphone begins before the call is up, so the first may have been said to nobody.
  const turns = findTurns(await takeRecording(caller.page), Array(4).fill(utterance));
  const likeness = Math.max(0, ...turns.map((turn) => turn.likeness));
  assert(likeness > 0.5, `of ${turns.length} utterances one was heard again (likeness ${likeness.toFixed(2)})`);
  const metrics = await (await fetch(`${relay.metricsUrl}/metrics`)).text();
  assert.match(metrics, /relay_flow_confirmed [1-9]/, "it went through the relay");
});

test("a call outlives a NAT that forgets it", async (t) => {
  const caller = await call(t);
  proxy.rebind();
  await talks(caller);
  proxy.changePath("127.0.0.2");
  await talks(caller);
});

test("a call outlives a relay that is killed and started again, without Redis", async (t) => {
  const caller = await call(t);
  await relay.stop("SIGKILL");
  await relay.start();
  await talks(caller);
});

test("transceivers register in Redis, and relays find them and their calls there, whatever happens to either", async (t) => {
  const keys = newKeys();
  const redis = await startRedis();
  t.after(() => redis.stop("SIGKILL"));
  const [first, other] = await Promise.all([1, 2].map(() => startRelay({ keys, redis: redis.url })));
  assert(first && other);
  t.after(() => Promise.all([first.stop("SIGKILL"), other.stop("SIGKILL")]));
  const nat = await openProxy(first.port);
  t.after(() => nat.close());
  const relays = [`${HOST}:${nat.port}`];
  const registered = await startTransceiver({ keys, serverId: "0.3", relays, redis: redis.url });
  t.after(() => registered.stop("SIGKILL"));
  const caller = await call(t, registered);
  await first.stop("SIGKILL");
  await first.start();
  await talks(caller);
  await redis.poison();
  await other.stop("SIGKILL");
  await other.start();
  nat.retarget({ address: HOST, port: other.port });
  await talks(caller);
  await redis.stop("SIGKILL");
  await talks(caller);
});

test("keys change without the loss of a call", async (t) => {
  const early = await call(t);
  // First everybody learns to read the new key; then servers mint with it.
  await relay.stop();
  await relay.start([oldKey, newKey]);
  const relays = [`${HOST}:${proxy.port}`];
  const newer = await startTransceiver({
    keys: [newKey, oldKey],
    serverId: "0.2",
    udpPort: secondUdpPort,
    relays,
  });
  t.after(() => newer.stop("SIGKILL"));
  const late = await call(t, newer);
  await Promise.all([talks(early), talks(late)]);
  await early.hangUp();
  await relay.stop();
  await relay.start([newKey]);
  await talks(late);
  await relay.stop();
  await relay.start();
});

test("a transceiver that is told to end refuses new calls, and ends with its last one", async (t) => {
  const caller = await call(t);
  const ended = transceiver.stop("SIGTERM");
  await until("new calls are refused", () =>
    call(t).then(
      async (accepted) => {
        await accepted.hangUp();
        return false;
      },
      (error: Error) => /503/.test(error.message),
    ),
  );
  await talks(caller);
  await caller.hangUp();
  assert.equal(await ended, 0);
});
