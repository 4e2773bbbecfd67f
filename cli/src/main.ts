#!/usr/bin/env node
/** The `sluice` command: owns the process, its signals and its exit codes (0: asked to end, 1: failed, 2: bad usage). */
import { readFileSync } from "node:fs";
import { HELP, parseCommand, UsageError } from "./flags.ts";
import { start } from "./start.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

try {
  const command = parseCommand(process.argv.slice(2), process.env);
  if (command.kind === "help") process.stdout.write(HELP);
  else if (command.kind === "version") process.stdout.write(`${version}\n`);
  else {
    const started = await start(command.options, version);
    process.stdout.write(`${started.greeting}\n`);
    let asked = false;
    const stop = () => {
      if (asked) process.exit(1); // a second signal does not wait
      asked = true;
      started.close("the server is shutting down").then(
        () => process.exit(0),
        (error: unknown) => fail(error),
      );
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  }
} catch (error) {
  fail(error);
}

function fail(error: unknown): never {
  if (error instanceof UsageError) {
    process.stderr.write(`sluice: ${error.message}\n`);
    process.exit(2);
  }
  console.error(error);
  process.exit(1);
}
