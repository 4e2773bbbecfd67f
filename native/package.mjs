/**
 * Makes the npm package of one platform, with all addons in it: `node native/package.mjs FOLDER PLATFORM ARCH [gnu|musl]` takes the
 * libraries that cargo built in FOLDER (its `target/release`) and lays `native/npm/native-PLATFORM-ARCH[-LIBC]`. `node
 * native/package.mjs pin` writes those that are there into the optional dependencies of the packages that load them, so that npm
 * installs the one that fits. In a GitHub workflow both write the repository, which npm's provenance must match, and a tag must be
 * that of the version. `--root FOLDER`: another checkout than this one.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { nativeFolder } from "./cargo.mjs";

const ADDONS = ["quic", "srtp", "udp"];
/** Who loads them. */
const LOADERS = ["transceiver", "udp"];

const { values, positionals } = parseArgs({
  options: { root: { type: "string", default: join(nativeFolder, "..") } },
  allowPositionals: true,
});
const packages = join(values.root, "native", "npm");
const manifestOf = (name) => join(values.root, "packages", name, "package.json");
const { version } = JSON.parse(readFileSync(manifestOf("transceiver"), "utf8"));

const { GITHUB_SERVER_URL, GITHUB_REPOSITORY, GITHUB_REF_TYPE, GITHUB_REF_NAME } = process.env;
const repositoryOf = (directory) =>
  GITHUB_REPOSITORY && {
    repository: { type: "git", url: `git+${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}.git`, directory },
  };

const [folder, os, cpu, libc] = positionals;
if (folder === "pin") pin();
else lay();

function lay() {
  const libraries = ADDONS.map((addon) => [addon, folder && os && join(folder, libraryName(addon))]);
  const missing = libraries.filter(([, file]) => !file || !existsSync(file)).map(([addon, file]) => file ?? addon);
  if (missing.length > 0 || !cpu || (os === "linux") !== (libc !== undefined)) {
    console.error(`usage: node native/package.mjs FOLDER PLATFORM ARCH [gnu|musl]; missing: ${missing.join(", ")}`);
    process.exit(2);
  }
  const name = ["native", os, cpu, libc].filter(Boolean).join("-");
  const target = join(packages, name);
  mkdirSync(target, { recursive: true });
  for (const [addon, file] of libraries) copyFileSync(file, join(target, `${addon}.node`));
  copyFileSync(join(values.root, "LICENSE"), join(target, "LICENSE"));
  const manifest = {
    name: `@sluice/${name}`,
    version,
    description: `QUIC, SRTP and batches of UDP for Sluice on ${[os, cpu, libc].filter(Boolean).join(" ")}.`,
    license: "MIT",
    ...repositoryOf("native"),
    files: ADDONS.map((addon) => `${addon}.node`),
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc === "gnu" ? "glibc" : libc] }),
  };
  writeFileSync(join(target, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  console.log(target);
}

/** What cargo calls an addon's library on this platform. */
function libraryName(addon) {
  if (os === "win32") return `sluice_${addon}.dll`;
  return `libsluice_${addon}.${os === "darwin" ? "dylib" : "so"}`;
}

function pin() {
  const names = readdirSync(packages).sort();
  const addons = Object.fromEntries(names.map((name) => [`@sluice/${name}`, version]));
  const published = readdirSync(join(values.root, "packages")).map((name) => join("packages", name));
  for (const directory of [...published, "cli"]) {
    const file = join(values.root, directory, "package.json");
    if (!existsSync(file)) continue;
    const manifest = JSON.parse(readFileSync(file, "utf8"));
    if (GITHUB_REF_TYPE === "tag" && GITHUB_REF_NAME !== `v${manifest.version}`) {
      console.error(`the tag is ${GITHUB_REF_NAME}, but ${manifest.name} is ${manifest.version}`);
      process.exit(1);
    }
    Object.assign(manifest, repositoryOf(directory.replaceAll("\\", "/")));
    if (LOADERS.includes(manifest.name.slice("@sluice/".length))) {
      manifest.optionalDependencies = { ...manifest.optionalDependencies, ...addons };
    }
    writeFileSync(file, `${JSON.stringify(manifest, undefined, 2)}\n`);
  }
  console.log(names.join("\n"));
}
