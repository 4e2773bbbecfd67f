/** The house rules that `tidy.test.ts` enforces (design: layout and edges; style: purity, documentation), as functions. */
import { dirname, join, normalize } from "node:path/posix";

/** A source file; `path` is relative to the repository, with forward slashes. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** A workspace and the packages that its package.json lets it import. */
export interface Workspace {
  /** Folder relative to the repository. */
  readonly folder: string;
  readonly name: string;
  readonly dependencies: readonly string[];
}

/** Who may import whom, tests aside. A workspace that is not named here may import anything. */
export const EDGES: Readonly<Record<string, readonly string[]>> = {
  "packages/routing": [],
  "packages/realtime": [],
  "lab/netem": [],
  "packages/conversation": ["@sluice/realtime"],
  "packages/engines": ["@sluice/conversation"],
  "packages/udp": ["@sluice/routing"],
  "packages/relay": ["@sluice/routing", "@sluice/udp"],
  "packages/transceiver": ["@sluice/routing", "@sluice/udp", "@sluice/realtime", "@sluice/conversation"],
  "packages/client": ["@sluice/realtime"],
  cli: ["@sluice/relay", "@sluice/transceiver", "@sluice/engines", "@sluice/conversation", "@sluice/routing"],
  console: ["@sluice/client"],
};

/** What tests inside a workspace may import beyond its edges. */
const TEST_ONLY = ["@sluice/netem", "@sluice/engines"];

/** Folders without sockets, clocks, timers and randomness of their own. */
const PURE = ["packages/routing/", "packages/realtime/", "packages/conversation/", "lab/netem/"];
const PURE_BUT_NODE = ["packages/relay/", "packages/transceiver/"];

