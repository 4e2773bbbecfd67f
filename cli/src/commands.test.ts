import assert from "node:assert/strict";
import { test } from "node:test";
import { formatKeys, generateKey } from "@sluice/routing";
import { withoutEffect } from "./agent-flags.ts";
import { type Command, help, parseCommand, unknownVariables } from "./commands.ts";
import { isLoopback, UsageError } from "./flags.ts";

const SLUICE_KEYS = formatKeys([generateKey((size) => new Uint8Array(size).fill(7))]);

const parse = <K extends "start" | "relay" | "transceiver">(kind: K, args: readonly string[], env = {}) => {
  const command = parseCommand([kind, ...args], env);
  assert(command.kind === kind);
  return command.settings as Extract<Command, { kind: K }>["settings"];
};

test("start needs no flags and stays on this machine", () => {
  const settings = parse("start", []);
  assert.deepEqual(
    [settings.host, settings.port, settings["udp-port"], settings.llm, settings.apiKey, settings.advertise],
    ["127.0.0.1", 8080, 3478, undefined, undefined, []],
  );
});

test("a flag wins over its environment variable, and lists may be repeated or comma-separated", () => {
  assert.equal(parse("start", [], { SLUICE_PORT: "9000" }).port, 9000);
  assert.equal(parse("start", ["--port", "9001"], { SLUICE_PORT: "9000" }).port, 9001);
  for (const args of [
    ["--advertise", "10.0.0.1,10.0.0.2"],
    ["--advertise", "10.0.0.1", "--advertise", "10.0.0.2"],
  ]) {
    assert.deepEqual(parse("start", args).advertise, ["10.0.0.1", "10.0.0.2"]);
  }
});

test("listening for others without a key is refused, and says what to set", () => {
  assert.throws(() => parse("start", ["--host", "0.0.0.0"]), /SLUICE_API_KEY/);
  assert.equal(parse("start", ["--host", "0.0.0.0"], { SLUICE_API_KEY: "k" }).apiKey, "k");
  assert.throws(() => parse("start", [], { SLUICE_API_KEY: "open sesame" }), /without spaces/);
});

test("what cannot be is refused by the flag's name", () => {
  for (const args of [
    ["--port", "99999"],
    ["--port", "x"],
    ["--llm", "cat"],
    ["--log-level", "loud"],
    ["--advertise", "here"],
  ]) {
    assert.throws(() => parse("start", args), new RegExp(args[0]!), args.join(" "));
  }
  assert.throws(() => parse("start", ["--bogus"]), UsageError);
  assert.throws(() => parse("start", ["more"]), UsageError);
  assert.throws(() => parseCommand(["dance"], {}), /unknown command "dance"/);
});

test("a relay reads its fleet, and refuses to run without the fleet's keys", () => {
  const fleet = ["--transceivers", "1.7=10.0.0.7:3478", "--peers", "3@2=[2001:db8::3]:3478", "--cluster", "1"];
  const settings = parse("relay", fleet, { SLUICE_KEYS });
  const there = { serverId: 65_543, address: "10.0.0.7", port: 3478 };
  assert.deepEqual(settings.transceivers, [there]);
  const mute = parse("relay", ["--transceivers", "1.7=10.0.0.7:3478/webrtc"], { SLUICE_KEYS });
  assert.deepEqual(mute.transceivers, [{ ...there, quic: false }]);
  assert.deepEqual(settings.peers, [{ number: 3, cluster: 2, address: "2001:db8::3", port: 3478 }]);
  assert.equal(settings.keys.length, 1);
  assert.throws(() => parse("relay", fleet), /SLUICE_KEYS/);
  assert.throws(() => parse("relay", ["--transceivers", "7=10.0.0.7"], { SLUICE_KEYS }), /cluster.node/);
});

