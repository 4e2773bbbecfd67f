/** Which addresses a session may make this server connect to: none, unless the configuration says so (docs/security.md). */

/** The address, where its host is allowed; throws with a message for the client otherwise. */
export function checkUrl(text: string, allowed: readonly string[]): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol)) throw new Error("server_url must begin with https:// or http://");
  if (url.username !== "" || url.password !== "") {
    throw new Error("server_url must hold no user name or password: give them as authorization or headers");
  }
  if (!allowed.some((pattern) => matches(url, pattern))) {
    throw new Error(`this server does not connect to ${url.host}: its operator has to allow that host (mcp-hosts)`);
  }
  return url;
}

function matches(url: URL, pattern: string): boolean {
  const [, host = "", port] = /^(.*?)(?::(\d+|\*))?$/.exec(pattern.toLowerCase()) ?? [];
  const own = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
  // Without a port only the scheme's own is meant: a host's other ports are other services.
  const portFits = port === undefined ? url.port === "" : port === "*" || port === own;
  if (!portFits) return false;
  return host.startsWith("*.") ? url.hostname.endsWith(host.slice(1)) : url.hostname === host;
}
