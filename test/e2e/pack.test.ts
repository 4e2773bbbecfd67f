/** What is published works where nothing of this workspace is: packed, installed elsewhere, run by plain Node. */
import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { nativePackageName } from "@sluice/udp";
import { build } from "vite";

const root = join(import.meta.dirname, "..", "..");
const LIBRARIES = ["routing", "udp", "realtime", "conversation", "engines", "relay", "transceiver", "client"];
const folder = mkdtempSync(join(tmpdir(), "sluice-pack-"));
const npm = (cwd: string, ...args: string[]) => {
  execFileSync("npm", args, { cwd, stdio: ["ignore", "ignore", "pipe"] });
};

/** As `npm ci` built them here; a release builds them for every platform. */
const ADDONS = { quic: "transceiver", srtp: "transceiver", udp: "udp" } as const;
const builds = Object.entries(ADDONS).map(
  ([name, loader]) => [name, join(root, "packages", loader, "native", `${name}.node`)] as const,
);
const skip = builds.every(([, file]) => existsSync(file)) ? false : "not run: npm ci built no native addons here";

/** The addons' package of this platform, laid out and pinned as the release does it, in a tree of its own. */
function layAddons(tree: string): { readonly folder: string; readonly manifests: readonly string[] } {
  const [platform, arch, libc] = nativePackageName().slice("@sluice/native-".length).split("-");
  const built = join(tree, "built");
  mkdirSync(built, { recursive: true });
  const libraryOf = (name: string) => {
    if (platform === "win32") return `sluice_${name}.dll`;
    return `libsluice_${name}.${platform === "darwin" ? "dylib" : "so"}`;
  };
  for (const [name, file] of builds) copyFileSync(file, join(built, libraryOf(name)));
  const needed = ["LICENSE", "packages/transceiver/package.json", "packages/udp/package.json"];
  for (const file of needed) {
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    copyFileSync(join(root, file), join(tree, file));
  }
  const script = join(root, "native", "package.mjs");
  const run = (...args: string[]) =>
    execFileSync(process.execPath, [script, "--root", tree, ...args], { encoding: "utf8" }).trim();
  const laid = run(built, platform!, arch!, ...(libc ? [libc] : []));
  run("pin");
  return { folder: laid, manifests: needed.slice(1).map((file) => readFileSync(join(tree, file), "utf8")) };
}

let manifests: readonly string[] = [];
before(() => {
  // In this order: a package compiles against the built types of those before it.
  for (const name of LIBRARIES) npm(root, "pack", "--workspace", `packages/${name}`, "--pack-destination", folder);
  npm(root, "pack", "--workspace", "cli", "--pack-destination", folder);
  if (!skip) {
    const addons = layAddons(join(folder, "release"));
    manifests = addons.manifests;
    npm(folder, "pack", addons.folder, "--pack-destination", folder);
  }
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "elsewhere", private: true, type: "module" }));
  // As in our own .npmrc: its install script would fetch libraries for graphics cards.
  writeFileSync(join(folder, ".npmrc"), "onnxruntime-node-install=skip\n");
  const archives = readdirSync(folder).filter((file) => file.endsWith(".tgz"));
  npm(folder, "install", "--prefer-offline", "--no-audit", "--no-fund", ...archives.map((file) => `./${file}`));
});
after(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("every archive has its licence and no test, and every file that it promises", () => {
  for (const name of [...LIBRARIES.map((library) => `@sluice/${library}`), "sluice"]) {
    const installed = join(folder, "node_modules", ...name.split("/"));
    assert.match(readFileSync(join(installed, "LICENSE"), "utf8"), /MIT License/);
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" });
    assert.deepEqual(
      files.filter((file) => /\.test\.\w+$/.test(file)),
      [],
      name,
    );
    const { exports } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8")) as {
      exports: Record<string, Record<string, string>>;
    };
    for (const file of Object.values(exports).flatMap((conditions) => Object.values(conditions)))
      assert(existsSync(join(installed, file)), `${name}: ${file}`);
  }
  const page = join(folder, "node_modules", "sluice", "dist", "console");
  assert.match(readFileSync(join(page, "plex-sans-license.txt"), "utf8"), /SIL Open Font License/i);
  assert.match(readFileSync(join(page, "licenses.md"), "utf8"), /libopus/);
});

