/** `peers.json`: what was measured of the stacks beside us, and its tables, for the lab's page and for docs/peers.md. */

/** Where and when a row was measured. */
export interface Provenance {
  readonly peer: string;
  readonly version: string;
  readonly command: string;
  readonly commit: string;
  readonly date: string;
  readonly machine: string;
  /** Why there are no figures. */
  readonly missing?: string;
}

/** Their client against Sluice, a row for each loss. */
export interface ClientRow extends Provenance {
  readonly loss?: number;
  readonly works?: boolean;
  readonly setup_ms?: number;
  readonly prompt_wer?: number;
  readonly answer_wer?: number;
}

/** How long their client takes to be in a call, a row for each loss. */
export interface SetupRow extends Provenance {
  readonly loss?: number;
  readonly calls?: number;
  /** Calls that did not come about in 20 s. */
  readonly failed?: number;
  readonly ms_p50?: number;
  readonly ms_p90?: number;
  readonly ms_max?: number;
}

/** Their echo server. */
export interface ServerRow extends Provenance {
  readonly echo: string;
  readonly sessions?: number;
  readonly setup_ms?: number;
  readonly cpu_us_per_packet?: number;
  readonly echoed?: number;
  readonly rss_mb?: number;
  readonly rounds?: number;
  readonly losses?: readonly { readonly loss: number; readonly wer?: number; readonly missing?: string }[];
  readonly red?: boolean;
  readonly nack?: boolean;
}

/** Their relay. */
export interface RelayRow extends Provenance {
  readonly pps?: number;
  readonly cpu_us_per_packet?: number;
  readonly delay_ms_p50?: number;
  readonly delay_ms_p99?: number;
}

/** Our page in their browser, a row for each pipe. */
export interface BrowserRow extends Provenance {
  readonly pipe?: string;
  readonly connected_ms?: number;
  readonly mouth_to_ear_ms?: number;
  readonly likeness?: number;
}

/** All of it. */
export interface PeersReport {
  readonly clients: readonly ClientRow[];
  /** Absent in reports of before it was measured. */
  readonly setups?: readonly SetupRow[];
  readonly servers: readonly ServerRow[];
  readonly relays: readonly RelayRow[];
  /** Absent in reports of before it was measured. */
  readonly browsers?: readonly BrowserRow[];
}

