/** What the relay bench measures, in a process of its own: a relay or `dgram`, configured by its arguments. */
import { createSocket } from "node:dgram";
import { type RelayOptions, serveRelay } from "@sluice/relay";

const [subject, port = "", sink = "", options = "{}"] = process.argv.slice(2);
if (subject !== "dgram") {
  const { keys, ...rest } = JSON.parse(options);
  const secrets = keys.map((key: { rotation: number; secret: string }) => ({
    ...key,
    secret: Buffer.from(key.secret, "hex"),
  }));
  await serveRelay({ ...rest, host: "127.0.0.1", port: Number(port), keys: secrets } as RelayOptions);
} else {
  // The least that Node can do with a datagram: one socket in, one connected socket out.
  const upstream = createSocket("udp4");
  const socket = createSocket({ type: "udp4", recvBufferSize: 4 << 20 });
  const onSent = () => undefined;
  socket.on("message", (packet) => upstream.send(packet, onSent));
  upstream.on("error", onSent);
  await new Promise<void>((resolve) => upstream.connect(Number(sink), "127.0.0.1", resolve));
  await new Promise<void>((resolve) => socket.bind(Number(port), "127.0.0.1", resolve));
}
process.send?.("ready");
