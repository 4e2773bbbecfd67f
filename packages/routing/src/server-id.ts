/** The name of a transceiver inside a token: a cluster and a node, never an address (addresses come from the directory). */

/** Cluster in the upper, node in the lower 16 bits. */
export type ServerId = number & { readonly brand: "ServerId" };

/** Bytes of a server id inside a connection ID. */
export const SERVER_ID_SIZE = 4;

/** Names node `node` of cluster `cluster`, each 0 to 65535. */
export function createServerId(cluster: number, node: number): ServerId {
  if (!isUint16(cluster) || !isUint16(node)) throw new RangeError(`server id out of range: ${cluster}.${node}`);
  return (cluster * 0x10000 + node) as ServerId;
}

/** The cluster that `id` belongs to. */
export function clusterOf(id: ServerId): number {
  return id >>> 16;
}

/** The node within its cluster. */
export function nodeOf(id: ServerId): number {
  return id & 0xffff;
}

/** Reads `cluster.node` in decimal. */
export function parseServerId(text: string): ServerId | undefined {
  const match = /^(0|[1-9]\d{0,4})\.(0|[1-9]\d{0,4})$/.exec(text);
  if (!match) return undefined;
  const [cluster, node] = [Number(match[1]), Number(match[2])];
  return isUint16(cluster) && isUint16(node) ? createServerId(cluster, node) : undefined;
}

/** Writes `cluster.node` in decimal. */
export function formatServerId(id: ServerId): string {
  return `${clusterOf(id)}.${nodeOf(id)}`;
}

/** The four bytes of `id`, network order. */
export function encodeServerId(id: ServerId): Uint8Array {
  return Uint8Array.of(id >>> 24, id >>> 16, id >>> 8, id);
}

/** Reads the four bytes at the start of `bytes`. */
export function decodeServerId(bytes: Uint8Array): ServerId | undefined {
  if (bytes.length < SERVER_ID_SIZE) return undefined;
  return (((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0) as ServerId;
}

function isUint16(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= 0xffff;
}
