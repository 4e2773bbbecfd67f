/** Builds the console page into `dist`, from the SDK's source; `vite` alone serves it in front of a running server. */
import { defineConfig } from "vite";

// `sluice start` listens here unless told otherwise.
const server = "http://localhost:8080";

export default defineConfig({
  base: "/",
  resolve: { conditions: ["sluice-source", "module", "browser", "development|production"] },
  // Target what has WebRTC encoded for years; the page has no polyfills.
  build: { target: "es2024", outDir: "dist", emptyOutDir: true, reportCompressedSize: false },
  server: { proxy: { "/v1": { target: server, ws: true }, "/metrics": server } },
});
