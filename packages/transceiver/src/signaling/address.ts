/** What an HTTP request says about where it comes from: loopback addresses, hosts and origins (RFC 6761, 6454). */

/** Whether a socket's address is this machine's own. */
export function isLoopbackAddress(address: string | undefined): boolean {
  if (address === undefined) return false;
  const v4 = address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
  return address === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(v4);
}

/** Whether a `Host` header, or the host of a URL, names this machine. A name that merely resolves to it does not. */
export function isLoopbackHost(host: string | undefined): boolean {
  return host !== undefined && /^(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?$/i.test(host);
}

/** Whether an `Origin` header names a page of this machine. `null`, the origin of files and sandboxes, does not. */
export function isLoopbackOrigin(origin: string): boolean {
  const [, host] = /^https?:\/\/([^/]+)$/i.exec(origin) ?? [];
  return isLoopbackHost(host);
}

/**
 * Whether a request was made on this machine, by a person at it or a page of it: not by a proxy, nor a page on the web, nor
 * by a name that resolves here (DNS rebinding).
 */
export function isFromHere(remoteAddress: string | undefined, header: (name: string) => string | undefined): boolean {
  const origin = header("origin");
  return (
    isLoopbackAddress(remoteAddress) &&
    !isProxied(header) &&
    isLoopbackHost(header("host")) &&
    (origin === undefined || isLoopbackOrigin(origin))
  );
}

// Any of these says that the socket's address is a proxy's, not the caller's.
const PROXY_HEADERS = [
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
  "x-real-ip",
  "via",
  "cf-connecting-ip",
  "true-client-ip",
];

/** Whether the request came through something that says so. */
export function isProxied(header: (name: string) => string | undefined): boolean {
  return PROXY_HEADERS.some((name) => header(name) !== undefined);
}
