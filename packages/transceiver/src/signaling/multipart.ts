/** Reads multipart/form-data (RFC 7578, RFC 2046 section 5.1) that is all in memory: strict, bounded, without copies. */

/** Parts of a form, at most; a call has two. */
const MAX_PARTS = 16;
/** Bytes of one part's headers, at most. */
const MAX_HEADERS = 2048;

/** The boundary that a `content-type` names, `undefined` if it names none that RFC 2046 allows. */
export function boundaryOf(contentType: string): string | undefined {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]*)"|([^\s;]*))/i.exec(contentType) ?? [];
  const boundary = quoted ?? plain ?? "";
  return /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/.test(boundary) ? boundary : undefined;
}

/** The first part of each name, `undefined` if `body` is not a complete form. */
export function parseForm(body: Uint8Array, boundary: string): ReadonlyMap<string, Uint8Array> | undefined {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const delimiter = Buffer.from(`\r\n--${boundary}`);
  const fields = new Map<string, Uint8Array>();
  // The first delimiter may begin the body, and then lacks its line break.
  const opening = bytes.indexOf(delimiter.subarray(2));
  if (opening < 0 || (opening > 0 && bytes.toString("latin1", opening - 2, opening) !== "\r\n")) return undefined;
  let at = opening + delimiter.length - 2;
  for (let parts = 0; parts <= MAX_PARTS; parts++) {
    if (bytes.toString("latin1", at, at + 2) === "--") return fields;
    const line = bytes.indexOf("\r\n", at);
    if (line < 0 || bytes.toString("latin1", at, line).trim() !== "") return undefined;
    const start = bytes.indexOf("\r\n\r\n", line);
    const end = start < 0 ? -1 : bytes.indexOf(delimiter, start + 2);
    if (end < 0 || start - line > MAX_HEADERS) return undefined;
    const name = nameOf(bytes.toString("utf8", line, start));
    // A part may be empty: then its headers' last line break is the delimiter's first.
    if (name !== undefined && !fields.has(name)) fields.set(name, bytes.subarray(Math.min(start + 4, end), end));
    at = end + delimiter.length;
  }
  return undefined;
}

function nameOf(headers: string): string | undefined {
  return /(?:^|\r\n)content-disposition:[ \t]*form-data;[^\r\n]*?\bname="([^"\r\n]*)"/i.exec(headers)?.[1];
}
