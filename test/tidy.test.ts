/** Holds the repository to the rules of `tidy-rules.ts`, and each rule to a violation that it must catch. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import {
  EDGES,
  findDeadFiles,
  findForbiddenDependencies,
  findForbiddenImports,
  findImpurities,
  findUndocumentedExports,
  findUnnamedWaits,
  importsOf,
  type SourceFile,
  stripComments,
  WAITS,
  type Workspace,
} from "./tidy-rules.ts";

const root = join(import.meta.dirname, "..");
const paths = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { cwd: root })
  .toString()
  .split("\n")
  .filter((path) => path !== "" && existsSync(join(root, path)));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const files: SourceFile[] = paths.filter((path) => /\.tsx?$/.test(path)).map((path) => ({ path, text: read(path) }));
const workspaces = paths.filter((path) => /.\/package\.json$/.test(path)).map(readWorkspace);

test("every import follows the edges of the design and is declared", () => {
  assert.deepEqual(findForbiddenImports(files, workspaces), []);
});

test("every declared dependency follows the edges of the design", () => {
  assert.deepEqual(findForbiddenDependencies(workspaces), []);
});

test("the edges name only workspaces that exist", () => {
  for (const folder of Object.keys(EDGES))
    assert.ok(
      workspaces.some((workspace) => workspace.folder === folder),
      folder,
    );
});

test("pure files read no clock, set no timer, draw no random number, log nothing and do no I/O", () => {
  assert.deepEqual(findImpurities(files), []);
});

test("every wait in the pipeline has a cause that the timeline names", () => {
  assert.deepEqual(findUnnamedWaits(files), []);
  const stages = /export type StageName =([^;]+);/.exec(read("packages/realtime/src/server-events.ts"))?.[1] ?? "";
  for (const cause of Object.values(WAITS).flat(2))
    assert.ok(cause === "limit" || stages.includes(`"${cause}"`), cause);
});

test("every export is documented", () => {
  const published = files.filter(({ path }) => /^(packages|cli|console|lab|test|examples)\//.test(path));
  assert.deepEqual(findUndocumentedExports(published), []);
});

test("no file is dead", () => {
  const entryPoints = paths.filter((path) => /.\/package\.json$/.test(path)).flatMap(entryPointsOf);
  const workers = paths.filter((path) => /\.(mjs|js)$/.test(path)).map((path) => ({ path, text: read(path) }));
  assert.deepEqual(findDeadFiles([...files, ...workers], entryPoints), []);
});

// The rules themselves: each must catch a violation, and nothing but that.

const relay: Workspace = {
  folder: "packages/relay",
  name: "@sluice/relay",
  dependencies: ["@sluice/routing", "redis"],
};
const found = (path: string, text: string) => findForbiddenImports([{ path, text }], [relay]).length;

test("an import across a missing edge is caught, in every form of import", () => {
  const path = "packages/relay/src/forwarder.ts";
  assert.equal(found(path, 'import { a } from "@sluice/routing";\nimport { b } from "redis";'), 0);
  for (const text of [
    'import { a } from "@sluice/conversation";',
    'import type { A } from "@sluice/conversation";',
    'import {\n  a,\n  b,\n} from "@sluice/conversation";',
    'export { a } from "@sluice/conversation";',
    'export * from "@sluice/conversation";',
    'import "@sluice/conversation";',
    'const a = await import("@sluice/conversation");',
    'import { a } from "@sluice/routing/src/cid.ts";',
    'import { a } from "../../routing/src/cid.ts";',
    'import { a } from "undeclared";',
    'import { a } from "@scope/undeclared/deep";',
  ])
    assert.equal(found(path, text), 1, text);
  assert.equal(found(path, '// import { a } from "@sluice/conversation";\n/* import "undeclared" */'), 0);
});

test("tests may use netem and scripted engines, and no other package beyond the edges", () => {
  const path = "packages/relay/src/forwarder.test.ts";
  assert.equal(found(path, 'import { a } from "@sluice/netem";\nimport fc from "fast-check";'), 0);
  assert.equal(found(path, 'import { a } from "@sluice/transceiver";'), 1);
  assert.equal(found("packages/relay/src/forwarder.ts", 'import { a } from "@sluice/netem";'), 1);
});

test("a declared dependency without an edge is caught", () => {
  assert.deepEqual(findForbiddenDependencies([{ ...relay, dependencies: ["@sluice/routing", "redis"] }]), []);
  assert.equal(findForbiddenDependencies([{ ...relay, dependencies: ["@sluice/transceiver"] }]).length, 1);
});

test("every impurity is caught in a pure file, and none elsewhere", () => {
  const impurities = [
    "const a = Date.now();",
    "const a = new Date();",
    "const a = performance.now();",
    "const a = process.hrtime.bigint();",
    "setTimeout(f, 1);",
    "setInterval(f, 1);",
    "setImmediate(f);",
    "queueMicrotask(f);",
    "const a = Math.random();",
    'import { randomBytes } from "node:crypto";\nconst a = randomBytes(4);',
    "const a = crypto.getRandomValues(b);",
    'console.log("a");',
    'import { a } from "node:fs";',
    'import type { A } from "node:dgram";',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: source text under test
    "const a = `${Date.now()}`;",
  ];
  for (const text of impurities) {
    for (const path of ["packages/routing/src/a.ts", "lab/netem/src/a.ts", "packages/relay/src/deep/a.ts"])
      assert.equal(findImpurities([{ path, text }]).length, 1, `${path}: ${text}`);
    for (const path of ["packages/relay/src/node/a.ts", "packages/routing/src/a.test.ts", "packages/engines/src/a.ts"])
      assert.deepEqual(findImpurities([{ path, text }]), [], `${path}: ${text}`);
  }
  const harmless = [
    "// Date.now() is not for us",
    'const a = "Math.random()";',
    "const a = new Date(now);",
    'import { createHmac } from "node:crypto";',
    "const a = /setTimeout(x)/;",
    "const a = b / setTimeoutMs / c;",
  ];
  for (const text of harmless)
    assert.deepEqual(findImpurities([{ path: "packages/routing/src/a.ts", text }]), [], text);
});

