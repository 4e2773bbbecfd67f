/** An echo by Sluice's transceiver: what it hears in order, decoded, is what it says. */
import { randomBytes } from "node:crypto";
import type { Utterance } from "@sluice/conversation";
import { createKeyRing, createServerId, generateKey } from "@sluice/routing";
import { loadOpus, serveWebRtc } from "@sluice/transceiver";
import { pino } from "pino";
import { answerOffers } from "./offers.ts";

const ECHO: Utterance = { responseId: "resp_echo", itemId: "item_echo", outputIndex: 0, contentIndex: 0 };

const server = await serveWebRtc({
  udpPort: 0,
  host: "127.0.0.1",
  keyRing: createKeyRing([generateKey(randomBytes)]),
  serverId: createServerId(0, 1),
  opus: await loadOpus(),
  now: () => performance.now(),
  log: pino({ level: "error" }, pino.destination({ dest: 2, sync: true })),
});
await answerOffers(async (offer) => {
  const { answer } = await server.answer(offer, (link) => ({
    onOpen: () => {},
    onMessage: () => {},
    onEarlyAudio: () => {},
    onOrderedAudio: (_now, { pcm }) => link.play(ECHO, pcm),
    onSent: () => {},
    onUtteranceEnded: () => {},
    onClosed: () => {},
  }));
  return answer;
});
