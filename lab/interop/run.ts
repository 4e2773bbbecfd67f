/**
 * `npm run interop`: Sluice beside other stacks, over loopback: their clients against Sluice, their servers and relays by our
 * instrument; and our page in their browser. What is not installed is skipped with a line. Figures go to `lab/report/peers.json`,
 * which `npm run lab` shows; rows that are measured again replace those before, as soon as a peer is done.
 *
 *     npm run interop [-- --only aiortc,janus] [--parts clients,setups,servers,relays,browsers] [--install] [--json] [--docs]
 *                     [--rounds 3] [--sessions 10] [--seconds 5] [--calls 4] [--repeat 1] [--setups 12] [--trace]
 *                     [--from 0] [--out FILE]
 *
 * `--docs`: puts what this run measures into docs/peers.json, too, and writes docs/peers.md from that.
 * `--repeat N`: each client calls N times at each loss, with other losses each time; a row works if all of them did.
 * `--setups N`: calls of each client at each loss whose set-up is timed; `--trace` shows the packets of the slowest.
 * `--from N`: packets a second that the search of the relays begins with.
 */
import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { launchFirefox } from "../firefox.ts";
import { servePulse } from "../pulse.ts";
import { quantile } from "../quantile.ts";
import { describeCommit, describeMachine } from "../report.ts";
import { startSluice } from "../sluice.ts";
import { PIPES, talkInFirefox } from "./browsers.ts";
import { converse, startAgent } from "./conversation.ts";
import { type LoadFigures, measureEchoLoss, measureLoad, median, startEcho } from "./echo.ts";
import { absence, installPeers, PEERS, type Peer } from "./peers.ts";
import { addToRecord } from "./record.ts";
import {
  type BrowserRow,
  type ClientRow,
  type Provenance,
  type RelayRow,
  renderMarkdown,
  type ServerRow,
  type SetupRow,
} from "./report.ts";
import { measureSetup } from "./setup.ts";

const PARTS = ["clients", "setups", "servers", "relays", "browsers"] as const;
const LOSSES = [0, 0.1, 0.2] as const;
/** The relay bench: five forwarders, up to 19 rates of 2 s each in a round, twice where packets are lost; then costs and delays. */
const RELAY_LIMIT_MS = 180_000;
const RELAY_ROUND_LIMIT_MS = 240_000;
/** Set-ups at a time: most of their time they wait. */
const SETUPS_AT_ONCE = 2;
const DOCS = join(import.meta.dirname, "..", "..", "docs");
/** Both directions and all proxies of a call take seeds near to each other. */
const SEED_STEP = 100;

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    parts: { type: "string", default: PARTS.join(",") },
    install: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    docs: { type: "boolean", default: false },
    rounds: { type: "string", default: "3" },
    sessions: { type: "string", default: "10" },
    seconds: { type: "string", default: "5" },
    calls: { type: "string", default: "4" },
    repeat: { type: "string", default: "1" },
    setups: { type: "string", default: "12" },
    trace: { type: "boolean", default: false },
    from: { type: "string", default: "0" },
    out: { type: "string", default: join(import.meta.dirname, "..", "report", "peers.json") },
  },
});
const only = values.only?.split(",");
const parts = values.parts.split(",").filter((part) => part !== "");
const unknown = [
  ...(only ?? []).filter((name) => !PEERS.some((peer) => peer.name === name)),
  ...parts.filter((part) => !PARTS.some((known) => known === part)),
];
if (unknown.length > 0) {
  console.error(
    `nothing is called ${unknown.join(", ")}; peers: ${PEERS.map(({ name }) => name).join(", ")}; parts: ${PARTS.join(", ")}`,
  );
  process.exit(2);
}
const chosen = PEERS.filter(({ name }) => only === undefined || only.includes(name));
if (values.install) installPeers(chosen);
const { cpu, cores, os, node } = describeMachine();
const place = {
  commit: describeCommit().replace(/^(.{12})[0-9a-f]*/, "$1"),
  date: new Date().toISOString(),
  machine: `${cpu}, ${cores} cores, ${os}, Node ${node}`,
};
const measured = {
  clients: [] as ClientRow[],
  setups: [] as SetupRow[],
  servers: [] as ServerRow[],
  relays: [] as RelayRow[],
  browsers: [] as BrowserRow[],
};

if (parts.includes("clients")) await measureClients("clients", callTurns);
if (parts.includes("setups")) await measureClients("setups", timeSetups);
if (parts.includes("servers")) await measureServers(chosen.filter(({ server }) => server));
if (parts.includes("relays") && chosen.some(({ relay }) => relay))
  await measureRelays(chosen.filter(({ relay }) => relay));
if (parts.includes("browsers")) await measureBrowsers(chosen.filter(({ browser }) => browser));
keep();
console.log(values.json ? JSON.stringify(measured) : renderMarkdown({ ...measured }));
const failed = [
  ...measured.clients.filter(({ works, loss }) => works === false && loss === 0),
  ...measured.browsers.filter(({ pipe, missing }) => pipe !== undefined && missing !== undefined),
];
process.exit(failed.length > 0 ? 1 : 0); // node-datachannel keeps threads for a while

