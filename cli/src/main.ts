#!/usr/bin/env node
/** The `sluice` command: owns the process, its signals and its exit codes (0: asked to end, 1: failed, 2: bad usage). */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { formatKeys, generateKey, type KeyConfig, nextRotation } from "@sluice/routing";
import { withoutEffect } from "./agent-flags.ts";
import { type Command, help, parseCommand, relayFlags, transceiverFlags, unknownVariables } from "./commands.ts";
import { loadConfig } from "./config.ts";
import { UsageError } from "./flags.ts";
import type { Running } from "./running.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/** What of Node is used (`module.registerHooks`, types in configuration files) is there from here on. */
const LEAST_NODE = 24;

try {
  const args = process.argv.slice(2);
  if (Number.parseInt(process.versions.node, 10) < LEAST_NODE) {
    throw new UsageError(`Node ${LEAST_NODE} or later is needed, and this is ${process.versions.node}`);
  }
  const file = await loadConfig(args, process.env, { main: transceiverFlags, relay: relayFlags });
  const command = parseCommand(args, process.env, file);
  for (const line of unknownVariables(process.env)) process.stderr.write(`sluice: ${line}\n`);
  if (command.kind === "start" || command.kind === "doctor" || command.kind === "transceiver") {
    for (const line of withoutEffect(command.settings, process.env)) process.stderr.write(`sluice: ${line}\n`);
  }
  await run(command);
} catch (error) {
  fail(error);
}

async function run(command: Command): Promise<void> {
  switch (command.kind) {
    case "help":
      process.stdout.write(help(command.command));
      return;
    case "version":
      process.stdout.write(`${version}\n`);
      return;
    case "newKey":
      process.stdout.write(formatKeys(addKey(command.keys)));
      return;
    case "start": {
      const { start } = await import("./start.ts"); // a relay need not load the engines
      return keep(await start(command.settings, version));
    }
    case "doctor": {
      const { runDoctor } = await import("./start.ts");
      process.exitCode = await runDoctor(command.settings, version);
      return;
    }
    case "transceiver": {
      const { startTransceiver } = await import("./start.ts");
      return keep(await startTransceiver(command.settings, version));
    }
    case "relay": {
      const { startRelay } = await import("./relay.ts");
      return keep(await startRelay(command.settings, version));
    }
  }
}

/** In front, where it mints: relays must be given the list before transceivers are. */
function addKey(keys: readonly KeyConfig[]): KeyConfig[] {
  const rotation = keys.length === 0 ? 0 : nextRotation(keys);
  if (rotation === undefined) throw new UsageError("seven keys are the most there can be: retire one first");
  return [generateKey(randomBytes, rotation), ...keys];
}

/** Runs until a signal; a second one does not wait. */
function keep({ greeting, stop }: Running): void {
  process.stdout.write(`${greeting}\n`);
  let asked = false;
  const handle = () => {
    if (asked) process.exit(1);
    asked = true;
    stop().then(() => process.exit(0), fail);
  };
  process.on("SIGTERM", handle);
  process.on("SIGINT", handle);
}

function fail(error: unknown): never {
  if (error instanceof UsageError) {
    process.stderr.write(`sluice: ${error.message}\n`);
    process.exit(2);
  }
  console.error(error);
  process.exit(1);
}
