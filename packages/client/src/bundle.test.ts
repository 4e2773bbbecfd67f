/** What an app pays for the SDK: the built bundle, minified and compressed, without the codec that most browsers never load. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { build, type Rolldown } from "vite";

const MAX_SIZE = 30 * 1024;

/** The one chunk that an app gets which imports `names` of the package. */
async function bundle(entry: string, source: string): Promise<string> {
  const virtual = "\0app";
  const result = (await build({
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["sluice-source", "module", "browser"] },
    plugins: [
      {
        name: "app",
        resolveId: (id) => (id === "app" ? virtual : id === "sdk" ? join(import.meta.dirname, entry) : undefined),
        load: (id) => (id === virtual ? source : undefined),
      },
    ],
    build: {
      write: false,
      target: "es2024",
      minify: true,
      rollupOptions: { input: "app", external: ["libopus-wasm", "react"], preserveEntrySignatures: "strict" },
    },
  })) as Rolldown.RolldownOutput | Rolldown.RolldownOutput[];
  const [output] = Array.isArray(result) ? result : [result];
  return output!.output.map((file) => (file.type === "chunk" ? file.code : "")).join("");
}

test("the whole SDK is under 30 KB, compressed", async (t) => {
  const code = await bundle("index.ts", 'export * from "sdk";');
  const size = gzipSync(code).length;
  t.diagnostic(`${code.length} bytes, ${size} compressed`);
  assert(size < MAX_SIZE, `${size} bytes`);
  // The server checks what it is sent; the client does not carry its checks along.
  assert(!code.includes("ZodError"), "no validation library");
});

test("the React hook adds little, and React is the app's own", async (t) => {
  const code = await bundle("react.ts", 'export { useConversation } from "sdk";');
  const size = gzipSync(code).length;
  t.diagnostic(`${size} compressed`);
  assert(size < MAX_SIZE, `${size} bytes`);
  assert.match(code, /from ?"react"/);
});

test("what an app does not use of it is not in its bundle", async () => {
  const all = await bundle("index.ts", 'export * from "sdk";');
  const errors = await bundle("index.ts", 'export { Unauthorized } from "sdk";');
  assert(errors.length < all.length / 50, `${errors.length} of ${all.length} bytes for one class`);
});
