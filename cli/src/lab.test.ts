import assert from "node:assert/strict";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { test } from "node:test";
import { findLab, LabProcess } from "./lab.ts";

test("the lab's network carries what callers of this machine send while a profile is chosen", async () => {
  const program = findLab();
  assert(program, "this is a checkout");
  const server = createSocket("udp4").bind(0, "127.0.0.1");
  const client = createSocket("udp4");
  await once(server, "listening");
  const lab = new LabProcess(program, server.address().port);
  try {
    const { profiles, profile } = await lab.state();
    assert.deepEqual([lab.place, profile], [undefined, null]);
    const names = ["clear", "good-wifi", "cafe-wifi", "lte", "lte-edge", "train", "satellite", "hotel-nat"];
    assert.deepEqual(
      profiles.map(({ name }) => name),
      names,
    );
    assert.deepEqual(profiles.filter(({ round_trip_ms: ms, loss }) => ms >= 16 && loss > 0 && loss < 0.05).length, 7);
    await assert.rejects(lab.apply({ profile: "moon" }), RangeError);
    await lab.apply({ profile: "clear" });
    const { place } = lab;
    assert(place);
    const sent = async (text: string) => {
      client.send(text, place.port, place.address);
      const [message, from] = (await once(server, "message")) as [Buffer, { port: number }];
      assert.equal(message.toString(), text);
      return from.port;
    };
    const before = await sent("one");
    await lab.apply({ rebind: true });
    assert.notEqual(await sent("two"), before);
    await lab.apply({ blackout_ms: 5000 });
    client.send("lost", place.port, place.address);
    while ((await lab.state()).packets.dropped === 0);
    await lab.apply({ profile: null });
    assert.deepEqual([lab.place], [undefined]);
    assert.deepEqual((await lab.state()).packets, { carried: 2, dropped: 1 });
  } finally {
    await lab.close();
    server.close();
    client.close();
  }
});
