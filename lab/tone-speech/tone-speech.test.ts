import assert from "node:assert/strict";
import { test } from "node:test";
import { createRandom, Link } from "@sluice/netem";
import { loadOpus } from "@sluice/transceiver";
import fc from "fast-check";
import { concatenate, silence } from "../speech.ts";
import { sumErrors, wordErrors } from "./error-rate.ts";
import { chordsOf, HIGH_HZ, LOW_HZ, WORDS, wordOf, wordsOf } from "./lexicon.ts";
import { hearTones, transcribeTones } from "./listen.ts";
import { STEP_MS, speakTones } from "./voice.ts";

const FRAME = 480;
const said = (count: number, seed: number) => {
  const random = createRandom(seed);
  return Array.from({ length: count }, () => WORDS[Math.floor(random() * WORDS.length)]!);
};

test("180 words have chords of their own, and one wrong tone makes no word", () => {
  assert.equal(new Set(WORDS).size, 180);
  for (const word of WORDS) {
    const chords = chordsOf(word);
    assert.equal(wordOf(chords), word);
    for (const half of [0, 1] as const)
      for (const group of ["low", "high"] as const)
        for (let tone = 0; tone < 6; tone++) {
          if (chords[half][group] === tone) continue;
          const bent = [{ ...chords[0] }, { ...chords[1] }] as const;
          Object.assign(bent[half], { [group]: tone });
          assert.equal(wordOf(bent), undefined);
        }
  }
  assert.throws(() => wordsOf("Please, Kubernetes"), /no word "kubernetes"/);
});

test("every word is heard, at the sample where it was spoken", () => {
  const lead = 12_345;
  const { pcm, words } = speakTones(WORDS.join(" "));
  const heard = hearTones(concatenate([new Int16Array(lead), pcm, silence(200)]));
  assert.deepEqual(
    heard.map(({ text, startMs }) => ({ text, at: Math.round(startMs * 24) })),
    words.map(({ text, startMs }) => ({ text, at: startMs * 24 + lead })),
  );
  assert.ok(heard.every(({ clarity }) => clarity > 0.97));
});

test("48 kHz, as the browser records it, is heard alike", () => {
  const text = said(20, 3).join(" ");
  const { pcm, words } = speakTones(text, 48_000);
  const heard = hearTones(concatenate([silence(333, 48_000), pcm, silence(300, 48_000)]), { sampleRate: 48_000 });
  assert.deepEqual(
    heard.map(({ startMs }) => startMs - 333),
    words.map(({ startMs }) => startMs),
  );
});

test("noise, a hum and a sweep say nothing", () => {
  const random = createRandom(9);
  const noise = Int16Array.from({ length: 240_000 }, () => (random() - 0.5) * 20_000);
  const hum = Int16Array.from({ length: 240_000 }, (_, at) => 8000 * Math.sin((2 * Math.PI * 220 * at) / 24_000));
  const sweep = Int16Array.from(
    { length: 240_000 },
    (_, at) => 8000 * Math.sin(2 * Math.PI * (200 + at / 100) * (at / 24_000)),
  );
  for (const pcm of [noise, hum, sweep]) assert.equal(transcribeTones(pcm), "");
});

test("tones lie apart: none is another's harmonic", () => {
  const tones = [...LOW_HZ, ...HIGH_HZ];
  for (const tone of tones)
    for (const other of tones) {
      if (tone !== other) assert.ok(Math.abs(tone - other) >= 100);
      for (const harmonic of [2, 3, 4, 5])
        if (tone * harmonic < 3000) assert.ok(Math.abs(tone * harmonic - other) >= 10, `${tone} ${other}`);
    }
});

for (const bitrate of [16_000, 24_000, 32_000])
  for (const dtx of [false, true])
    test(`Opus at ${bitrate / 1000} kbit/s${dtx ? " with DTX" : ""} keeps every word and its place to a millisecond`, async () => {
      for (const mode of ["voip", "lowDelay"] as const) {
        const words = said(80, bitrate);
        // Pauses between phrases, so that DTX has something to leave out.
        const phrases = Array.from({ length: 8 }, (_, i) => words.slice(i * 10, i * 10 + 10).join(" "));
        const original = concatenate(phrases.flatMap((phrase) => [speakTones(phrase).pcm, silence(800)]));
        const coded = await overOpus(original, { mode, bitrate, dtx });
        const heard = hearTones(coded.pcm);
        assert.deepEqual(
          heard.map(({ text }) => text),
          words,
        );
        // The codec's own delay is its look-ahead: the same for every word.
        const expected = hearTones(original).map(({ startMs }) => startMs);
        const delays = heard.map(({ startMs }, at) => startMs - expected[at]!);
        const least = Math.min(...delays);
        assert.ok(Math.max(...delays) - least <= 1, `${mode}: places differ by ${Math.max(...delays) - least} ms`);
        assert.ok(least >= 0 && least < 9, `${mode}: delay ${least} ms`);
        if (dtx && mode === "voip") assert.ok(coded.tiny > 50, "DTX left nothing out");
      }
    });