test("a wait without a cause is caught, in every form, and a cause without a wait", () => {
  const path = "packages/engines/src/speech/cascade.ts";
  const check = (text: string, waits = {}) => findUnnamedWaits([{ path, text }], waits).length;
  for (const text of [
    "setTimeout(f, 200);",
    "await sleep(200);",
    "await sleepFor(200);",
    "const a = AbortSignal.timeout(1);",
    "setInterval(f, 1)",
  ]) {
    assert.equal(check(text), 1, text);
    assert.equal(check(text, { [path]: [["clause"]] }), 0, text);
  }
  assert.equal(check("// setTimeout(f, 200)\nclearTimeout(a);"), 0);
  assert.equal(check("", { [path]: [["clause"]] }), 1);
  assert.deepEqual(findUnnamedWaits([{ path: "packages/engines/src/scripted/pace.ts", text: "sleep(1);" }], {}), []);
});

test("every kind of undocumented export is caught", () => {
  for (const declaration of [
    "export const a = 1;",
    "export let a = 1;",
    "export function a() {}",
    "export async function a() {}",
    "export function* a() {}",
    "export class A {}",
    "export abstract class A {}",
    "export interface A {}",
    "export type A = 1;",
    "export type A<T> = T;",
    "export default function a() {}",
  ]) {
    const check = (text: string) => findUndocumentedExports([{ path: "packages/routing/src/a.ts", text }]).length;
    assert.equal(check(declaration), 1, declaration);
    assert.equal(check(`// not a doc comment\n${declaration}`), 1, declaration);
    assert.equal(check(`/** Far away. */\n\n${declaration}`), 1, declaration);
    assert.equal(check(`/** Says what it is. */\n${declaration}`), 0, declaration);
  }
  const text = 'export { a } from "./b.ts";\nexport type { B } from "./b.ts";\nexport * from "./c.ts";';
  assert.deepEqual(findUndocumentedExports([{ path: "packages/routing/src/index.ts", text }]), []);
  const overloads =
    "/** One. */\nexport function a(b: 1): 1;\nexport function a(b: 2): 2;\nexport function a(b: never) {}";
  assert.deepEqual(findUndocumentedExports([{ path: "packages/routing/src/a.ts", text: overloads }]), []);
});

test("a file that nothing imports is caught, one that is imported or started as a worker is not", () => {
  const file = (path: string, text = "") => ({ path: `packages/routing/src/${path}`, text });
  const check = (...given: SourceFile[]) => findDeadFiles(given);
  assert.equal(check(file("index.ts"), file("a.ts"), file("a.test.ts")).length, 1);
  assert.deepEqual(check(file("index.ts", 'export { a } from "./deep/a.ts";'), file("deep/a.ts")), []);
  assert.deepEqual(
    check(file("main.ts", 'new Worker(new URL("./worker.ts", import.meta.url))'), file("worker.ts")),
    [],
  );
  assert.equal(check(file("index.ts", '// "./a.ts"'), file("a.ts")).length, 1);
  assert.deepEqual(findDeadFiles([file("bin.ts")], ["packages/routing/src/bin.ts"]), []);
});

test("comments, strings, templates and regular expressions are told apart", () => {
  assert.equal(stripComments('a // b\n"//c" /* d\n*/ e', false).replace(/ +/g, " "), 'a \n"//c" \n e');
  // biome-ignore lint/suspicious/noTemplateCurlyInString: source text under test
  assert.equal(stripComments("f(`x ${g('y')} z`)", true).replace(/ +/g, " ").trim(), "f( g( ) )");
  assert.equal(stripComments("const a = /[\"'/]/; b // c", true).replace(/ +/g, " ").trim(), "const a = ; b");
  assert.deepEqual(importsOf('const a = /"/;\nimport b from \'b\';\nconst c = `import "no"`;'), ["b"]);
});

function readWorkspace(path: string): Workspace {
  const manifest = JSON.parse(read(path));
  const dependencies = [manifest.dependencies, manifest.optionalDependencies, manifest.peerDependencies];
  return {
    folder: dirname(path),
    name: manifest.name,
    dependencies: dependencies.flatMap((d) => Object.keys(d ?? {})),
  };
}

/** Sources behind the `exports` and `bin` of a package.json. */
function entryPointsOf(path: string): string[] {
  return [...read(path).matchAll(/"\.\/(src\/[^"]+\.ts|dist\/[^"]+\.js)"/g)].map(([, target]) =>
    join(dirname(path), target!.replace(/^dist\/(.*)\.js$/, "src/$1.ts")),
  );
}