test("a transceiver says what it lacks", () => {
  const env = { SLUICE_KEYS, SLUICE_API_KEY: "k" };
  const relays = ["--relays", "eu@50;8=192.0.2.1:3478,192.0.2.2:3478", "--relays-from", "192.0.2.1"];
  assert.throws(() => parse("transceiver", []), /SLUICE_API_KEY/);
  assert.throws(() => parse("transceiver", [], env), /--server-id/);
  assert.throws(() => parse("transceiver", ["--server-id", "1.7"], env), /--relays/);
  const settings = parse("transceiver", ["--server-id", "1.7", ...relays], env);
  assert.deepEqual(settings.relays, [
    { address: "192.0.2.1", port: 3478, region: "eu", position: { latitude: 50, longitude: 8 } },
    { address: "192.0.2.2", port: 3478 },
  ]);
  assert.deepEqual(settings["region-header"], ["x-region", "cf-ipcountry"]);
});

test("an address of Redis that is none is refused without its password being shown", () => {
  for (const redis of ["http://:s3cret@host", "s3cret", "redis//:s3cret@host"]) {
    assert.throws(
      () => parse("relay", ["--redis", redis], { SLUICE_KEYS }),
      (error: Error) => error instanceof UsageError && /--redis/.test(error.message) && !/s3cret/.test(error.message),
    );
  }
  assert.equal(parse("relay", ["--redis", "rediss://:x@host:6380"], { SLUICE_KEYS }).redis, "rediss://:x@host:6380");
});

test("a key that cannot be read is refused without being shown", () => {
  assert.throws(
    () => parse("relay", [], { SLUICE_KEYS: "slk0_secret" }),
    (error: Error) => {
      return (
        error instanceof UsageError && !error.message.includes("secret_") && !error.message.includes("slk0_secret")
      );
    },
  );
});

test("no command is a question for help, and the help names every flag's variable", () => {
  assert.equal(parseCommand([], {}).kind, "help");
  assert.deepEqual(parseCommand(["start", "-h"], {}), { kind: "help", command: "start" });
  assert.equal(parseCommand(["--version"], {}).kind, "version");
  assert.match(help("start"), /--udp-port <n> .*SLUICE_UDP_PORT/);
});

test("the help of a command has its flags and no other's, that of all has none", () => {
  assert.doesNotMatch(help(), /--udp-port/);
  for (const command of ["start", "doctor", "relay", "transceiver"])
    assert.match(help(), new RegExp(`sluice ${command} `));
  assert.match(help("transceiver"), /--relays <relay>/);
  assert.doesNotMatch(help("transceiver"), /--llm <url>/);
  assert.doesNotMatch(help("start"), /--relays/);
});

test("every variable that the help names means something, and one that is misspelt is told", () => {
  const named = ["start", "relay", "transceiver"].flatMap(
    (command) => help(command).match(/\bSLUICE_[A-Z_]+\b/g) ?? [],
  );
  assert.deepEqual(unknownVariables(Object.fromEntries(named.map((name) => [name, "x"]))), []);
  assert.match(
    unknownVariables({ SLUICE_STT_FALBACK_KEY: "x" })[0]!,
    /means nothing \(did you mean "SLUICE_STT_FALLBACK_KEY"/,
  );
});

test("a setting that changes nothing beside the others is pointed out", () => {
  const idle = (...args: string[]) => withoutEffect(parse("start", args), {});
  assert.deepEqual(idle(), []);
  assert.deepEqual(idle("--llm", "http://localhost/v1", "--llm-model", "x", "--eager", "0"), []);
  assert.match(idle("--llm-model", "x").join(), /--llm-model has no effect without --llm/);
  assert.deepEqual(withoutEffect(parse("start", ["--llm-model", "x"]), { OPENAI_API_KEY: "k" }), []);
  assert.match(idle("--realtime-voice", "x").join(), /--realtime-voice has no effect without --realtime/);
  const both = idle("--realtime", "wss://x/v1/realtime", "--llm", "http://localhost/v1", "--eager", "0");
  assert.equal(both.length, 2);
  assert.match(both.join(), /--llm has no effect beside --realtime/);
});

test("only this machine's own addresses are loopback", () => {
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "::1"]) assert(isLoopback(host));
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.evil.example", "localhost.example"]) assert(!isLoopback(host));
});
