/** Charts as SVG text, drawn without a browser: sober, readable in print, with their own scales and labels. */

/** A linear or logarithmic scale from values to pixels. */
export type Scale = (value: number) => number;

/** The words of a chart, escaped. */
export function plain(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}

/** A number for a person: three digits that matter, thousands parted by thin spaces. */
export function format(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1000)
    return Math.round(value)
      .toString()
      .replace(/\B(?=(\d{3})+$)/g, "\u2009");
  if (size >= 100 || Number.isInteger(value)) return Math.round(value).toString();
  if (size >= 10) return value.toFixed(1).replace(/\.0$/, "");
  if (size > 0.99 && size < 1) return value.toFixed(4).replace(/0+$/, ""); // 0.998 is not all of it
  if (size >= 0.095) return value.toFixed(2).replace(/0$/, "").replace(/\.0$/, "");
  return size < 1e-4 ? "0" : value.toPrecision(2).replace(/(\.\d*?)0+$/, "$1");
}

/** Maps `[from, to]` onto `[start, end]`. */
export function linear(from: number, to: number, start: number, end: number): Scale {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

/** The same by logarithm; nothing below `from`. */
export function logarithmic(from: number, to: number, start: number, end: number): Scale {
  const scale = linear(Math.log(from), Math.log(to), start, end);
  return (value) => scale(Math.log(Math.max(from, value)));
}

const svg = (width: number, height: number, title: string, body: string) =>
  `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${plain(title)}" ` +
  `font-family="'IBM Plex Sans',system-ui,sans-serif" font-size="12"><title>${plain(title)}</title>${body}</svg>`;
const text = (x: number, y: number, words: string, more = "") =>
  `<text x="${fixed(x)}" y="${fixed(y)}" ${more}>${plain(words)}</text>`;
const line = (x1: number, y1: number, x2: number, y2: number, more: string) =>
  `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" ${more}/>`;
const fixed = (value: number) => Number(value.toFixed(1));

const INK = "#1c2127";
const GREY = "#6b7480";
const RULE = "#e3e6ea";
const BLUE = "#2a5fa5";
const RED = "#b3392f";

/** What people feel: a natural gap, a thought, a bad line. */
export const PERCEIVED = [
  { ms: 200, label: "200" },
  { ms: 500, label: "500" },
  { ms: 800, label: "800 ms" },
] as const;

/** One row of {@link distributions}. */
export interface DistributionRow {
  readonly label: string;
  readonly note: string;
  readonly values: readonly number[];
}

/** Every value as a dot, with its median and 5th to 95th percentile, against the lines of what people feel. */
export function distributions(rows: readonly DistributionRow[], width = 960): string {
  const [left, right, top, step] = [190, 118, 34, 38];
  const most = Math.max(1000, ...rows.flatMap(({ values }) => values));
  const limit = Math.ceil(most / 500) * 500;
  const x = linear(0, limit, left, width - right);
  const height = top + rows.length * step + 30;
  let body = "";
  for (let ms = 0; ms <= limit; ms += limit > 3000 ? 1000 : 500) {
    body += line(x(ms), top - 6, x(ms), height - 26, `stroke="${RULE}"`);
    body += text(
      x(ms),
      height - 10,
      ms === 0 ? "0" : `${format(ms)}`,
      `fill="${GREY}" text-anchor="middle" font-size="11"`,
    );
  }
  for (const { ms, label } of PERCEIVED) {
    body += line(x(ms), top - 8, x(ms), height - 26, `stroke="${RED}" stroke-dasharray="2 3"`);
    body += text(x(ms), top - 13, label, `fill="${RED}" text-anchor="middle" font-size="11"`);
  }
  body += text(width - right + 14, top - 13, "p50", `fill="${GREY}" font-size="11"`);
  body += text(width - right + 66, top - 13, "p95 ms", `fill="${GREY}" font-size="11"`);
  rows.forEach((row, at) => {
    const y = top + at * step + step / 2;
    const sorted = row.values.toSorted((a, b) => a - b);
    const q = (share: number) => sorted[Math.round(share * (sorted.length - 1))] ?? Number.NaN;
    body += text(0, y - 2, row.label, `fill="${INK}" font-weight="600"`);
    body += text(0, y + 12, row.note, `fill="${GREY}" font-size="11"`);
    if (sorted.length === 0) {
      body += text(left, y + 4, "not measured in this run", `fill="${GREY}" font-style="italic"`);
      return;
    }
    body += line(
      x(q(0.05)),
      y,
      x(q(0.95)),
      y,
      `stroke="${BLUE}" stroke-width="7" stroke-opacity="0.16" stroke-linecap="round"`,
    );
    sorted.forEach((value, place) => {
      const spread = ((place * 7) % 11) - 5; // beside each other, always the same way
      body += `<circle cx="${fixed(x(value))}" cy="${fixed(y + spread)}" r="1.8" fill="${BLUE}" fill-opacity="0.45"/>`;
    });
    body += line(x(q(0.5)), y - 10, x(q(0.5)), y + 10, `stroke="${INK}" stroke-width="2"`);
    body += text(width - right + 40, y + 4, format(q(0.5)), `fill="${INK}" text-anchor="end" font-weight="600"`);
    body += text(width - right + 98, y + 4, format(q(0.95)), `fill="${INK}" text-anchor="end"`);
  });
  return svg(width, height, "Mouth to ear, every turn", body);
}

/** The stages of a turn and their colours, in the order in which they pass. */
export const STAGES = [
  ["capture", "#9aa7b5"],
  ["silence", "#d8dde3"],
  ["endpointing", "#c7863c"],
  ["engine", "#2a5fa5"],
  ["recognition", "#b0699a"],
  ["model", "#2a5fa5"],
  ["clause", "#7fa6d6"],
  ["voice", "#7d68a8"],
  ["lead", "#b9aed3"],
  ["egress", "#4b8f7b"],
  ["playout", "#86b3a5"],
] as const;

/** One row of {@link waterfalls}. */
export interface WaterfallRow {
  readonly label: string;
  readonly note: string;
  readonly stages: Readonly<Record<string, number>>;
}

/** Where the milliseconds of a turn went: one bar a row, one piece a stage. */
export function waterfalls(rows: readonly WaterfallRow[], width = 960): string {
  const [left, right, top, step] = [190, 70, 40, 36];
  const sum = ({ stages }: WaterfallRow) => Object.values(stages).reduce((total, ms) => total + Math.max(0, ms), 0);
  const limit = Math.max(1, ...rows.map(sum)) * 1.02;
  const x = linear(0, limit, left, width - right);
  const height = top + rows.length * step + 8;
  let body = "";
  let key = left;
  for (const [name, colour] of STAGES) {
    if (!rows.some(({ stages }) => (stages[name] ?? 0) > 0.5)) continue;
    body += `<rect x="${key}" y="6" width="11" height="11" fill="${colour}"/>${text(key + 16, 16, name, `fill="${GREY}"`)}`;
    key += 30 + name.length * 7;
  }
  for (const { ms } of PERCEIVED)
    if (ms < limit) body += line(x(ms), top - 8, x(ms), height - 8, `stroke="${RED}" stroke-dasharray="2 3"`);
  rows.forEach((row, at) => {
    const y = top + at * step;
    body += text(0, y + 9, row.label, `fill="${INK}" font-weight="600"`);
    body += text(0, y + 23, row.note, `fill="${GREY}" font-size="11"`);
    let from = 0;
    const known = STAGES.map(([name]) => name as string);
    for (const [name, ms] of Object.entries(row.stages).sort(([a], [b]) => known.indexOf(a) - known.indexOf(b))) {
      if (ms <= 0) continue;
      const colour = STAGES.find(([stage]) => stage === name)?.[1] ?? "#444";
      const wide = x(from + ms) - x(from);
      body += `<rect x="${fixed(x(from))}" y="${y}" width="${fixed(wide)}" height="20" fill="${colour}"><title>${name} ${format(ms)} ms</title></rect>`;
      if (wide > 34) {
        const ink = ["silence", "capture", "lead", "clause", "playout"].includes(name) ? INK : "#fff";
        body += text(x(from) + wide / 2, y + 14, format(ms), `fill="${ink}" text-anchor="middle" font-size="11"`);
      }
      from += ms;
    }
    body += text(x(from) + 8, y + 14, `${format(from)} ms`, `fill="${INK}" font-weight="600"`);
  });
  return svg(width, height, "Stages of a turn, medians", body);
}

/** A line of {@link lines}. */
export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Shares against shares. */
export function lines(title: string, series: readonly Series[], most: number, width = 460, height = 260): string {
  const [left, right, top, bottom] = [46, 92, 30, 38];
  const x = linear(0, 0.2, left, width - right);
  const y = linear(0, most, height - bottom, top);
  let body = text(0, 14, title, `fill="${INK}" font-weight="600"`);
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    body += line(left, y(share * most), width - right, y(share * most), `stroke="${RULE}"`);
    body += text(
      left - 8,
      y(share * most) + 4,
      `${format(share * most * 100)} %`,
      `fill="${GREY}" text-anchor="end" font-size="11"`,
    );
  }
  for (const loss of [0, 0.02, 0.05, 0.1, 0.2])
    body += text(x(loss), height - bottom + 16, `${loss * 100}`, `fill="${GREY}" text-anchor="middle" font-size="11"`);
  body += text(
    (left + width - right) / 2,
    height - 6,
    "packets lost, %",
    `fill="${GREY}" text-anchor="middle" font-size="11"`,
  );
  let lastLabelY = Infinity;
  const ordered = series.toSorted((a, b) => (a.points.at(-1)?.[1] ?? 0) - (b.points.at(-1)?.[1] ?? 0));
  for (const { name, colour, points } of ordered) {
    const path = points.map(([px, py], at) => `${at === 0 ? "M" : "L"}${fixed(x(px))} ${fixed(y(py))}`).join("");
    body += `<path d="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`;
    for (const [px, py] of points) body += `<circle cx="${fixed(x(px))}" cy="${fixed(y(py))}" r="3" fill="${colour}"/>`;
    const last = points.at(-1);
    if (!last) continue; // the page says below that it was not measured
    const labelY = Math.min(y(last[1]) + 4, lastLabelY - 15);
    lastLabelY = labelY;
    body += text(width - right + 10, labelY, name, `fill="${colour}" font-weight="600"`);
  }
  return svg(width, height, title, body);
}

