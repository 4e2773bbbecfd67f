/** What is published works where nothing of this workspace is: packed, installed elsewhere, run by plain Node. */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

const root = join(import.meta.dirname, "..", "..");
const LIBRARIES = ["routing", "udp", "realtime", "conversation", "engines", "relay", "transceiver", "client"];
const folder = mkdtempSync(join(tmpdir(), "sluice-pack-"));
const npm = (cwd: string, ...args: string[]) => {
  execFileSync("npm", args, { cwd, stdio: ["ignore", "ignore", "pipe"] });
};

before(() => {
  // In this order: a package compiles against the built types of those before it.
  for (const name of LIBRARIES) npm(root, "pack", "--workspace", `packages/${name}`, "--pack-destination", folder);
  npm(root, "pack", "--workspace", "cli", "--pack-destination", folder);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "elsewhere", private: true, type: "module" }));
  // As in our own .npmrc: its install script would fetch libraries for graphics cards.
  writeFileSync(join(folder, ".npmrc"), "onnxruntime-node-install=skip\n");
  const archives = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
  npm(folder, "install", "--prefer-offline", "--no-audit", "--no-fund", ...archives.map((file) => `./${file}`));
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("every package can be imported from its archive", () => {
  for (const name of LIBRARIES) {
    const script = `const all = await import("@sluice/${name}"); if (Object.keys(all).length === 0) process.exit(3);`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: folder });
  }
});

test("a configuration file imports its types from the packed command, which reads it", () => {
  const text =
    'import { defineConfig } from "sluice";\nexport default defineConfig({ "log-level": "loud" as "warn" });\n';
  writeFileSync(join(folder, "sluice.config.ts"), text);
  const command = join(folder, "node_modules", "sluice", "dist", "main.js");
  try {
    const { stderr } = spawnSync(process.execPath, [command, "start"], { cwd: folder, encoding: "utf8" });
    assert.match(stderr, /"log-level" in sluice\.config\.ts must be one of/);
  } finally {
    rmSync(join(folder, "sluice.config.ts"));
  }
});

test("the packed command serves page and API, and ends cleanly", async () => {
  const command = join(folder, "node_modules", "sluice", "dist", "main.js");
  const child = spawn(process.execPath, [command, "start", "--port", "0", "--udp-port", "0"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    let printed = "";
    for await (const chunk of child.stdout) {
      printed += String(chunk);
      if (printed.includes("protocol")) break;
    }
    const url = /http:\/\/localhost:\d+/.exec(printed)?.[0];
    assert(url, printed);
    const page = await (await fetch(url)).text();
    assert.match(page, /<title>Sluice console<\/title>/);
    assert.equal((await fetch(`${url}/readyz`)).status, 200);
  } finally {
    const exited = once(child, "exit");
    child.kill("SIGTERM");
    assert.deepEqual(await exited, [0, null]);
  }
});
