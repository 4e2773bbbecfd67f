/**
 * The catalog of a hang broadcast: its track `catalog.json`, each frame the whole catalog as JSON, a map from track names to
 * what they hold. We read one rendition of Opus out of it and write one.
 */
import type { ContainerKind } from "./container.ts";

/** Track of the catalog. */
export const CATALOG_TRACK = "catalog.json";
/** Track of the agent's speech. */
export const AUDIO_TRACK = "audio";
/** Track of the Realtime events: each frame one event as JSON, UTF-8. */
export const EVENTS_TRACK = "events.json";

/** A track of Opus that can be heard. */
export interface AudioRendition {
  readonly track: string;
  readonly container: ContainerKind;
}

/** Bytes of a catalog that is read. */
const MAX_CATALOG_SIZE = 64 * 1024;
const MAX_RENDITIONS = 64;
const MAX_TRACK_NAME = 256;

/** The agent's catalog. `sluice` is a section of our own: other readers pass over it. */
export function formatCatalog(): string {
  const opus = {
    codec: "opus",
    container: { kind: "legacy" },
    sampleRate: 48_000,
    numberOfChannels: 1,
    bitrate: 40_000,
    jitter: 20,
  };
  return JSON.stringify({ audio: { renditions: { [AUDIO_TRACK]: opus } }, sluice: { events: EVENTS_TRACK } });
}

/**
 * What a publisher's catalog offers us to hear: its first rendition of Opus. `undefined`: it is no catalog; `null`: there is
 * nothing to hear (yet).
 */
export function parseCatalog(frame: Uint8Array): AudioRendition | null | undefined {
  const catalog = parseObject(frame);
  if (catalog === undefined) return undefined;
  const renditions = asObject(asObject(catalog.audio)?.renditions) ?? {};
  for (const [track, value] of Object.entries(renditions).slice(0, MAX_RENDITIONS)) {
    const config = asObject(value);
    // Absent: the container of before there were others. A track of another broadcast is not followed.
    const kind = config?.container === undefined ? "legacy" : asObject(config.container)?.kind;
    if (config?.codec !== "opus" || config.broadcast !== undefined || track.length > MAX_TRACK_NAME) continue;
    if (kind === "legacy" || kind === "loc") return { track, container: kind };
  }
  return null;
}

function parseObject(frame: Uint8Array): Record<string, unknown> | undefined {
  if (frame.length > MAX_CATALOG_SIZE) return undefined;
  try {
    return asObject(JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(frame)));
  } catch {
    return undefined; // neither UTF-8 nor JSON
  }
}

function asObject(value: unknown): Record<string, unknown> | undefined {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : undefined;
}