/** One row of {@link dumbbells}. */
export interface DumbbellRow {
  readonly label: string;
  readonly before: number;
  readonly after: number;
  readonly note?: string;
}

/** From one figure to another, row by row. */
export function dumbbells(
  title: string,
  rows: readonly DumbbellRow[],
  names: readonly [string, string],
  width = 960,
): string {
  const [left, right, top, step] = [290, 80, 48, 26];
  const limit = Math.max(1, ...rows.flatMap(({ before, after }) => [before, after])) * 1.05;
  const x = linear(0, limit, left, width - right);
  const height = top + rows.length * step + 30;
  let body = text(0, 14, title, `fill="${INK}" font-weight="600"`);
  body += `<circle cx="${left + 5}" cy="${26}" r="4.5" fill="#fff" stroke="${GREY}" stroke-width="2"/>${text(left + 16, 30, names[0], `fill="${GREY}"`)}`;
  const second = left + 34 + names[0].length * 7;
  body += `<circle cx="${second}" cy="26" r="5" fill="${BLUE}"/>${text(second + 11, 30, names[1], `fill="${BLUE}"`)}`;
  const every = [50, 100, 200, 500, 1000, 2000].find((one) => limit / one <= 9) ?? 5000;
  for (let ms = 0; ms <= limit; ms += every) {
    body += line(x(ms), top - 6, x(ms), height - 26, `stroke="${RULE}"`);
    body += text(x(ms), height - 10, format(ms), `fill="${GREY}" text-anchor="middle" font-size="11"`);
  }
  rows.forEach(({ label, before, after, note = "" }, at) => {
    const y = top + at * step + step / 2;
    body += text(0, y + 4, label, `fill="${INK}"`);
    body += line(
      x(before),
      y,
      x(after),
      y,
      `stroke="${after <= before ? BLUE : RED}" stroke-width="2" stroke-opacity="0.5"`,
    );
    body += `<circle cx="${fixed(x(before))}" cy="${y}" r="4.5" fill="#fff" stroke="${GREY}" stroke-width="2"/>`;
    body += `<circle cx="${fixed(x(after))}" cy="${y}" r="5" fill="${BLUE}"/>`;
    body += text(width - right + 12, y + 4, note, `fill="${INK}" font-weight="600"`);
  });
  return svg(width, height, title, body);
}

