/**
 * Sounds of a caller that are no words, made by arithmetic from a seed: no recording is kept here. They stand for the real
 * ones as far as their make-up goes (Korpáš, Sadloňová, Vrabec: Analysis of the Cough Sound, 1996), and no further.
 */
import { SAMPLE_RATE } from "@sluice/conversation";
import { createRandom } from "@sluice/netem";

/**
 * One cough: an explosive burst of 30 to 60 ms as the glottis opens, 120 to 220 ms of rushing air that fades, and in two of
 * three a voiced rest of 40 to 110 ms at the end, all through the resonances of a throat.
 */
export function cough(seed: number, level = 0.35): Int16Array {
  const random = createRandom(seed);
  const between = (low: number, high: number) => low + (high - low) * random();
  const burstMs = between(30, 60);
  const rushMs = between(120, 220);
  const voicedMs = random() < 2 / 3 ? between(40, 110) : 0;
  const pitchHz = between(140, 260);
  const length = Math.round(((burstMs + rushMs + voicedMs) * SAMPLE_RATE) / 1000);
  const source = new Float64Array(length);
  let phase = 0;
  for (let at = 0; at < length; at++) {
    const ms = (at * 1000) / SAMPLE_RATE;
    const noise = 2 * random() - 1;
    if (ms < burstMs) source[at] = noise * Math.min(1, ms / 4);
    else if (ms < burstMs + rushMs) source[at] = noise * 0.8 * Math.exp((-2.2 * (ms - burstMs)) / rushMs);
    else {
      const share = (ms - burstMs - rushMs) / voicedMs;
      phase += (pitchHz * (1 - 0.25 * share) * (1 + 0.06 * noise)) / SAMPLE_RATE; // coughs are hoarse
      if (phase >= 1) phase -= 1;
      source[at] =
        (0.5 * (phase < 0.1 ? 4 : -0.4) + 0.25 * noise) * Math.sin(Math.PI * Math.min(1, 0.15 + share * 0.85));
    }
  }
  return finish(throat(source, [between(450, 650), between(1200, 1600), between(2300, 2900)], [220, 300, 400]), level);
}

/**
 * A short "mhm" through closed lips: two hums with a breath between, the second higher, 260 to 420 ms. The nose lets through
 * what is below 400 Hz and little else.
 */
export function hum(seed: number, level = 0.12): Int16Array {
  const random = createRandom(seed);
  const between = (low: number, high: number) => low + (high - low) * random();
  const [firstMs, breathMs, secondMs] = [between(90, 140), between(30, 60), between(140, 220)];
  const pitchHz = between(100, 210);
  const length = Math.round(((firstMs + breathMs + secondMs) * SAMPLE_RATE) / 1000);
  const source = new Float64Array(length);
  let phase = 0;
  for (let at = 0; at < length; at++) {
    const ms = (at * 1000) / SAMPLE_RATE;
    const second = ms >= firstMs + breathMs;
    const [from, span] = ms < firstMs ? [0, firstMs] : second ? [firstMs + breathMs, secondMs] : [firstMs, breathMs];
    const share = (ms - from) / span;
    phase += (pitchHz * (second ? 1.15 + 0.1 * share : 1 - 0.05 * share)) / SAMPLE_RATE;
    if (phase >= 1) phase -= 1;
    const pulse = phase < 0.12 ? 4 : -0.5;
    const breath = !second && ms >= firstMs;
    const envelope = Math.sin(Math.PI * Math.min(1, 0.08 + share * 0.92)) ** 0.5;
    source[at] = breath ? 0.06 * (2 * random() - 1) : pulse * envelope + 0.01 * (2 * random() - 1);
  }
  return finish(
    throat(source, [between(240, 300), between(900, 1100), between(2100, 2500)], [60, 150, 250], [1, 0.05, 0.02]),
    level,
  );
}

/**
 * A throat being cleared: one or two growls of 120 to 220 ms, 30 to 80 ms apart. The vocal cords rattle at 60 to 110 Hz, no
 * two periods alike, and the air between them hisses.
 */