/** Writes down what there is so far: a later part may fail. */
function keep(): void {
  addToRecord(values.out, measured);
  if (!values.docs) return;
  const record = addToRecord(join(DOCS, "peers.json"), measured);
  writeFileSync(join(DOCS, "peers.md"), renderMarkdown(record));
}

/** What `measure` finds of each client at each loss, all of them against one agent of ours. */
async function measureClients(
  part: "clients" | "setups",
  measure: (peer: Peer, url: string, loss: number) => Promise<Partial<ClientRow & SetupRow>>,
): Promise<void> {
  const peers = chosen.filter(({ client }) => client);
  if (peers.length === 0) return;
  const agent = await startAgent();
  try {
    for (const peer of peers) {
      const of = origin(peer, part);
      if (of.missing !== undefined) {
        measured[part].push(of);
        continue;
      }
      for (const loss of LOSSES) measured[part].push({ ...of, loss, ...(await measure(peer, agent.firstLine, loss)) });
      keep();
    }
  } finally {
    await agent.stop();
  }
}

/** The figures of the first call, and whether all were well. */
async function callTurns(peer: Peer, url: string, loss: number): Promise<Partial<ClientRow>> {
  const rows: Partial<ClientRow>[] = [];
  for (let seed = 1; seed <= Number(values.repeat); seed++) {
    const row = await attempt(`${peer.name} calls, ${loss * 100} % lost`, () =>
      converse(peer.client!, url, loss, 1 + (seed - 1) * SEED_STEP),
    );
    if (typeof row === "string") rows.push({ works: false, missing: row });
    else {
      const { works, setup_ms, prompt_wer, answer_wer, heard, missing } = row;
      if (answer_wer > 0) console.error(`  heard: ${heard}`);
      if (missing.length > 0) console.error(`  not received: ${missing.join(", ")}`);
      rows.push({ works, setup_ms, prompt_wer, answer_wer });
    }
  }
  const well = rows.filter(({ works }) => works).length;
  if (rows.length > 1) console.error(`  ${well} of ${rows.length} calls were well`);
  return { ...rows[0], works: well === rows.length };
}

/** The same seeds for every client. */
async function timeSetups(peer: Peer, url: string, loss: number): Promise<Partial<SetupRow>> {
  const calls = Number(values.setups);
  const times: number[] = [];
  let slowest: { readonly ms: number; readonly packets: readonly string[] } | undefined;
  let next = 0;
  const call = async () => {
    while (next < calls) {
      const seed = 1 + next++ * SEED_STEP;
      const packets: string[] = [];
      const found = await attempt(`${peer.name} sets up, ${loss * 100} % lost, seed ${seed}`, async () => ({
        ms: await measureSetup(peer.client!, url, loss, seed, (line) => packets.push(line)),
      }));
      const ms = typeof found === "string" ? Infinity : found.ms;
      if (ms < Infinity) times.push(ms);
      if (ms > (slowest?.ms ?? 0)) slowest = { ms, packets };
    }
  };
  await Promise.all(Array.from({ length: SETUPS_AT_ONCE }, call));
  if (values.trace && slowest) console.error([`slowest, ${slowest.ms.toFixed(0)} ms:`, ...slowest.packets].join("\n"));
  const failed = calls - times.length;
  if (times.length === 0) return { calls, failed };
  const [ms_p50 = 0, ms_p90 = 0, ms_max = 0] = [0.5, 0.9, 1].map((share) => Math.round(quantile(times, share)));
  return { calls, failed, ms_p50, ms_p90, ms_max };
}

async function measureServers(peers: readonly Peer[]): Promise<void> {
  const loads = new Map<Peer, LoadFigures[]>();
  const reasons = new Map<Peer, string>();
  const present = peers.filter((peer) => peer.version() !== undefined);
  for (let round = 1; round <= Number(values.rounds); round++)
    for (const peer of present) {
      const load = await attempt(`${peer.name} under load, round ${round}`, () =>
        withEcho(peer, (echo) => measureLoad(echo, Number(values.sessions), Number(values.seconds))),
      );
      if (typeof load === "string") reasons.set(peer, load);
      else loads.set(peer, [...(loads.get(peer) ?? []), load]);
    }
  for (const peer of peers) {
    const of = { ...origin(peer, "servers"), echo: peer.echo! };
    const rounds = loads.get(peer);
    if (!rounds) {
      measured.servers.push({ ...of, missing: of.missing ?? reasons.get(peer) ?? "no round was run" });
      continue;
    }
    const losses: { loss: number; wer?: number; missing?: string }[] = [];
    let took: { red?: boolean; nack?: boolean } = {};
    for (const loss of LOSSES) {
      const found = await attempt(`${peer.name} echoes, ${loss * 100} % lost`, () =>
        withEcho(peer, (echo) => measureEchoLoss(echo, loss, Number(values.calls))),
      );
      losses.push(typeof found === "string" ? { loss, missing: "did not connect" } : { loss, wer: found.wer });
      if (typeof found === "string") break; // nor would it with more loss
      took = { red: found.red, nack: found.nack };
    }
    const middle = (key: "setup_ms" | "cpu_us_per_packet" | "echoed" | "rss_mb") =>
      median(rounds.map((round) => round[key]));
    measured.servers.push({
      ...of,
      sessions: Number(values.sessions),
      setup_ms: middle("setup_ms"),
      cpu_us_per_packet: middle("cpu_us_per_packet"),
      echoed: middle("echoed"),
      rss_mb: middle("rss_mb"),
      rounds: rounds.length,
      losses,
      ...took,
    });
    keep();
  }
}