/** One row of {@link bars}. */
export interface BarRow {
  readonly label: string;
  readonly value: number | undefined;
  /** What it is held to. */
  readonly mark?: number;
  readonly strong?: boolean;
}

/** Figures side by side, with the bar that each is held to. */
export function bars(title: string, rows: readonly BarRow[], unit: string, width = 460): string {
  const [left, right, top, step] = [170, 64, 28, 26];
  const limit = Math.max(1, ...rows.flatMap(({ value = 0, mark = 0 }) => [value, mark])) * 1.03;
  const x = linear(0, limit, left, width - right);
  const height = top + rows.length * step + 4;
  let body = text(0, 14, title, `fill="${INK}" font-weight="600"`);
  rows.forEach(({ label, value, mark, strong = true }, at) => {
    const y = top + at * step;
    body += text(0, y + 14, label, `fill="${INK}"`);
    if (value === undefined)
      body += text(left, y + 14, "not measured in this run", `fill="${GREY}" font-style="italic"`);
    else {
      body += `<rect x="${left}" y="${y + 2}" width="${fixed(x(value) - left)}" height="16" fill="${strong ? BLUE : "#b9c2cc"}"/>`;
      body += text(
        x(Math.max(value, mark ?? 0)) + 8,
        y + 14,
        `${format(value)} ${unit}`.trim(),
        `fill="${INK}" font-weight="600"`,
      );
    }
    if (mark !== undefined && value !== undefined)
      body += line(x(mark), y - 1, x(mark), y + 21, `stroke="${RED}" stroke-width="2"`);
  });
  return svg(width, height, title, body);
}

