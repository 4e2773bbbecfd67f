/** Sluice in a process of its own, with an agent that hears and speaks tone words: prints where it takes calls. */
import { randomBytes } from "node:crypto";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { serveTransceiver } from "@sluice/transceiver";
import { pino } from "pino";
import { afterTold, INFERENCE } from "../profiles/inference.ts";
import { createToneAgent, createToneVad } from "../tone-speech/engines.ts";
import { ANSWER } from "./words.ts";

const transceiver = await serveTransceiver({
  keyRing: createKeyRing([generateKey(randomBytes)]),
  serverId: createServerId(1, 1),
  log: pino({ level: "error" }, pino.destination({ dest: 2, sync: true })),
  host: "127.0.0.1",
  port: 0,
  udpPort: 0,
  advertise: ["127.0.0.1"],
  apiKey: undefined,
  engines: {
    vad: createToneVad(),
    speech: createToneAgent({ profile: afterTold(INFERENCE.fast), seed: 1, reply: () => ANSWER }),
  },
  model: "tones",
  version: "0.0.0",
  staticDir: undefined,
  maxCalls: 100,
});
console.log(`${transceiver.url.replace("localhost", "127.0.0.1")}/v1/realtime/calls`);
process.on("SIGTERM", () => process.exit(0));