async function withEcho<T>(peer: Peer, work: (echo: Awaited<ReturnType<typeof startEcho>>) => Promise<T>): Promise<T> {
  const echo = await startEcho(peer);
  try {
    return await work(echo);
  } finally {
    await echo.server.stop();
  }
}

/** By the relay bench, which measures all of them in turn. */
async function measureRelays(peers: readonly Peer[]): Promise<void> {
  const absent = peers.filter((peer) => peer.version() === undefined);
  for (const peer of absent) measured.relays.push(origin(peer, "relays"));
  // The bench needs nginx whatever is asked for, and coturn to compare with.
  const needed = PEERS.filter(({ name }) => name === "nginx" || name === "coturn").filter(
    (peer) => peer.version() === undefined,
  );
  const flags = ["relay", "--json", "--coturn", "--rounds", values.rounds, "--from", values.from];
  const command = `npm run bench -- ${flags.join(" ").replace(" --from 0", "")}`;
  const found =
    needed.length > 0
      ? needed.map((peer) => `${peer.name}: ${absence(peer)}`).join("; ")
      : await attempt("relays", async () => {
          const file = join(import.meta.dirname, "..", "bench", "run.ts");
          const args = ["--conditions=sluice-source", file, ...flags];
          const { stdout } = await promisify(execFile)(process.execPath, args, {
            timeout: RELAY_LIMIT_MS + Number(values.rounds) * RELAY_ROUND_LIMIT_MS,
            maxBuffer: 1 << 26,
          });
          return JSON.parse(stdout) as { metrics: Record<string, number>; rows: Record<string, number | string>[] };
        });
  for (const peer of peers.filter((each) => !absent.includes(each))) {
    const of = { ...origin(peer, "relays"), command };
    if (typeof found === "string") {
      measured.relays.push({ ...of, missing: found });
      continue;
    }
    const name = peer.name === "sluice" ? "relay" : peer.name;
    const delays = found.rows.find(({ subject }) => subject === `${name} at 20k/s`);
    measured.relays.push({
      ...of,
      pps: found.metrics[`${name}_pps`]!,
      cpu_us_per_packet: found.metrics[`${name}_cpu_us`]!,
      delay_ms_p50: Number(delays?.p50_us) / 1000,
      delay_ms_p99: Number(delays?.p99_us) / 1000,
    });
  }
}

/** One after another: a browser slows down what is in a tab behind another. */
async function measureBrowsers(peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) {
    const of = origin(peer, "browsers");
    if (of.missing !== undefined) {
      measured.browsers.push(of);
      continue;
    }
    await using pulse = await servePulse();
    const [server, firefox] = await Promise.all([startSluice(), launchFirefox(pulse.env)]);
    try {
      for (const pipe of PIPES) {
        const turn = await attempt(`${peer.name} over ${pipe}`, () => talkInFirefox(firefox, server.url, pipe));
        if (typeof turn === "string") measured.browsers.push({ ...of, pipe, missing: `${pipe}: ${turn}` });
        else {
          const { connectedMs, mouthToEarMs, likeness } = turn;
          const heard = mouthToEarMs === undefined ? {} : { mouth_to_ear_ms: mouthToEarMs };
          measured.browsers.push({ ...of, pipe, connected_ms: connectedMs, ...heard, likeness });
        }
      }
    } finally {
      await firefox[Symbol.asyncDispose]();
      await server.stop();
    }
  }
}

/** Where a row of `peer` comes from; `missing` when it is not here. */
function origin(peer: Peer, part: string): Provenance {
  const version = peer.version();
  const command = `npm run interop -- --parts ${part} --only ${peer.name}`;
  if (version === undefined) console.error(`${peer.name}: skipped: ${absence(peer)}`);
  return {
    peer: peer.name,
    version: version ?? "",
    command,
    ...place,
    ...(version === undefined ? { missing: absence(peer) } : {}),
  };
}

/** What `work` gives, or why it failed. */
async function attempt<T extends object>(what: string, work: () => Promise<T>): Promise<T | string> {
  const from = performance.now();
  try {
    const result = await work();
    console.error(`${what}: ${((performance.now() - from) / 1000).toFixed(0)} s`);
    return result;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    console.error(`${what}: failed: ${why}`);
    return why.slice(0, 300);
  }
}
