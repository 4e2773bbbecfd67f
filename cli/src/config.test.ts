import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { formatKeys, generateKey } from "@sluice/routing";
import { parseCommand, relayFlags, transceiverFlags, unknownVariables } from "./commands.ts";
import { type Config, defineConfig, loadConfig, readConfig } from "./config.ts";
import { UsageError } from "./flags.ts";

const KEYS = { main: transceiverFlags, relay: relayFlags };
const start = (config: unknown, args: readonly string[] = [], env = {}) => {
  const command = parseCommand(["start", ...args], env, readConfig(config, "sluice.config.ts", KEYS));
  assert(command.kind === "start");
  return command.settings;
};
const refusal = (config: unknown) => {
  try {
    start(config);
  } catch (error) {
    assert(error instanceof UsageError, String(error));
    return error.message;
  }
  assert.fail("it was taken");
};

test("a flag wins over its variable, that over the file, that over the default", () => {
  const file = defineConfig({ port: 1, "llm-model": "file", "max-calls": 9 });
  const settings = start(file, ["--port", "3"], { SLUICE_PORT: "2", SLUICE_LLM_MODEL: "environment" });
  assert.deepEqual(
    [settings.port, settings["llm-model"], settings["max-calls"], settings["tts-model"]],
    [3, "environment", 9, "gpt-4o-mini-tts"],
  );
});

test("a file's numbers, booleans, lists and words mean what they mean on the command line", () => {
  const settings = start(defineConfig({ advertise: ["10.0.0.1", "10.0.0.2"], "log-level": "warn", eager: 0 }));
  assert.deepEqual([settings.advertise, settings["log-level"], settings.eager], [["10.0.0.1", "10.0.0.2"], "warn", 0]);
});

test("the types refuse at once what the check refuses later", () => {
  const wrong: Config[] = [
    // @ts-expect-error: no such key
    { "llm-modell": "x" },
    // @ts-expect-error: a number
    { port: "8080" },
    // @ts-expect-error: one of a few words
    { "stt-api": "telepathy" },
    // @ts-expect-error: a program or an address
    { mcp: [{ label: "x" }] },
  ];
  assert.equal(wrong.length, 4);
});

test("what a file must not hold is refused by its place, with the word that was meant", () => {
  assert.match(
    refusal({ "llm-modell": "x" }),
    /unknown key "llm-modell" in sluice\.config\.ts \(did you mean "llm-model"\?\)/,
  );
  assert.match(refusal({ llmModel: "x" }), /did you mean "llm-model"/);
  assert.match(refusal({ apiKey: "x" }), /keys come by the environment alone, such as SLUICE_API_KEY/);
  assert.match(refusal({ mpc: [] }), /did you mean "mcp"/);
  assert.doesNotMatch(refusal({ zebra: 1 }), /did you mean/);
  assert.match(refusal({ port: 99_999 }), /"port" in sluice\.config\.ts must be a whole number/);
  assert.match(refusal({ port: [1, 2] }), /takes one value/);
  assert.match(refusal({ llm: {} }), /must be text, a number or true or false/);
  assert.match(refusal({ config: "x" }), /unknown key "config"/);
  assert.match(refusal(undefined), /default export/);
  assert.match(refusal({ relay: { workerz: 2 } }), /did you mean "workers"/);
  assert.match(
    refusal({ mcp: [{ label: "a", comand: "x" }] }),
    /server 1: unknown key "comand" \(did you mean "command"/,
  );
  assert.match(refusal({ mcp: [{ label: "a" }] }), /either a command to start or a url/);
  assert.match(refusal({ mcp: [{ label: "a", url: "ftp://x" }] }), /must begin with http/);
  const twice = { label: "a", command: "x" };
  assert.match(refusal({ mcp: [twice, twice] }), /another server labelled "a"/);
});

test("a mistyped flag or variable is pointed out with the one that was meant", () => {
  assert.throws(() => parseCommand(["start", "--llm-modle", "x"], {}), /did you mean "llm-model"/);
  assert.throws(() => start({}, ["--port", "x"]), /^UsageError: --port must/);
  assert.throws(() => start({}, [], { SLUICE_PORT: "x" }), /SLUICE_PORT must/);
  assert.deepEqual(unknownVariables({ SLUICE_LLM_MODLE: "x", SLUICE_LLM_KEY: "x", SLUICE_PORT: "1", PATH: "" }), [
    'SLUICE_LLM_MODLE means nothing (did you mean "SLUICE_LLM_MODEL"?)',
  ]);
});

test("a relay reads its own section, and the rest of the file is not its affair", () => {
  const file = readConfig({ port: 8080, relay: { port: 4000, workers: 2 } }, "x", KEYS);
  const env = { SLUICE_KEYS: parseableKeys() };
  const command = parseCommand(["relay"], env, file);
  assert(command.kind === "relay");
  assert.deepEqual([command.settings.port, command.settings.workers], [4000, 2]);
});

test("the file is found where Sluice is started, or where it is said to be, and its own faults are told", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "sluice-config-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  assert.equal(await loadConfig(["start"], {}, KEYS, folder), undefined);
  writeFileSync(join(folder, "sluice.config.ts"), "export default { port: 7 satisfies number };");
  assert.deepEqual((await loadConfig(["start"], {}, KEYS, folder))?.values, { port: ["7"] });
  writeFileSync(join(folder, "other.ts"), 'export default { llm: "http://localhost/v1" };');
  for (const [args, env] of [
    [["start", "--config", "other.ts"], {}],
    [["start", "--config=other.ts"], {}],
    [["start"], { SLUICE_CONFIG: "other.ts" }],
  ] as const) {
    assert.deepEqual((await loadConfig(args, env, KEYS, folder))?.values, { llm: ["http://localhost/v1"] });
  }
  await assert.rejects(
    loadConfig(["start", "--config", "none.ts"], {}, KEYS, folder),
    /there is no configuration file/,
  );
  writeFileSync(join(folder, "broken.ts"), "export default {");
  await assert.rejects(loadConfig(["start", "--config", "broken.ts"], {}, KEYS, folder), /cannot be loaded/);
});

test("the annotated sample is a configuration", async () => {
  const file = await loadConfig(
    ["start", "--config", "sluice.config.example.ts"],
    {},
    KEYS,
    join(import.meta.dirname, "../.."),
  );
  const command = parseCommand(["start"], { SLUICE_API_KEY: "k" }, file);
  assert(command.kind === "start");
  assert.deepEqual(
    command.settings.mcp.map(({ label }) => label),
    ["rooms", "bookings"],
  );
});

function parseableKeys(): string {
  return formatKeys([generateKey((size) => new Uint8Array(size).fill(7))]);
}
