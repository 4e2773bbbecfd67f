import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseProtocol } from "./net.ts";

test("the client's preference decides among what both speak; a client that names nothing may come", () => {
  const spoken = ["moq-lite-05", "moq-lite-04"];
  assert.equal(chooseProtocol(["moq-lite-06", "moq-lite-04", "moq-lite-05"], spoken), "moq-lite-04");
  assert.equal(chooseProtocol([], spoken), undefined);
  assert.equal(chooseProtocol(["moqt-99"], spoken), null);
});
