/** Finds a native addon: in the npm package of this platform, or as `npm ci` built it from source. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** What the addon exports, or in one line why there is none. */
export type NativeLoading = { readonly exports: object } | { readonly exports?: undefined; readonly reason: string };

/** The package that has all addons of a platform, such as `@sluice/native-linux-x64-gnu` (native/package.mjs lays it out). */
export function nativePackageName(
  platform: NodeJS.Platform = process.platform,
  arch: string = process.arch,
  isMusl: boolean = runsOnMusl(),
): string {
  const libc = platform === "linux" ? (isMusl ? "-musl" : "-gnu") : "";
  return `@sluice/native-${platform}-${arch}${libc}`;
}

/**
 * Loads addon `name` from the platform's package, else from `localBuild`, where native/build.mjs puts it. Environment
 * `SLUICE_NATIVE=off` does without.
 */
export function loadNative(name: "quic" | "srtp" | "udp", localBuild: URL): NativeLoading {
  if (process.env.SLUICE_NATIVE === "off") return { reason: "off: SLUICE_NATIVE=off" };
  const require = createRequire(localBuild);
  const reasons: string[] = [];
  const packageName = nativePackageName();
  for (const place of [`${packageName}/${name}.node`, fileURLToPath(localBuild)])
    try {
      return { exports: require(place) as object };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "MODULE_NOT_FOUND") reasons.push(`${place}: ${message.split("\n", 1)[0]}`);
    }
  const absent = `absent: neither ${packageName} nor a build from source (npm ci makes one where cargo is found)`;
  return { reason: reasons.length > 0 ? `there but does not load: ${reasons.join("; ")}` : absent };
}

function runsOnMusl(): boolean {
  if (process.platform !== "linux") return false;
  const report = Object.assign(process.report, { excludeNetwork: true }); // naming every interface takes long
  const { header } = report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime === undefined;
}