/** One row of {@link ranges}. */
export interface RangeRow {
  readonly label: string;
  readonly p50: number;
  readonly p95: number;
  readonly max: number;
  readonly colour?: string;
}

/** Medians, 95th percentiles and worst cases on a logarithmic scale of milliseconds. */
export function ranges(title: string, rows: readonly RangeRow[], width = 960): string {
  const [left, right, top, step] = [300, 120, 44, 22];
  const x = logarithmic(5, 5000, left, width - right);
  const height = top + rows.length * step + 28;
  let body = text(0, 14, title, `fill="${INK}" font-weight="600"`);
  body += text(width - right + 14, 34, "p50 / p95 / max", `fill="${GREY}" font-size="11"`);
  for (const ms of [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000]) {
    body += line(x(ms), top - 6, x(ms), height - 24, `stroke="${RULE}"`);
    body += text(x(ms), height - 8, format(ms), `fill="${GREY}" text-anchor="middle" font-size="11"`);
  }
  rows.forEach(({ label, p50, p95, max, colour = BLUE }, at) => {
    const y = top + at * step + step / 2;
    body += text(0, y + 4, label, `fill="${INK}"`);
    body += line(x(p50), y, x(max), y, `stroke="${colour}" stroke-width="1.5" stroke-opacity="0.5"`);
    body += line(x(p50), y, x(p95), y, `stroke="${colour}" stroke-width="5" stroke-opacity="0.35"`);
    body += `<circle cx="${fixed(x(p50))}" cy="${y}" r="4" fill="${colour}"/>`;
    body += text(width - right + 14, y + 4, `${format(p50)} / ${format(p95)} / ${format(max)}`, `fill="${INK}"`);
  });
  return svg(width, height, title, body);
}
