import assert from "node:assert/strict";
import { test } from "node:test";
import { loadOpus } from "@sluice/transceiver";
import { concatenate, resample, silence } from "../../speech.ts";
import { speakTones } from "../../tone-speech/voice.ts";
import type { HeardPiece } from "./messages.ts";
import { hearPrompt, hearWords, longestGap, mouthToEarMs, scoreAnswer, scorePrompt } from "./score.ts";

const PROMPT = ["hello", "how", "are", "you", "today"];

/** The prompt after 300 ms, in pieces of 20 ms. */
function pieces(origin: (frame: number) => HeardPiece["origin"] | "missing"): HeardPiece[] {
  const pcm = concatenate([silence(300), speakTones(PROMPT.join(" ")).pcm, silence(300)]);
  const frames = Math.floor(pcm.length / 480);
  return Array.from({ length: frames }, (_, at) => ({ at, origin: origin(at) })).flatMap(({ at, origin }) =>
    origin === "missing" ? [] : [{ mediaMs: at * 20, origin, pcm: pcm.slice(at * 480, at * 480 + 480) }],
  );
}

test("of a prompt, what was received or repaired counts as spoken; what was invented or never came does not", () => {
  const whole = pieces(() => "received");
  assert.deepEqual(scorePrompt(PROMPT, whole, hearPrompt(whole)), { frames: 62, intact: 62 });
  const repaired = pieces((frame) => (frame % 3 ? "received" : "repaired"));
  assert.equal(scorePrompt(PROMPT, repaired, hearPrompt(repaired)).intact, 62);
  const bad = pieces((frame) =>
    frame === 20 ? "concealed" : frame === 30 ? "fec" : frame === 40 ? "missing" : "received",
  );
  assert.equal(scorePrompt(PROMPT, bad, hearPrompt(bad)).intact, 59);
  const outside = pieces((frame) => (frame < 10 || frame > 80 ? "concealed" : "received"));
  assert.equal(scorePrompt(PROMPT, outside, hearPrompt(outside)).intact, 62, "silence around it is no part of it");
  assert.equal(scorePrompt(PROMPT, [], []).intact, 0);
});

test("of an answer, each 20 ms that opus coded counts, each that was invented or silent does not", async () => {
  const opus = await loadOpus();
  const [encoder, decoder] = [await opus.createEncoder({ mode: "lowDelay" }), await opus.createDecoder()];
  const spoken = concatenate([silence(200), speakTones(PROMPT.join(" ")).pcm, silence(200)]);
  const through = (isLost: (frame: number) => boolean) => {
    const parts: Int16Array[] = [];
    for (let at = 0; at + 480 <= spoken.length; at += 480) {
      const packet = encoder.encode(spoken.slice(at, at + 480));
      parts.push(isLost(at / 480) ? decoder.conceal(20) : decoder.decode(packet)!);
    }
    return resample(concatenate(parts), 24_000, 48_000);
  };
  const clear = through(() => false);
  const heard = hearWords(clear);
  assert.equal(heard.length, PROMPT.length);
  assert.deepEqual(scoreAnswer(PROMPT, clear, heard), { frames: 50, intact: 50 });
  assert.equal(longestGap(PROMPT, clear, heard)?.ms, 0);
  const lossy = through((frame) => frame % 10 === 4);
  const { intact } = scoreAnswer(PROMPT, lossy, hearWords(lossy));
  // Six were lost, and each bends the beginning of the next.
  assert(intact <= 46 && intact >= 36, `${intact} of 50`);
  const cut = clear.slice();
  cut.fill(0, 0.5 * 48_000, 0.6 * 48_000); // in the second word
  const gap = longestGap(PROMPT, cut, hearWords(cut))?.ms ?? 0;
  assert(Math.abs(gap - 40) < 6, `${gap} ms`);
  encoder.free();
  decoder.free();
});

test("from mouth to ear: from the prompt's end to the answer's beginning, also where its first word is lost", () => {
  const turn = { prompt: ["hello"], answer: ["you", "today"] };
  const said = [{ text: "hello", startMs: 100, clarity: 1 }];
  const heard = [
    { text: "you", startMs: 1000, clarity: 1 },
    { text: "today", startMs: 1260, clarity: 1 },
  ];
  assert.equal(mouthToEarMs(turn, said, heard), 700);
  assert.equal(mouthToEarMs(turn, said, heard.slice(1)), 700);
  assert.equal(mouthToEarMs(turn, said, []), undefined);
});
