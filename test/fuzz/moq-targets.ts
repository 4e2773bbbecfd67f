/** The parsers of Media over QUIC that are ours: catalog and containers of hang. */
import { encodeVarint } from "@sluice/realtime";
import { formatCatalog, parseCatalog } from "../../packages/transceiver/src/moq/catalog.ts";
import { decodeMediaFrame, encodeLegacy } from "../../packages/transceiver/src/moq/container.ts";
import type { FuzzTarget } from "./target.ts";

const packet = Uint8Array.of(0xf8, 1, 2, 3);
const properties = Buffer.concat([0x08, 48_000, 8, 960, 5, 1, 7].map(encodeVarint));

/** The parsers of docs/moq.md. */
export const moqTargets: readonly FuzzTarget[] = [
  {
    name: "hang catalog",
    seeds: [Buffer.from(formatCatalog()), Buffer.from('{"audio":{"renditions":{"a":{"codec":"opus"}}}}')],
    share: 0.25,
    parse: parseCatalog,
  },
  {
    name: "legacy container",
    seeds: [encodeLegacy({ micros: 20_000, packet })],
    maxSize: 64,
    share: 0.25,
    parse: (input) => decodeMediaFrame("legacy", input),
  },
  {
    name: "loc container",
    seeds: [Buffer.concat([encodeVarint(properties.length), properties, packet])],
    maxSize: 64,
    share: 0.25,
    parse: (input) => decodeMediaFrame("loc", input),
  },
];
