/** Pages' scripts for the lab and the browser tests, made from the SDK's sources. */
import { join } from "node:path";
import { build, type Rolldown } from "vite";

const SDK = join(import.meta.dirname, "..", "packages", "client", "src", "index.ts");

/** `app`, a module that imports the SDK as `"sdk"`, as one script. */
export async function bundleApp(app: string): Promise<string> {
  const result = (await build({
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["sluice-source", "module", "browser"] },
    plugins: [
      {
        name: "app",
        resolveId: (id) => (id === "app" ? "\0app" : id === "sdk" ? SDK : undefined),
        load: (id) => (id === "\0app" ? app : undefined),
      },
    ],
    build: { write: false, target: "es2024", rollupOptions: { input: "app", external: ["libopus-wasm"] } },
  })) as Rolldown.RolldownOutput | Rolldown.RolldownOutput[];
  const [output] = Array.isArray(result) ? result : [result];
  return output!.output.map((file) => (file.type === "chunk" ? file.code : "")).join("");
}
