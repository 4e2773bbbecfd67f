/** A pinned part of the lab, in virtual time and so the same everywhere, that CI holds against `baseline.json`. */
import { loadScenarios, measureScenario } from "./measure.ts";
import type { summarise } from "./score.ts";

/** Scenarios and how often each is run. */
const PINNED = [
  ["barge-in-on-lte", 2],
  ["coughs", 2],
  ["lossy-turns", 1],
] as const;

/** The pinned figures. */
export async function measureBaseline(): Promise<{ scenarios: Record<string, ReturnType<typeof summarise>> }> {
  const all = await loadScenarios();
  const scenarios: Record<string, ReturnType<typeof summarise>> = {};
  for (const [name, runs] of PINNED) scenarios[name] = (await measureScenario(all.get(name)!, runs)).figures;
  return { scenarios };
}
