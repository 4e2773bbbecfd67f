/** The certificate of page and API: read from files, and again when it was renewed. */
import { readFileSync, unwatchFile, watchFile } from "node:fs";
import { createSecureContext } from "node:tls";
import { UsageError } from "./flags.ts";

/** A certificate chain and its key, PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

const LOOK_EVERY_MS = 60_000;

/** Reads both files; throws {@link UsageError} when they are no pair that TLS can use. */
export function readTls(certFile: string, keyFile: string): TlsFiles {
  const read = (file: string, flag: string) => {
    try {
      return readFileSync(file, "utf8");
    } catch (cause) {
      throw new UsageError(`${flag}: cannot read ${file} (${(cause as NodeJS.ErrnoException).code})`, { cause });
    }
  };
  const files = { cert: read(certFile, "--tls-cert"), key: read(keyFile, "--tls-key") };
  try {
    createSecureContext(files);
  } catch (cause) {
    throw new UsageError(`--tls-cert and --tls-key hold no certificate (PEM) with its key`, { cause });
  }
  return files;
}

/** Calls `renewed` when the files have changed and are a pair again; the returned function ends it. */
export function watchTls(certFile: string, keyFile: string, renewed: (files: TlsFiles) => void): () => void {
  const look = () => {
    try {
      renewed(readTls(certFile, keyFile));
    } catch {
      // Half written, or not ours to mend: the certificate that is in use stays, and the next change is looked at.
    }
  };
  for (const file of [certFile, keyFile]) watchFile(file, { interval: LOOK_EVERY_MS, persistent: false }, look);
  return () => {
    for (const file of [certFile, keyFile]) unwatchFile(file, look);
  };
}
