/** A client by node-datachannel: `node libdatachannel.ts URL SAY.wav HEARD.raw EVENTS.jsonl`. See `../client.ts`. */
import { cleanup } from "node-datachannel";
import { Caller } from "../caller.ts";
import { runClient } from "../client.ts";
import { postTo } from "../signaling.ts";

await runClient(async ({ url, frames, onEvent }) => {
  const caller = await Caller.connect({ answer: postTo(url), ssrc: 0x1234, repair: true, listen: true, onEvent });
  return {
    setupMs: caller.setupMs,
    sendEvent: (event) => caller.sendEvent(event),
    speak: () => void caller.say(frames),
    close: () => caller.close().finally(cleanup),
  };
});
