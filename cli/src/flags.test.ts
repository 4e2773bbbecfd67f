import assert from "node:assert/strict";
import { test } from "node:test";
import { isLoopback, parseCommand, UsageError } from "./flags.ts";

const start = (args: readonly string[], env = {}) => {
  const command = parseCommand(["start", ...args], env);
  assert(command.kind === "start");
  return command.options;
};

test("start needs no flags and stays on this machine", () => {
  const { host, port, udpPort, agent, apiKey } = start([]);
  assert.deepEqual([host, port, udpPort, agent, apiKey], ["127.0.0.1", 8080, 3478, "parrot", undefined]);
});

test("a flag wins over its environment variable", () => {
  assert.equal(start([], { SLUICE_PORT: "9000" }).port, 9000);
  assert.equal(start(["--port", "9001"], { SLUICE_PORT: "9000" }).port, 9001);
  assert.deepEqual(start(["--advertise", "10.0.0.1", "--advertise", "10.0.0.2"]).advertise, ["10.0.0.1", "10.0.0.2"]);
});

test("listening for others without a key is refused, and says what to set", () => {
  assert.throws(() => start(["--host", "0.0.0.0"]), /SLUICE_API_KEY/);
  assert.equal(start(["--host", "0.0.0.0"], { SLUICE_API_KEY: "k" }).apiKey, "k");
});

test("what cannot be is refused by the flag's name", () => {
  for (const args of [
    ["--port", "99999"],
    ["--port", "x"],
    ["--agent", "cat"],
    ["--log-level", "loud"],
    ["--bogus"],
    ["more"],
  ]) {
    assert.throws(() => start(args), UsageError, args.join(" "));
  }
  assert.throws(() => parseCommand(["dance"], {}), /unknown command "dance"/);
});

test("no command is a question for help", () => {
  assert.equal(parseCommand([], {}).kind, "help");
  assert.equal(parseCommand(["start", "-h"], {}).kind, "help");
  assert.equal(parseCommand(["--version"], {}).kind, "version");
});

test("only this machine's own addresses are loopback", () => {
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "::1"]) assert(isLoopback(host));
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.evil.example", "localhost.example"]) assert(!isLoopback(host));
});
