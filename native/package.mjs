/**
 * Makes the npm package of one platform: `node native/package.mjs LIBRARY PLATFORM ARCH [gnu|musl]` lays
 * `native/npm/quic-PLATFORM-ARCH[-LIBC]` with `quic.node` in it. `node native/package.mjs pin` writes those that are there into the
 * transceiver's optional dependencies, so that npm installs the one that fits.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nativeFolder } from "./cargo.mjs";

const transceiverFile = join(nativeFolder, "..", "packages", "transceiver", "package.json");
const transceiver = JSON.parse(readFileSync(transceiverFile, "utf8"));
const packages = join(nativeFolder, "npm");

const [library, os, cpu, libc] = process.argv.slice(2);
if (library === "pin") pin();
else lay();

function lay() {
  if (!library || !os || !cpu || (os === "linux") !== (libc !== undefined) || !existsSync(library)) {
    console.error("usage: node native/package.mjs LIBRARY PLATFORM ARCH [gnu|musl]");
    process.exit(2);
  }
  const name = ["quic", os, cpu, libc].filter(Boolean).join("-");
  const folder = join(packages, name);
  mkdirSync(folder, { recursive: true });
  copyFileSync(library, join(folder, "quic.node"));
  copyFileSync(join(nativeFolder, "..", "LICENSE"), join(folder, "LICENSE"));
  const manifest = {
    name: `@sluice/${name}`,
    version: transceiver.version,
    description: `The QUIC engine of @sluice/transceiver for ${[os, cpu, libc].filter(Boolean).join(" ")}.`,
    license: "MIT",
    main: "quic.node",
    files: ["quic.node"],
    os: [os],
    cpu: [cpu],
    ...(libc && { libc: [libc === "gnu" ? "glibc" : libc] }),
  };
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(manifest, undefined, 2)}\n`);
  console.log(folder);
}

function pin() {
  const names = readdirSync(packages).sort();
  const engines = Object.fromEntries(names.map((name) => [`@sluice/${name}`, transceiver.version]));
  const optionalDependencies = { ...transceiver.optionalDependencies, ...engines };
  writeFileSync(transceiverFile, `${JSON.stringify({ ...transceiver, optionalDependencies }, undefined, 2)}\n`);
  console.log(names.join("\n"));
}
