/** A form with a file (RFC 7578), as one buffer of known length. */
import { randomUUID } from "node:crypto";
import type { Payload } from "./endpoint.ts";

/** The file of a form. */
export interface FormFile {
  readonly name: string;
  readonly fileName: string;
  readonly contentType: string;
  /** In parts, one after the other. */
  readonly bytes: readonly Buffer[];
}

/** Encodes `fields` in order, and after them `file`. */
export function multipartPayload(fields: readonly (readonly [string, string])[], file: FormFile): Payload {
  const boundary = `sluice-${randomUUID()}`;
  const head = (name: string, rest: string) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${rest}\r\n\r\n`;
  const texts = fields.map(([name, value]) => `${head(name, "")}${value}\r\n`).join("");
  const fileHead = head(file.name, `; filename="${file.fileName}"\r\nContent-Type: ${file.contentType}`);
  const body = Buffer.concat([Buffer.from(texts + fileHead), ...file.bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return { contentType: `multipart/form-data; boundary=${boundary}`, body };
}
