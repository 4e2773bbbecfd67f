/** Which relay a client is told to send to: the nearest, as far as the request that it came with says where it is. Pure. */

/** A relay that clients can reach. */
export interface PublicRelay {
  /** Numeric. */
  readonly address: string;
  readonly port: number;
  /** As the CDN's header says it: a country such as `DE`, or a region of one's own; compared without case. */
  readonly region?: string | undefined;
  /** Degrees, north and east. */
  readonly position?: Position | undefined;
}

/** A place on earth, in degrees. */
export interface Position {
  readonly latitude: number;
  readonly longitude: number;
}

/** Where a request says that its client is. */
export interface Whereabouts {
  readonly regions: readonly string[];
  readonly position: Position | undefined;
}

/** Headers that a CDN sets and clients cannot; the first that is there counts. */
export const REGION_HEADERS: readonly string[] = ["x-region", "cf-ipcountry"];
const LATITUDE_HEADERS = ["x-latitude", "cf-iplatitude"];
const LONGITUDE_HEADERS = ["x-longitude", "cf-iplongitude"];

/** Reads a request's headers (`header` by lower-case name). */
export function readWhereabouts(
  header: (name: string) => string | undefined,
  regionHeaders: readonly string[] = REGION_HEADERS,
): Whereabouts {
  const first = (names: readonly string[]) => names.map(header).find((value) => value !== undefined && value !== "");
  const latitude = degrees(first(LATITUDE_HEADERS), 90);
  const longitude = degrees(first(LONGITUDE_HEADERS), 180);
  return {
    regions: regionHeaders.flatMap((name) => header(name)?.slice(0, 64).toLowerCase() ?? []),
    position: latitude === undefined || longitude === undefined ? undefined : { latitude, longitude },
  };
}

/** The relay for a client: of its region, else the nearest by position, else the first. */
export function chooseRelay(
  relays: readonly PublicRelay[],
  { regions, position }: Whereabouts,
): PublicRelay | undefined {
  for (const region of regions) {
    const local = relays.find((relay) => relay.region?.toLowerCase() === region);
    if (local) return local;
  }
  if (!position) return relays[0];
  let [nearest, least] = [relays[0], Infinity];
  for (const relay of relays) {
    const distance = relay.position ? distanceOf(relay.position, position) : Infinity;
    if (distance < least) [nearest, least] = [relay, distance];
  }
  return nearest;
}

function degrees(text: string | undefined, limit: number): number | undefined {
  const value = text === undefined || text.trim() === "" ? Number.NaN : Number(text);
  return Math.abs(value) <= limit ? value : undefined;
}

/** Haversine of the angle between two places: grows with their distance. */
function distanceOf(a: Position, b: Position): number {
  const radians = Math.PI / 180;
  const sine = (angle: number) => Math.sin((angle * radians) / 2) ** 2;
  const across = Math.cos(a.latitude * radians) * Math.cos(b.latitude * radians);
  return sine(a.latitude - b.latitude) + across * sine(a.longitude - b.longitude);
}