test("loss without repair costs words, concealment invents none, and more loss costs more", async () => {
  const words = said(150, 5);
  const original = speakTones(words.join(" ")).pcm;
  const rates: number[] = [];
  for (const loss of [0.01, 0.1, 0.35]) {
    const { pcm } = await overOpus(original, { mode: "voip", bitrate: 24_000, loss });
    const errors = wordErrors(
      words,
      hearTones(pcm).map(({ text }) => text),
    );
    assert.ok(errors.inserted + errors.substituted <= 2, `${errors.inserted} invented, ${errors.substituted} mistaken`);
    rates.push(errors.rate);
  }
  assert.ok(rates[0]! < 0.02 && rates[2]! > 0.2, `${rates}`);
  for (let at = 1; at < rates.length; at++) assert.ok(rates[at]! >= rates[at - 1]!, `${rates}`);
});

test("a burst that swallows a word deletes that word alone", async () => {
  const words = said(10, 8);
  const { pcm } = await overOpus(speakTones(words.join(" ")).pcm, {
    mode: "voip",
    bitrate: 24_000,
    // The fifth word, and the gap after it.
    lost: (frame) => frame >= 4 * (STEP_MS / 20) && frame < 5 * (STEP_MS / 20),
  });
  const heard = hearTones(pcm).map(({ text }) => text);
  assert.deepEqual(
    heard,
    words.filter((_, at) => at !== 4),
  );
});

test("the error rate is the fewest errors, whatever their kind", () => {
  const count = (said: string, heard: string) => {
    const { substituted, deleted, inserted } = wordErrors(said.split(" "), heard === "" ? [] : heard.split(" "));
    return [substituted, deleted, inserted];
  };
  assert.deepEqual(count("a b c", "a b c"), [0, 0, 0]);
  assert.deepEqual(count("a b c", "a x c"), [1, 0, 0]);
  assert.deepEqual(count("a b c", "a c"), [0, 1, 0]);
  assert.deepEqual(count("a b c", "a b d c"), [0, 0, 1]);
  assert.deepEqual(count("a b c", ""), [0, 3, 0]);
  const words = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 8 });
  fc.assert(
    fc.property(words, words, (one, other) => {
      const errors = wordErrors(one, other);
      const total = errors.substituted + errors.deleted + errors.inserted;
      assert.equal(one.length - errors.deleted + errors.inserted, other.length);
      assert.ok(total >= Math.abs(one.length - other.length) && total <= Math.max(one.length, other.length));
      const back = wordErrors(other, one);
      assert.equal(back.substituted + back.deleted + back.inserted, total);
    }),
  );
  assert.equal(sumErrors([wordErrors(["a"], []), wordErrors(["a", "b", "c"], ["a", "b", "c"])]).rate, 0.25);
});

/** `pcm` encoded and decoded; frames that a seeded link loses, or `lost` names, are concealed by libopus. */
async function overOpus(
  pcm: Int16Array,
  options: {
    readonly mode: "voip" | "lowDelay";
    readonly bitrate: number;
    readonly dtx?: boolean;
    readonly loss?: number;
    readonly lost?: (frame: number) => boolean;
  },
): Promise<{ pcm: Int16Array; tiny: number }> {
  const opus = await loadOpus();
  const { mode, bitrate, dtx = false, loss = 0, lost } = options;
  const [encoder, decoder] = [await opus.createEncoder({ mode, bitrate, dtx }), await opus.createDecoder()];
  const link = new Link<number>({ loss }, 4);
  const out: Int16Array[] = [];
  let tiny = 0;
  for (let frame = 0; (frame + 1) * FRAME <= pcm.length + FRAME; frame++) {
    const part = new Int16Array(FRAME);
    part.set(pcm.subarray(frame * FRAME, (frame + 1) * FRAME));
    const packet = encoder.encode(part);
    if (packet.length <= 2) tiny += 1;
    link.handlePacket(frame * 20, packet, frame);
    const arrived = link.nextArrival(frame * 20);
    out.push((arrived && !lost?.(frame) ? decoder.decode(arrived.packet) : undefined) ?? decoder.conceal(20));
  }
  encoder.free();
  decoder.free();
  return { pcm: concatenate(out), tiny };
}
