/** Builds the console page into `dist`, from the SDK's source; `vite` alone serves it in front of a running server. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

// `sluice start` listens here unless told otherwise.
const server = "http://localhost:8080";

/** Whose licences bundled code and fonts must carry with them, beyond what `build.license` finds. */
const LICENSES = {
  "plex-sans-license.txt": "@fontsource/ibm-plex-sans/LICENSE",
  "plex-mono-license.txt": "@fontsource/ibm-plex-mono/LICENSE",
  "libopus-notices.md": "libopus-wasm/THIRD_PARTY_NOTICES.md",
};

export default defineConfig({
  base: "/",
  plugins: [
    {
      name: "licenses",
      generateBundle() {
        for (const [fileName, file] of Object.entries(LICENSES)) {
          const path = fileURLToPath(new URL(`../node_modules/${file}`, import.meta.url));
          this.emitFile({ type: "asset", fileName, source: readFileSync(path) });
        }
      },
    },
  ],
  resolve: { conditions: ["sluice-source", "module", "browser", "development|production"] },
  // Target what has WebRTC encoded for years; the page has no polyfills.
  build: {
    target: "es2024",
    outDir: "dist",
    emptyOutDir: true,
    reportCompressedSize: false,
    license: { fileName: "licenses.md" },
    rolldownOptions: {
      // libopus-wasm imports `node:module` in Node only.
      onLog: (level, log, handle) => /"node:module" has been externalized/.test(log.message) || handle(level, log),
    },
  },
  server: { proxy: { "/v1": { target: server, ws: true }, "/metrics": server } },
});
