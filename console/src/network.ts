/** The server's bad network (`/v1/lab/network`), which it offers to pages of its own machine. */

/** A network that may be chosen. */
export interface Profile {
  readonly name: string;
  readonly about: string;
  readonly round_trip_ms: number;
  readonly loss: number;
  readonly measured: string;
  readonly source: string;
  readonly assumed: string;
}

/** What the server says of it. */
export interface NetworkState {
  readonly profiles: readonly Profile[];
  readonly profile: string | null;
  readonly packets: { readonly carried: number; readonly dropped: number };
}

/** A change to it. */
export interface NetworkOrder {
  readonly profile?: string | null;
  readonly rebind?: true;
  readonly blackout_ms?: number;
}

/** Asks for it, or changes it first; `undefined`: this server has none, or not for this page. */
export async function askNetwork(token: string | undefined, order?: NetworkOrder): Promise<NetworkState | undefined> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  const change = order && { method: "POST", body: JSON.stringify(order), keepalive: true };
  const response = await fetch("/v1/lab/network", { headers, ...change });
  if (response.status === 401 || response.status === 403 || response.status === 404) return undefined;
  if (!response.ok) throw new Error(`the lab's network answered with status ${response.status}`);
  return (await response.json()) as NetworkState;
}

/** A profile's figures in words. */
export function describeProfile({ round_trip_ms, loss }: Profile): string {
  const percent = loss * 100;
  return `${round_trip_ms} ms · ${percent === 0 ? "0" : percent < 1 ? percent.toPrecision(1) : percent.toFixed(1)} % lost`;
}

/** A profile's name as people write it. */
export function titleOf(name: string): string {
  const words = name.replaceAll("-", " ").replace(/\b(lte|nat)\b/g, (word) => word.toUpperCase());
  return words[0]!.toUpperCase() + words.slice(1);
}
