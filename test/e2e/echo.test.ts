/**
 * The agent does not hear itself: what the SDK plays is taken out of the microphone by the browser's echo canceller. Needs
 * a sound device that loops back: PulseAudio with a sink whose monitor is the microphone. Chromium's fake devices will
 * not do: what is played into them never reaches its canceller (docs/decisions/0022-client.md).
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { pulseMissing, servePulse } from "../../lab/pulse.ts";
import { startSluice } from "../../lab/sluice.ts";
import { launchChromium } from "../chromium.ts";

const missing = pulseMissing(); // test/run.ts installs "pulseaudio"
const skip = missing ? `not run: ${missing}` : false;

test("what the agent says through the loudspeaker is not in the microphone", { skip }, async (t) => {
  await using loop = await servePulse({ loop: true });
  const server = await startSluice();
  const browser = await launchChromium({ devices: "real", env: loop.env });
  try {
    const page = await browser.newPage();
    await page.goto(`${server.url}/?transport=websocket`);
    // The room's own ear: the same microphone without a canceller, opened before the page's own.
    await page.evaluate(async () => {
      const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      const context = new AudioContext();
      const analyser = new AnalyserNode(context, { fftSize: 2048 });
      context.createMediaStreamSource(await navigator.mediaDevices.getUserMedia({ audio })).connect(analyser);
      const samples = new Float32Array(2048);
      const room = () => {
        analyser.getFloatTimeDomainData(samples);
        return samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
      };
      Object.assign(window, { room });
    });
    await page.click("#talk");
    await page.waitForSelector("#text:enabled");
    const heard = await page.evaluate(async () => {
      const { room } = window as unknown as { room: () => number };
      let speaksSince: number | undefined;
      const text = document.querySelector<HTMLInputElement>("#text")!;
      text.value =
        "I will now say something that is long enough to be cancelled, and then I will say a little more of it.";
      text.form!.requestSubmit();
      // What the page sends is what its meter shows.
      const meter = document.querySelector<HTMLMeterElement>("#level-in")!;
      const heard = { sentPerRoom: [] as number[], interruptions: 0 };
      addEventListener("sluice:event", (event) => {
        const { type } = (event as CustomEvent<{ type: string }>).detail;
        if (type === "input_audio_buffer.speech_started") heard.interruptions += 1;
      });
      const until = performance.now() + 9000;
      while (performance.now() < until) {
        await new Promise((resolve) => setTimeout(resolve, 40));
        const now = { room: room(), sent: 10 ** (meter.value / 10) };
        if (now.room > 1e-4) speaksSince ??= performance.now();
        // A canceller needs a second to learn the room.
        if (speaksSince === undefined || performance.now() - speaksSince < 1500) continue;
        if (now.room > 1e-4) heard.sentPerRoom.push(now.sent / now.room);
      }
      return heard;
    });
    assert(heard.sentPerRoom.length > 40, `the loudspeaker is in the microphone (${heard.sentPerRoom.length} times)`);
    // The median: after a stall of the machine the canceller learns the room again for a moment.
    const median = heard.sentPerRoom.sort((a, b) => a - b)[heard.sentPerRoom.length >> 1]!;
    const db = 10 * Math.log10(median + 1e-12);
    t.diagnostic(`the canceller takes away ${(-db).toFixed(1)} dB`);
    assert(db < -20, `only ${(-db).toFixed(1)} dB are cancelled`);
    // Before it has learnt, the very first words of a session come back: the server knows them for its own.
    assert.equal(heard.interruptions, 0, "the agent is not taken for the caller");
  } finally {
    await browser.close();
    await server.stop();
  }
});
