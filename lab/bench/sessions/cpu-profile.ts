/** Where this process spends its time, by V8's sampling profiler: shares of the time that it was not idle. */
import type { Profiler } from "node:inspector";
import { Session } from "node:inspector/promises";

/** A function or a place and its share of the busy time, itself alone. */
export interface Share {
  readonly where: string;
  readonly percent: number;
}

/** What dominates: functions, and what they sum up to by file or package. */
export interface Dominant {
  readonly functions: readonly Share[];
  readonly places: readonly Share[];
}

/** Begins to sample; the returned function ends it. */
export async function startProfile(): Promise<() => Promise<Dominant>> {
  const session = new Session();
  session.connect();
  await session.post("Profiler.enable");
  await session.post("Profiler.start");
  return async () => {
    const { profile } = await session.post("Profiler.stop");
    session.disconnect();
    return dominant(profile);
  };
}

function dominant({ nodes, samples = [], timeDeltas = [] }: Profiler.Profile): Dominant {
  const functions = new Map<string, number>();
  const places = new Map<string, number>();
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  for (const [at, id] of samples.entries()) {
    const { functionName, url } = frames.get(id) ?? { functionName: "?", url: "" };
    if (functionName === "(idle)") continue;
    const place = placeOf(functionName, url);
    add(places, place, timeDeltas[at] ?? 0);
    add(functions, `${functionName || "(anonymous)"} ${place}`, timeDeltas[at] ?? 0);
  }
  return { functions: largest(functions), places: largest(places) };
}

function placeOf(functionName: string, url: string): string {
  if (url === "") return functionName;
  return url.replace(/^.*\/node_modules\/((?:@[^/]+\/)?[^/]+).*$/, "$1").replace(/^.*\/(?=(packages|lab|cli)\/)/, "");
}

function add(sums: Map<string, number>, key: string, value: number): void {
  sums.set(key, (sums.get(key) ?? 0) + value);
}

function largest(sums: ReadonlyMap<string, number>): Share[] {
  const total = [...sums.values()].reduce((sum, value) => sum + value, 0);
  return [...sums]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 25)
    .map(([where, value]) => ({ where, percent: Number(((100 * value) / total).toFixed(1)) }));
}