export function clearing(seed: number, level = 0.25): Int16Array {
  const random = createRandom(seed);
  const between = (low: number, high: number) => low + (high - low) * random();
  const growls = Array.from({ length: random() < 0.6 ? 2 : 1 }, () => [between(120, 220), between(30, 80)] as const);
  const samples = (ms: number) => Math.round((ms * SAMPLE_RATE) / 1000);
  const source = new Float64Array(growls.reduce((sum, [ms, gapMs]) => sum + samples(ms) + samples(gapMs), 0));
  let at = 0;
  for (const [ms, gapMs] of growls) {
    const length = samples(ms);
    const pitchHz = between(60, 110);
    let [phase, step] = [0, pitchHz / SAMPLE_RATE];
    for (let index = 0; index < length; index++) {
      phase += step;
      if (phase >= 1) {
        phase -= 1;
        step = (pitchHz * between(0.7, 1.3)) / SAMPLE_RATE;
      }
      const envelope = Math.sin(Math.PI * Math.min(1, 0.1 + (0.9 * index) / length)) ** 0.7;
      source[at + index] = envelope * ((phase < 0.15 ? 3 : -0.5) + 1.6 * (2 * random() - 1));
    }
    at += length + samples(gapMs);
  }
  return finish(throat(source, [between(400, 600), between(1000, 1400), between(2200, 2700)], [180, 260, 350]), level);
}

/** Six to ten keys of a keyboard, 70 to 160 ms apart: each a click of 3 to 6 ms as it is hit and a fainter one as it comes up. */
export function keyboard(seed: number, level = 0.2): Int16Array {
  const random = createRandom(seed);
  const between = (low: number, high: number) => low + (high - low) * random();
  const hits = Array.from({ length: Math.round(between(6, 10)) }, () => [between(70, 160), between(0.5, 1)] as const);
  const samples = (ms: number) => Math.round((ms * SAMPLE_RATE) / 1000);
  const source = new Float64Array(hits.reduce((sum, [ms]) => sum + samples(ms), 0) + samples(100));
  const click = (from: number, gain: number) => {
    const fadeMs = between(3, 6);
    for (let index = 0; index < samples(30); index++) {
      source[from + index]! += gain * (2 * random() - 1) * Math.exp((-1000 * index) / SAMPLE_RATE / fadeMs);
    }
  };
  let at = 0;
  for (const [ms, gain] of hits) {
    click(at, gain);
    click(at + samples(between(40, 60)), gain / 3);
    at += samples(ms);
  }
  return finish(throat(source, [between(180, 300), between(1800, 2400), between(3500, 5000)], [120, 900, 2000]), level);
}

/** A door that falls shut: the click of the latch, and wood that sounds on below 200 Hz for 150 to 300 ms. */
export function door(seed: number, level = 0.5): Int16Array {
  const random = createRandom(seed);
  const between = (low: number, high: number) => low + (high - low) * random();
  const samples = (ms: number) => Math.round((ms * SAMPLE_RATE) / 1000);
  const fadeMs = between(50, 100);
  const source = new Float64Array(samples(4 * fadeMs));
  for (let index = 0; index < source.length; index++) {
    const ms = (index * 1000) / SAMPLE_RATE;
    source[index] = (2 * random() - 1) * (Math.exp(-ms / fadeMs) + 0.6 * Math.exp(-ms / 4));
  }
  const modes = [between(70, 110), between(130, 190), between(300, 420)];
  return finish(throat(source, modes, [25, 40, 120], [1, 0.7, 0.15]), level);
}

/** Resonances side by side, at `formantsHz` with `widthsHz` and `gains`. */
function throat(
  source: Float64Array,
  formantsHz: readonly number[],
  widthsHz: readonly number[],
  gains: readonly number[] = [1, 0.7, 0.5],
): Float64Array {
  const out = new Float64Array(source.length);
  formantsHz.forEach((formantHz, index) => {
    const r = Math.exp((-Math.PI * widthsHz[index]!) / SAMPLE_RATE);
    const [a1, a2] = [2 * r * Math.cos((2 * Math.PI * formantHz) / SAMPLE_RATE), -r * r];
    const gain = gains[index]! * (1 - r);
    let [y1, y2] = [0, 0];
    for (let at = 0; at < source.length; at++) {
      const y = gain * source[at]! + a1 * y1 + a2 * y2;
      [y2, y1] = [y1, y];
      out[at]! += y;
    }
  });
  return out;
}

/** Scales to `level` (peak, of full scale) and takes the click off both ends. */
function finish(sound: Float64Array, level: number): Int16Array {
  const peak = sound.reduce((most, sample) => Math.max(most, Math.abs(sample)), 1e-9);
  const edge = SAMPLE_RATE / 500;
  return Int16Array.from(sound, (sample, at) => {
    const fade = Math.min(1, (at + 1) / edge, (sound.length - at) / edge);
    return Math.round((32_767 * level * fade * sample) / peak);
  });
}
