/** Real browsers call over WebTransport, with nothing but what the browser brings: on this machine, and through a relay. */
import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import { loadQuicEngine } from "@sluice/transceiver";
import type { Browser } from "playwright-core";
import { API_KEY, freeUdpPort, HOST, newKeys, startRelay, startTransceiver, until } from "../../lab/fleet.ts";
import { NetemProxy } from "../../lab/netem-proxy/proxy.ts";
import { startSluice } from "../../lab/sluice.ts";
import { concatenate, envelope, findIn, resample, silence, speak } from "../../lab/speech.ts";
import {
  type PageCaller,
  type PageReport,
  type PageTarget,
  placeWebTransportCall,
} from "../../lab/webtransport/page.ts";
import { launchChromium } from "../chromium.ts";

const loaded = loadQuicEngine();
const skip = loaded.engine ? false : loaded.reason;
const RATE = 48_000;
let browser: Browser;
let sentence: Int16Array;

before(async () => {
  if (skip) return;
  [browser, sentence] = await Promise.all([launchChromium(), speak("The quick brown fox.", { sampleRate: RATE })]);
});
after(() => browser?.close());

/** A call of which everything that happened so far is known. */
async function call(t: TestContext, target: PageTarget) {
  const caller = await placeWebTransportCall(await browser.newContext(), target);
  t.after(() => caller.hangUp());
  const events: PageReport["events"][number][] = [];
  let last: PageReport;
  const look = async () => {
    last = await caller.report();
    events.push(...last.events);
    return last;
  };
  return {
    caller,
    events,
    look,
    types: () => events.map(({ type }) => type),
    wait: (what: string, isSo: (report: PageReport) => boolean) => until(what, async () => isSo(await look())),
  };
}

const said = () => concatenate([silence(200, RATE), sentence, silence(1100, RATE)]);

/** How much alike a recording and the sentence are, by their loudness over time. */
async function likeness(caller: PageCaller, utterance: number): Promise<number> {
  const shape = (pcm: Int16Array) => envelope(resample(pcm, RATE, 24_000), 24_000);
  return findIn(shape(await caller.recording(utterance)), shape(sentence)).score;
}

test("a page talks over WebTransport, is answered in its own voice, and interrupts", { skip }, async (t) => {
  const sluice = await startSluice();
  t.after(() => sluice.stop());
  const { caller, events, types, wait, look } = await call(t, { url: sluice.url, session: { type: "realtime" } });
  await wait("the session is there", () => types().includes("session.created"));
  await caller.say(said());
  await wait("the answer begins", ({ utterances }) => (utterances[0]?.frames ?? 0) > 0);
  const began = performance.now();
  const words = sentence.length / RATE;
  await wait("the sentence has come", ({ utterances }) => utterances[0]!.frames > words * 50);
  assert.ok((performance.now() - began) / 1000 < words, "faster than it is spoken");
  assert.ok((await likeness(caller, 0)) > 0.8, `likeness ${await likeness(caller, 0)}`);
  assert.ok(!types().includes("response.output_audio.delta"), "speech does not ride in events");
  await caller.say(concatenate([sentence, silence(300, RATE)]));
  await wait("the interruption is understood", () => types().includes("output_audio_buffer.cleared"));
  const { utterances } = await look();
  assert.deepEqual([utterances[0]?.resetCode ?? 1, utterances[0]?.header.start], [1, 0]);
  const truncated = events.find(({ type }) => type === "conversation.item.truncated");
  assert.equal(truncated?.item_id, utterances[0]?.header.item_id);
  assert.ok(!types().includes("error") && !types().includes("page.error"));
});

test("through a relay, a caller whose address changes while it speaks is understood to the last word", {
  skip,
}, async (t) => {
  const keys = newKeys();
  const udpPort = await freeUdpPort();
  const relay = await startRelay({ keys, transceivers: [`0.1=${HOST}:${udpPort}`], grace: 0 });
  t.after(() => relay.stop("SIGKILL"));
  const proxy = await NetemProxy.open({
    listen: { address: HOST, port: 0 },
    target: { address: HOST, port: relay.port },
    seed: 1,
  });
  t.after(() => proxy.close());
  const transceiver = await startTransceiver({ keys, serverId: "0.1", udpPort, relays: [`${HOST}:${proxy.port}`] });
  t.after(() => transceiver.stop("SIGKILL"));
  const session = { type: "realtime", sluice: { timeline: true } };
  const { caller, events, types, wait } = await call(t, { url: transceiver.url, key: API_KEY, session });
  const saying = caller.say(said());
  await wait("it is heard", () => types().includes("input_audio_buffer.speech_started"));
  proxy.rebind();
  await saying;
  await wait("the answer has come", ({ utterances }) => utterances[0]?.ended === true);
  assert.ok((await likeness(caller, 0)) > 0.8, `likeness ${await likeness(caller, 0)}`);
  const turn = events.find(({ type }) => type === "sluice.turn") as { packets?: { lost: number } } | undefined;
  assert.equal(turn?.packets?.lost, 0);
  const metrics = await (await fetch(`${relay.metricsUrl}/metrics`)).text();
  assert.match(metrics, /relay_flow_confirmed [1-9]/, "it went through the relay");
});