const IMPURE: readonly (readonly [RegExp, string])[] = [
  [/\bDate\s*\.\s*now\b/, "Date.now"],
  [/\bnew\s+Date\s*\(\s*\)/, "new Date()"],
  [/\bperformance\s*\.\s*(now|timeOrigin)\b/, "performance.now"],
  [/\bprocess\s*\.\s*(hrtime|uptime|nextTick)\b/, "process clock"],
  [/\b(setTimeout|setInterval|setImmediate|queueMicrotask)\s*\(/, "timer"],
  [/\bMath\s*\.\s*random\b/, "Math.random"],
  [/\b(randomBytes|randomUUID|randomInt|randomFillSync|randomFill|getRandomValues)\s*\(/, "randomness"],
  [/\bconsole\s*\./, "console"],
];

/** Edges that `files` of `workspaces` cross without leave, and packages that they import without declaring them. */
export function findForbiddenImports(files: readonly SourceFile[], workspaces: readonly Workspace[]): string[] {
  return files.flatMap((file) => {
    const workspace = workspaces.find(({ folder }) => file.path.startsWith(`${folder}/`) && !isNested(file, folder));
    if (!workspace) return [];
    return importsOf(file.text).flatMap((target) => {
      const reason = judgeImport(file, workspace, target);
      return reason === undefined ? [] : [`${file.path}: ${reason}: ${target}`];
    });
  });
}

/** Dependencies in package.json that the edges do not allow. */
export function findForbiddenDependencies(workspaces: readonly Workspace[]): string[] {
  return workspaces.flatMap(({ folder, dependencies }) =>
    dependencies
      .filter((name) => name.startsWith("@sluice/") && EDGES[folder] !== undefined && !EDGES[folder].includes(name))
      .map((name) => `${folder}/package.json: no edge to ${name}`),
  );
}

/** Clocks, timers, randomness, logging and `node:` modules in files that must be pure. */
export function findImpurities(files: readonly SourceFile[]): string[] {
  return files.filter(isPure).flatMap(({ path, text }) => {
    const code = stripComments(text, true);
    const modules = importsOf(text).filter((target) => target.startsWith("node:") && target !== "node:crypto");
    const words = IMPURE.filter(([pattern]) => pattern.test(code)).map(([, name]) => name);
    return [...modules, ...words].map((name) => `${path}: ${name} in a pure file`);
  });
}

/**
 * Every timer between the caller's last word and the answer's first sample, and the stages of the timeline (`StageName`)
 * that tell of the time it takes; `limit`: it only ends what takes too long, and delays nothing. There is no other wait.
 */
export const WAITS: Readonly<Record<string, readonly (readonly string[])[]>> = {
  "packages/engines/src/http/endpoint.ts": [["limit"]],
  "packages/engines/src/http/pool.ts": [["limit"], ["limit"]],
  "packages/engines/src/http/retry.ts": [["recognition", "model", "voice"]], // a request that failed is made once more
  "packages/engines/src/http/socket.ts": [["limit"]],
  "packages/engines/src/http/timed.ts": [["limit"]],
  "packages/engines/src/llm/chat-completions.ts": [["limit"]],
  "packages/engines/src/speech/cascade-acknowledgement.ts": [["limit"], ["limit"]],
  "packages/engines/src/speech/cascade-reply.ts": [["recognition", "model", "clause"]], // the deadlines of `Answer`
  "packages/engines/src/speech/parrot.ts": [["limit"]],
  "packages/engines/src/vad/silero.ts": [["endpointing"]], // windows are gathered
  "packages/transceiver/src/node/call.ts": [["silence", "endpointing", "lead"]], // the deadlines of `Conversation`
  "packages/transceiver/src/node/pacer.ts": [["egress"]], // the RTP clock
};

/** The files that an answer passes through. */
const PIPELINE =
  /^packages\/(engines\/src\/(?!scripted\/|contract\/)|transceiver\/src\/node\/(call|pacer|pcm-stream|voice-activity)\.ts$)/;
const TIMER = /\b(?:setTimeout|setInterval|sleep(?:For)?|AbortSignal\s*\.\s*timeout)\s*\(/g;

/** Timers of the pipeline whose wait no stage of the timeline tells of. */
export function findUnnamedWaits(files: readonly SourceFile[], waits = WAITS): string[] {
  const found = files
    .filter(({ path }) => PIPELINE.test(path) && !isTest(path))
    .map(({ path, text }) => {
      const code = stripComments(text, true).replace(/\b(?:clear|function\s+)\w+\s*\(/g, "");
      return [path, code.match(TIMER)?.length ?? 0] as const;
    });
  return [...new Map([...Object.keys(waits).map((path) => [path, 0] as const), ...found])].flatMap(([path, count]) => {
    const named = waits[path]?.length ?? 0;
    return count === named ? [] : [`${path}: ${count} timers, of which ${named} have a cause`];
  });
}

/** Exported declarations without a doc comment right before them; `index.ts` re-exports and tests are exempt. */
export function findUndocumentedExports(files: readonly SourceFile[]): string[] {
  return files
    .filter(({ path }) => !isTest(path))
    .flatMap(({ path, text }) => {
      const lines = text.split("\n");
      return lines.flatMap((line, index) => {
        const match = DECLARATION.exec(line);
        if (!match) return [];
        const before = lines[index - 1]?.trim() ?? "";
        const overload = match[1] !== undefined && DECLARATION.exec(before)?.[1] === match[1] && before.endsWith(";");
        return before.endsWith("*/") || overload ? [] : [`${path}:${index + 1}: no doc comment: ${line.trim()}`];
      });
    });
}

const DECLARATION =
  /^export (?:default )?(?:declare )?(?:abstract )?(?:async )?(?:function\*?|const|let|class|interface|type(?= \w+[ <]))\s*(\w*)/;

/** Source files of packages and cli that nothing imports or names as an entry point. */
export function findDeadFiles(files: readonly SourceFile[], entryPoints: readonly string[] = []): string[] {
  const alive = new Set(entryPoints);
  for (const { path, text } of files)
    for (const target of pathsNamedIn(text)) alive.add(normalize(join(dirname(path), target)));
  return files
    .map(({ path }) => path)
    .filter((path) => /^(packages\/[^/]+|cli)\/src\//.test(path) && !isTest(path))
    .filter((path) => !/(^|\/)(index|main)\.ts$/.test(path) && !/\.d\.ts$/.test(path) && !alive.has(path))
    .map((path) => `${path}: nothing imports it`);
}

/** Module names that `text` imports, statically or not. */
export function importsOf(text: string): string[] {
  const code = stripComments(text, false);
  return [...code.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? match[3]!);
}

const IMPORT = new RegExp(
  [
    /(?:^|[\n;}])\s*import\b(?:[\w$*{},\s]+\bfrom\b)?\s*["']([^"']+)["']/,
    /(?:^|[\n;}])\s*export\s*(?:type\s*)?(?:\{[^}]*\}|\*(?:\s*as\s+\w+)?)\s*from\s*["']([^"']+)["']/,
    /\b(?:import|require|importScripts)\s*\(\s*["']([^"']+)["']/,
  ]
    .map((form) => form.source)
    .join("|"),
  "g",
);

function pathsNamedIn(text: string): string[] {
  return [...stripComments(text, false).matchAll(/["'`](\.{1,2}\/[^"'`\s]+\.ts)["'`]/g)].map((match) => match[1]!);
}

function judgeImport(file: SourceFile, workspace: Workspace, target: string): string | undefined {
  const { folder, name, dependencies } = workspace;
  if (target.startsWith(".")) {
    const inside = normalize(join(dirname(file.path), target)).startsWith(`${folder}/`);
    // Tests share the browser, the sockets and the WAV files of test/ and lab/.
    return inside || isTest(file.path) || EDGES[folder] === undefined ? undefined : "leaves its package";
  }
  if (target.startsWith("node:")) return undefined;
  const packageName = target
    .split("/")
    .slice(0, target.startsWith("@") ? 2 : 1)
    .join("/");
  if (packageName.startsWith("@sluice/")) {
    if (packageName !== target) return "reaches into a package";
    const allowed = EDGES[folder];
    if (allowed === undefined || packageName === name || allowed.includes(packageName)) return undefined;
    return isTest(file.path) && TEST_ONLY.includes(packageName) ? undefined : "no such edge";
  }
  if (isTest(file.path) || EDGES[folder] === undefined || folder === "console") return undefined;
  return dependencies.includes(packageName) ? undefined : "not in package.json";
}

function isNested(file: SourceFile, folder: string): boolean {
  return folder === "lab" && file.path.startsWith("lab/netem/");
}

function isTest(path: string): boolean {
  return /\.test\.ts$/.test(path);
}

function isPure({ path }: SourceFile): boolean {
  if (isTest(path) || !path.includes("/src/")) return false;
  if (PURE.some((folder) => path.startsWith(folder))) return true;
  return PURE_BUT_NODE.some((folder) => path.startsWith(folder) && !path.startsWith(`${folder}src/node/`));
}

/** `text` with comments blanked, and with `strings` the contents of strings too (but not code inside template literals). */
export function stripComments(text: string, strings: boolean): string {
  let out = "";
  let previous = ""; // last significant character: tells a regular expression from a division
  const templates: number[] = []; // brace depth of each open `${`
  for (let i = 0; i < text.length; ) {
    const [char, next] = [text[i]!, text[i + 1]];
    const end = endOfToken(text, i, char, next, previous);
    if (end > i) {
      const token = text.slice(i, end);
      const isComment = char === "/" && (next === "/" || next === "*");
      out += isComment || strings ? token.replace(/[^\n]/g, " ") : token;
      if (!isComment) previous = char === "/" ? ")" : '"';
      i = end;
      continue;
    }
    if (char === "`" || (char === "}" && templates.at(-1) === 0)) {
      if (char === "}") templates.pop();
      const { close, opens } = endOfTemplate(text, i + 1);
      out += strings ? text.slice(i, close).replace(/[^\n]/g, " ") : text.slice(i, close);
      if (opens) templates.push(0);
      previous = opens ? "(" : '"';
      i = close;
      continue;
    }
    if (templates.length > 0 && char === "{") templates[templates.length - 1]! += 1;
    if (templates.length > 0 && char === "}") templates[templates.length - 1]! -= 1;
    out += char;
    if (!/\s/.test(char)) previous = char;
    i++;
  }
  return out;
}

/** Where the comment, string or regular expression at `start` ends; `start` itself when there is none. */
function endOfToken(text: string, start: number, char: string, next: string | undefined, previous: string): number {
  const until = (index: number, size: number) => (index < 0 ? text.length : index + size);
  if (char === "/" && next === "/") return until(text.indexOf("\n", start), 0);
  if (char === "/" && next === "*") return until(text.indexOf("*/", start + 2), 2);
  const word = /(?:^|\W)(return|case|typeof|of|in)\s*$/.test(text.slice(Math.max(0, start - 12), start));
  const isRegex = char === "/" && (word || previous === "" || "(,=:[!&|?{};+>~".includes(previous));
  if (char !== '"' && char !== "'" && !isRegex) return start;
  let inClass = false;
  for (let i = start + 1; i < text.length; i++) {
    const c = text[i]!;
    if (c === "\\") i++;
    else if (c === "\n")
      return start; // not a literal after all
    else if (isRegex && c === "[") inClass = true;
    else if (isRegex && c === "]") inClass = false;
    else if (c === char && !inClass) return i + 1;
  }
  return start;
}

function endOfTemplate(text: string, start: number): { close: number; opens: boolean } {
  for (let i = start; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "`") return { close: i + 1, opens: false };
    else if (text[i] === "$" && text[i + 1] === "{") return { close: i + 2, opens: true };
  }
  return { close: text.length, opens: false };
}
