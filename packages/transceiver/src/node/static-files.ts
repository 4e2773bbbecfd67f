/**
 * The console page and what belongs to it, read once into memory: requests never touch the disk, so no path of theirs
 * can leave the folder.
 */
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".ico": "image/x-icon",
  ".webp": "image/webp",
  ".woff2": "font/woff2",
  ".wasm": "application/wasm",
  ".wav": "audio/wav",
  ".webmanifest": "application/manifest+json",
  ".txt": "text/plain; charset=utf-8",
};

// Worklets and recordings are blobs of the page's own making; nothing comes from elsewhere.
const CONTENT_SECURITY_POLICY = [
  "default-src 'self'",
  "script-src 'self' blob: 'wasm-unsafe-eval'",
  "worker-src 'self' blob:",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data: blob:",
  "media-src 'self' blob: mediastream:",
  "connect-src 'self' https:", // WebTransport: another port, and behind a relay another host
  "object-src 'none'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** Files above this are not for a page. */
const MAX_FILES = 1000;

interface StaticFile {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly headers: Readonly<Record<string, string>>;
}

/** Answers requests for files, `undefined` for anything else. */
export type StaticFiles = (request: Request) => Response | undefined;

/** Reads the files under `folder`; a folder that does not exist holds none. */
export async function readStaticFiles(folder: string): Promise<StaticFiles> {
  const files = new Map<string, StaticFile>();
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    },
  );
  for (const entry of entries.filter((one) => one.isFile()).slice(0, MAX_FILES)) {
    const file = join(entry.parentPath, entry.name);
    const path = `/${relative(folder, file).split(sep).join("/")}`;
    const served = describe(path, new Uint8Array(await readFile(file)));
    files.set(path, served);
    if (path.endsWith("/index.html")) files.set(path.slice(0, -"index.html".length), served);
  }
  return (request) => {
    if (request.method !== "GET" && request.method !== "HEAD") return undefined;
    const file = files.get(pathOf(request.url));
    if (!file) return undefined;
    const { body, headers } = file;
    if (request.headers.get("if-none-match") === headers.etag) return new Response(null, { status: 304, headers });
    return new Response(request.method === "HEAD" ? null : body, { headers });
  };
}

function describe(path: string, body: Uint8Array<ArrayBuffer>): StaticFile {
  // Vite puts the hash of a file into its name below assets/: such a file never changes.
  const cache = path.startsWith("/assets/") ? "public, max-age=31536000, immutable" : "no-cache";
  return {
    body,
    headers: {
      "content-type": TYPES[extname(path).toLowerCase()] ?? "application/octet-stream",
      "content-length": String(body.length),
      "cache-control": cache,
      etag: `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`,
      "content-security-policy": CONTENT_SECURITY_POLICY,
      "permissions-policy": "microphone=(self), camera=(), geolocation=()",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-resource-policy": "same-origin",
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
    },
  };
}

function pathOf(url: string): string {
  try {
    return decodeURIComponent(new URL(url).pathname);
  } catch {
    return "";
  }
}
