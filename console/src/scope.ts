/** The oscilloscope: both levels over the last eight seconds, your voice above the line, the agent's below it. */

const SPAN_MS = 8_000;
const DIVISION_MS = 1_000;
const QUIET_DB = -60;
const REDUCED_MOTION_MS = 500;

interface Sample {
  readonly atMs: number;
  readonly caller: number;
  readonly agent: number;
}

/** Level in decibels below full scale, -60 to 0. */
export function decibels(rms: number): number {
  return Math.max(QUIET_DB, Math.min(0, 20 * Math.log10(Math.max(rms, 1e-6))));
}

/** The scope's screen. */
export class Scope {
  readonly #canvas: HTMLCanvasElement;
  readonly #samples: Sample[] = [];
  readonly #marks: { atMs: number; kind: "caller" | "agent" }[] = [];
  readonly #calm = matchMedia("(prefers-reduced-motion: reduce)");
  #drawnMs = Number.NEGATIVE_INFINITY;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw(this.#drawnMs)).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw(this.#drawnMs));
  }

  /** A turn's edge: where speech of either side began or ended. */
  mark(atMs: number, kind: "caller" | "agent"): void {
    this.#marks.push({ atMs, kind });
    if (this.#marks.length > 64) this.#marks.shift();
  }

  /** Two levels, 0 to 1 RMS. */
  sample(atMs: number, caller: number, agent: number): void {
    const scale = (rms: number) => 1 - decibels(rms) / QUIET_DB;
    this.#samples.push({ atMs, caller: scale(caller), agent: scale(agent) });
    while (this.#samples[0] && this.#samples[0].atMs < atMs - SPAN_MS) this.#samples.shift();
    const everyMs = this.#calm.matches ? REDUCED_MOTION_MS : 0;
    if (atMs - this.#drawnMs >= everyMs) this.#draw(atMs);
  }

  #draw(nowMs: number): void {
    this.#drawnMs = nowMs;
    const box = this.#canvas.getBoundingClientRect();
    const density = devicePixelRatio;
    const width = Math.round(box.width * density);
    const height = Math.round(box.height * density);
    if (this.#canvas.width !== width) this.#canvas.width = width;
    if (this.#canvas.height !== height) this.#canvas.height = height;
    const pen = this.#canvas.getContext("2d");
    if (!pen || width === 0) return;
    const style = getComputedStyle(this.#canvas);
    const colour = (name: string) => style.getPropertyValue(`--${name}`);
    const x = (atMs: number) => width * (1 + (atMs - nowMs) / SPAN_MS);
    const middle = height / 2;
    pen.clearRect(0, 0, width, height);
    pen.lineWidth = density;
    pen.strokeStyle = colour("graticule");
    pen.beginPath();
    const first = Number.isFinite(nowMs) ? Math.ceil((nowMs - SPAN_MS) / DIVISION_MS) * DIVISION_MS : 0;
    for (let division = 0; division <= SPAN_MS / DIVISION_MS; division++) {
      const at = Number.isFinite(nowMs)
        ? x(first + division * DIVISION_MS)
        : (width * division * DIVISION_MS) / SPAN_MS;
      pen.moveTo(Math.round(at) + 0.5, 0);
      pen.lineTo(Math.round(at) + 0.5, height);
    }
    for (const share of [0.25, 0.5, 0.75]) {
      pen.moveTo(0, Math.round(height * share) + 0.5);
      pen.lineTo(width, Math.round(height * share) + 0.5);
    }
    pen.stroke();
    for (const { atMs, kind } of this.#marks) {
      if (atMs < nowMs - SPAN_MS) continue;
      pen.strokeStyle = colour(kind);
      pen.setLineDash([2 * density, 3 * density]);
      pen.beginPath();
      pen.moveTo(x(atMs), kind === "caller" ? 0 : middle);
      pen.lineTo(x(atMs), kind === "caller" ? middle : height);
      pen.stroke();
      pen.setLineDash([]);
    }
    for (const [kind, sign] of [
      ["caller", -1],
      ["agent", 1],
    ] as const) {
      pen.fillStyle = colour(kind);
      pen.beginPath();
      pen.moveTo(x(this.#samples[0]?.atMs ?? nowMs), middle);
      for (const sample of this.#samples)
        pen.lineTo(x(sample.atMs), middle + sign * sample[kind] * (middle - 3 * density));
      pen.lineTo(x(this.#samples.at(-1)?.atMs ?? nowMs), middle);
      pen.fill();
    }
  }
}
