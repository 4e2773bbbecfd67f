/** A relay of several workers in a process of its own, one of which dies when the recovery bench says so. */

import { serveRelay } from "@sluice/relay";
import { createServerId, parseKeys } from "@sluice/routing";
import { HOST } from "../../fleet.ts";
import type { RelayReport, RelaySetup } from "./messages.ts";

const { keys, udpPort, workers } = JSON.parse(process.argv[2]!) as RelaySetup;
const relay = await serveRelay({
  keys: parseKeys(keys),
  host: HOST,
  port: 0,
  workers,
  directory: { cluster: 0, transceivers: [{ serverId: createServerId(0, 1), address: HOST, port: udpPort }] },
});
process.on("message", () => void relay.killWorker(0));
process.once("disconnect", () => process.exit(0));
process.send!({ kind: "ready", port: relay.port } satisfies RelayReport);