/** A table of plain text. */
export interface Table {
  readonly title: string;
  readonly lead: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The tables; what is not in `report` says that it was not measured. */
export function tablesOf(report: PeersReport | undefined): Table[] {
  return [
    {
      title: "Their clients against Sluice",
      lead: "One spoken turn of tone words, answered and heard to its end, events both ways over a data channel, 10 ms away. Misheard: share of the words lost, asked by the client and answered to it, at each loss in both directions.",
      head: ["client", "version", "works", "setup, ms", "loss", "prompt misheard", "answer misheard", "command"],
      rows: orAbsent(
        (report?.clients ?? []).map((row) => [
          row.peer,
          row.version,
          row.missing ?? (row.works ? "yes" : "no"),
          figure(row.setup_ms),
          percent(row.loss),
          percent(row.prompt_wer),
          percent(row.answer_wer),
          row.command,
        ]),
        8,
      ),
    },
    {
      title: "Set-up under loss",
      lead: "From the client's start of a call to its open data channel, 10 ms away, at each loss in both directions; of those that connected. What is lost on the way to Sluice waits for the client's own timers: 0.5 s and more for a check, 1 s for a flight of DTLS, 1 to 3 s for each packet of SCTP.",
      head: ["client", "version", "loss", "calls", "connected", "p50, ms", "p90, ms", "longest, ms", "command"],
      rows: orAbsent(
        (report?.setups ?? []).map((row) => [
          row.peer,
          row.version,
          percent(row.loss),
          figure(row.calls),
          row.missing ?? figure((row.calls ?? 0) - (row.failed ?? 0)),
          figure(row.ms_p50),
          figure(row.ms_p90),
          figure(row.ms_max),
          row.command,
        ]),
        9,
      ),
    },
    {
      title: "Their servers, measured by our caller",
      lead: "Echo servers under the same load: bare Opus, 50 packets a second each way in each call; processor time of the server's process, user and system, by packet in or out, medians of alternating rounds. Misheard: share of tone words that do not come back, at a loss of 0, 10 and 20 % in each direction, 30 ms away; the caller offers RED and retransmission as Chromium does, and waits 300 ms. One that passes packets on passes RED on too; one that decodes does more for a packet.",
      head: [
        "server",
        "version",
        "echo",
        "setup, ms",
        "CPU, µs a packet",
        "came back",
        "MB",
        "misheard at 0 / 10 / 20 %",
        "took RED, NACK",
        "command",
      ],
      rows: orAbsent(
        (report?.servers ?? []).map((row) => [
          row.peer,
          row.version,
          row.missing ?? row.echo,
          figure(row.setup_ms),
          figure(row.cpu_us_per_packet),
          percent(row.echoed),
          figure(row.rss_mb),
          (row.losses ?? []).map(({ wer, missing }) => missing ?? percent(wer)).join(" / "),
          row.red === undefined ? "" : `${row.red ? "yes" : "no"}, ${row.nack ? "yes" : "no"}`,
          row.command,
        ]),
        10,
      ),
    },
    {
      title: "Relays",
      lead: "120-byte packets of 500 flows, one thread each; packets a second that all come through, processor time of each at 10,000 a second, delay at 20,000 a second. coturn is given ChannelData, the cheapest that TURN has; nginx's stream proxy knows no flow's token.",
      head: ["relay", "version", "packets a second", "CPU, µs a packet", "delay p50, ms", "delay p99, ms", "command"],
      rows: orAbsent(
        (report?.relays ?? []).map((row) => [
          row.peer,
          row.version,
          row.missing ?? figure(row.pps),
          figure(row.cpu_us_per_packet),
          figure(row.delay_ms_p50),
          figure(row.delay_ms_p99),
          row.command,
        ]),
        7,
      ),
    },
    {
      title: "Our page in their browser",
      lead: "The console, and so the SDK, beside Chromium: a sentence at the microphone, repeated by the built-in agent, 500 ms of silence asked for before it answers. From the click to the page's connected; from the last voiced sample at the microphone's track to the first of the answer before the loudspeaker; how much the answer resembles what was said (1: the same), both found in a recording of the page's sound.",
      head: ["browser", "version", "pipe", "connected, ms", "mouth to ear, ms", "likeness", "command"],
      rows: orAbsent(
        (report?.browsers ?? []).map((row) => [
          row.peer,
          row.version,
          row.missing ?? row.pipe ?? "",
          figure(row.connected_ms),
          figure(row.mouth_to_ear_ms),
          figure(row.likeness),
          row.command,
        ]),
        7,
      ),
    },
  ];
}

/** Where the rows come from: a short line for each part, and the machine. */
export function provenanceOf(report: PeersReport): string[] {
  const parts = [
    ["clients", report.clients],
    ["set-up", report.setups ?? []],
    ["servers", report.servers],
    ["relays", report.relays],
    ["browsers", report.browsers ?? []],
  ] as const satisfies (readonly [string, readonly Provenance[]])[];
  const machines = new Set(parts.flatMap(([, rows]) => rows.map(({ machine }) => machine)));
  const isOne = machines.size === 1;
  const lines = parts.flatMap(([name, rows]) => {
    if (rows.length === 0) return [];
    const places = rows.map(({ date, commit, machine }) => {
      const short = commit.replace(/^([0-9a-f]{7})[0-9a-f]*/, "$1");
      return `${date.slice(0, 10)} at ${short}${isOne ? "" : ` on ${machine}`}`;
    });
    return [`${name}: ${[...new Set(places)].join(", ")}`];
  });
  return isOne ? [...lines, `all on ${[...machines][0]}`] : lines;
}

/** docs/peers.md. */
export function renderMarkdown(report: PeersReport): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const tables = tablesOf(report).map(({ title, lead, head, rows }) => {
    const quoted = rows.map((row) => row.map((cell) => (cell.startsWith("npm run ") ? `\`${cell}\`` : cell)));
    return `## ${title}\n\n${lead}\n\n${[head, head.map(() => "---"), ...quoted].map(line).join("\n")}\n`;
  });
  const places = provenanceOf(report).map((place) => `- ${place}\n`);
  return `# Peers, side by side

Written by \`npm run interop -- --docs\`, which puts what it measures into [peers.json](peers.json), the newest of each row. What is not
installed is left out and said; \`npm run interop -- --install\` brings it (Debian, root). How, and what was found:
[0031](decisions/0031-peers.md). Measured, with the commit:

${places.join("") || "- nothing yet\n"}
${tables.join("\n")}`;
}

function orAbsent(rows: string[][], width: number): string[][] {
  if (rows.length > 0) return rows;
  return [["not measured in this run", ...Array<string>(width - 2).fill(""), "npm run interop"]];
}

function figure(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "";
  return value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));
}

function percent(value: number | undefined): string {
  return value === undefined ? "" : `${Number((value * 100).toPrecision(3))} %`;
}
