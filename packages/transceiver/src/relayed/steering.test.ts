import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseRelay, type PublicRelay, readWhereabouts } from "./steering.ts";

const relays: PublicRelay[] = [
  { address: "192.0.2.1", port: 3478, region: "US", position: { latitude: 39, longitude: -77 } },
  { address: "192.0.2.2", port: 3478, region: "DE", position: { latitude: 50.1, longitude: 8.7 } },
  { address: "192.0.2.3", port: 3478, region: "JP", position: { latitude: 35.7, longitude: 139.7 } },
];
const choose = (headers: Readonly<Record<string, string>>) =>
  chooseRelay(
    relays,
    readWhereabouts((name) => headers[name]),
  )?.address;

test("a region's clients get the region's relay, whatever its case", () => {
  assert.equal(choose({ "cf-ipcountry": "DE" }), "192.0.2.2");
  assert.equal(choose({ "x-region": "jp", "cf-ipcountry": "DE" }), "192.0.2.3");
});

test("without a relay of its region a client gets the nearest by position, over the date line too", () => {
  assert.equal(choose({ "cf-ipcountry": "FR", "cf-iplatitude": "48.9", "cf-iplongitude": "2.4" }), "192.0.2.2");
  assert.equal(choose({ "x-latitude": "60", "x-longitude": "-179" }), "192.0.2.3");
});

test("who says nothing, or nonsense, gets the first", () => {
  assert.equal(choose({}), "192.0.2.1");
  assert.equal(choose({ "cf-ipcountry": "T1" }), "192.0.2.1");
  assert.equal(choose({ "x-latitude": "91", "x-longitude": "east" }), "192.0.2.1");
});