test("a page's code compiles against the client's types and is bundled", async () => {
  const code =
    'import { connect } from "@sluice/client";\nconst call = await connect({ session: { instructions: "x" } });\ncall.on("transcript", ({ role, text }) => console.log(role.length, text.length));\ncall.on("sluice.turn", ({ total_ms }) => console.log(total_ms.toFixed()));\n';
  writeFileSync(join(folder, "page.ts"), code);
  const flags =
    "--noEmit --strict --skipLibCheck false --target es2024 --lib es2024,dom,dom.iterable --types --module esnext";
  const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
  const { stdout } = spawnSync(
    process.execPath,
    [tsc, ...flags.split(" "), "--moduleResolution", "bundler", "page.ts"],
    {
      cwd: folder,
      encoding: "utf8",
    },
  );
  assert.equal(stdout, "");
  await build({
    root: folder,
    configFile: false,
    logLevel: "error",
    build: { target: "es2024", outDir: "bundle", lib: { entry: "page.ts", formats: ["es"] } },
  });
  assert(readdirSync(join(folder, "bundle")).some((file) => file.endsWith(".js")));
});

test("the release names its repository, and refuses a tag of another version", { skip }, () => {
  for (const [tag, status] of [
    [`v${JSON.parse(manifests[0]!).version}`, 0],
    ["v0.0.0", 1],
  ] as const) {
    const tree = join(folder, "release");
    const env = {
      ...process.env,
      GITHUB_SERVER_URL: "https://example.org",
      GITHUB_REPOSITORY: "someone/sluice",
      GITHUB_REF_TYPE: "tag",
      GITHUB_REF_NAME: tag,
    };
    const pinning = spawnSync(process.execPath, [join(root, "native", "package.mjs"), "--root", tree, "pin"], { env });
    assert.equal(pinning.status, status, String(pinning.stderr));
    const { repository } = JSON.parse(readFileSync(join(tree, "packages", "udp", "package.json"), "utf8"));
    assert.deepEqual(repository, {
      type: "git",
      url: "git+https://example.org/someone/sluice.git",
      directory: "packages/udp",
    });
  }
});

test("every package can be imported from its archive", () => {
  for (const name of LIBRARIES) {
    const script = `const all = await import("@sluice/${name}"); if (Object.keys(all).length === 0) process.exit(3);`;
    execFileSync(process.execPath, ["--input-type=module", "--eval", script], { cwd: folder });
  }
});

test("the packages find QUIC, SRTP and UDP in batches in the package of their platform", { skip }, () => {
  const places = `
    const { hasBatches } = await import("@sluice/udp");
    const { loadQuicEngine } = await import("@sluice/transceiver");
    const { loadGcm } = await import(new URL("./node/srtp-addon.js", import.meta.resolve("@sluice/transceiver")));
    console.log(JSON.stringify([hasBatches(), loadQuicEngine().engine?.name, typeof loadGcm()]));`;
  const printed = execFileSync(process.execPath, ["--input-type=module", "--eval", places], { cwd: folder });
  const [batches, engine, gcm] = JSON.parse(String(printed)) as [boolean, string | undefined, string];
  assert.equal(batches, process.platform === "linux");
  assert.match(engine ?? "", /^quinn-proto \d/);
  assert.equal(gcm, "function");
  for (const manifest of manifests) {
    const { version, optionalDependencies } = JSON.parse(manifest) as {
      version: string;
      optionalDependencies: Record<string, string>;
    };
    assert.equal(optionalDependencies[nativePackageName()], version, "a release pins its own version");
  }
  const script = join(root, "native", "load.mjs");
  const installed = join(folder, "node_modules", ...nativePackageName().split("/"));
  assert.match(execFileSync(process.execPath, [script, installed], { encoding: "utf8" }), /SRTP by ring/);
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
