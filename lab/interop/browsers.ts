/** One spoken turn on the console's page in Firefox, measured by the same ear as in Chromium (`lab/ear.ts`). */
import { EAR_RATE, EAR_SCRIPT, takeRecording } from "../ear.ts";
import { type Firefox, spokenMicrophone } from "../firefox.ts";
import { concatenate, silence, speak } from "../speech.ts";
import { findTurns } from "../turns.ts";

/** The pipes of the SDK. */
export const PIPES = ["webrtc", "websocket", "webtransport"] as const;

/** What became of a turn. */
export interface PageTurn {
  /** From the click to the page's "connected". */
  readonly connectedMs: number;
  /** How much the answer resembles what was said, 0 to 1. */
  readonly likeness: number;
  /** From the last voiced sample at the microphone to the first of the answer; `undefined`: the answer was not recognised. */
  readonly mouthToEarMs: number | undefined;
}

/** As `test/e2e/talk.test.ts` asks of Chromium. */
const LIKENESS = 0.35;
/** Of a turn whose mouth and ear the page's own SDK measured. */
const STAGES = ["capture", "silence", "endpointing", "engine", "egress", "playout"];

const NAMES = { webrtc: "WebRTC", websocket: "WebSocket", webtransport: "WebTransport" } as const;

interface Turn {
  readonly type: string;
  readonly clock?: string;
  readonly stages?: readonly { readonly name: string }[];
}

interface Page {
  said: Turn[];
  clickedAt: number;
  connectedAt: number;
}

const FOLLOW = `() => {
  window.said = [];
  addEventListener("sluice:event", ({ detail }) => said.push(detail));
  addEventListener("DOMContentLoaded", () => {
    const state = document.querySelector("#state");
    new MutationObserver(() => {
      if (state.textContent.startsWith("connected")) window.connectedAt ??= performance.now();
    }).observe(state, { childList: true, characterData: true, subtree: true });
  });
}`;

/** Says `text` to the built-in agent of the server at `url`, which repeats it; throws where that does not come about. */
export async function talkInFirefox(
  firefox: Firefox,
  url: string,
  pipe: (typeof PIPES)[number],
  text = "The quick brown fox.",
): Promise<PageTurn> {
  const sentence = await speak(text, { sampleRate: EAR_RATE });
  const microphone = concatenate([silence(800, EAR_RATE), sentence]);
  const page = await firefox.newPage([spokenMicrophone(microphone, EAR_RATE), `() => { ${EAR_SCRIPT} }`, FOLLOW]);
  try {
    await page.goto(`${url}/?transport=${pipe}`);
    await page.evaluate(() => {
      (window as unknown as Page).clickedAt = performance.now();
      document.querySelector<HTMLButtonElement>("#talk")!.click();
    });
    await page.waitFor("it is connected", () => (window as unknown as Page).connectedAt > 0);
    const name = await page.evaluate(() => document.querySelector("#pipe-now")?.textContent ?? "");
    if (name !== NAMES[pipe]) throw new Error(`the page is on ${name} instead of ${NAMES[pipe]}`);
    await page.waitFor("a turn is measured", () =>
      (window as unknown as Page).said.some(({ type, clock }) => type === "sluice.turn" && clock === "client"),
    );
    // What is repeated is as long as what was said.
    await new Promise((resolve) => setTimeout(resolve, sentence.length / (EAR_RATE / 1000)));
    const [turn] = findTurns(await takeRecording(page), [sentence]);
    const { connectedMs, stages } = await page.evaluate(() => {
      const { said, clickedAt, connectedAt } = window as unknown as Page;
      const measured = said.find(({ type, clock }) => type === "sluice.turn" && clock === "client");
      return { connectedMs: connectedAt - clickedAt, stages: measured?.stages?.map(({ name }) => name) ?? [] };
    });
    const likeness = turn?.likeness ?? 0;
    if (likeness < LIKENESS) throw new Error(`the answer is not what was said: likeness ${likeness.toFixed(2)}`);
    if (stages.join() !== STAGES.join()) throw new Error(`the stages of the turn are ${stages.join(", ")}`);
    return { connectedMs, likeness, mouthToEarMs: turn?.mouthToEarMs };
  } finally {
    await page.close();
  }
}
