/** Loads the addons that lie in a folder and has each do something: `node native/load.mjs FOLDER`. */
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const folder = process.argv[2] ?? "";
const load = (name) => createRequire(import.meta.url)(join(resolve(folder), `${name}.node`));

const engine = load("quic").engineName();

const { GcmKey } = load("srtp");
const key = new GcmKey(Buffer.alloc(16, 1), Buffer.alloc(12, 2));
const [packet, clear, text, tag] = [Buffer.alloc(12 + 20 + 16), 12, 20, 16];
const isSealed = key.seal(packet, clear, 0, 8, 1) && packet.subarray(clear, clear + text).some((octet) => octet !== 0);
if (!isSealed || !key.open(packet, clear, 0, 8, 1))
  throw new Error(`srtp.node does not seal and open ${text + tag} octets`);

const { UdpSocket } = load("udp");
if (process.platform === "linux") {
  const socket = new UdpSocket({
    address: "127.0.0.1",
    port: 0,
    reusePort: false,
    reuseAddress: false,
    ipv6Only: false,
  });
  if (socket.port === 0) throw new Error("udp.node opens no socket");
  socket.close();
} // elsewhere it exports none: its system calls are Linux's
console.log(`${engine}; SRTP by ring; ${UdpSocket ? "UDP in batches" : "no UDP in batches on this system"}`);
