/** The contract of `SpeechToSpeech`, as tests for any engine: `testSpeechToSpeech("parrot", create, voice)`. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { durationMs, type Pcm, type SpeechEvent, type SpeechRequest, type SpeechToSpeech } from "@sluice/conversation";
import { endAfterAbort, leavesNothing } from "./resources.ts";

/** Declares the tests of the engine that `create` makes, which is called once; `voice` is a spoken sentence. */
export function testSpeechToSpeech(
  name: string,
  create: () => Promise<SpeechToSpeech>,
  voice: () => Promise<Pcm>,
): void {
  let created: Promise<SpeechToSpeech> | undefined;
  const withEngine = (sentence: string, run: (engine: SpeechToSpeech, spoken: SpeechRequest) => Promise<void>) =>
    test(`${name}: ${sentence}`, async () => run(await (created ??= create()), spokenRequest(await voice())));
  const never = new AbortController().signal;

  withEngine("describes itself in words", async (engine) => {
    assert.match(engine.description, /\w+ \w+/);
  });

  withEngine("answers speech by speech, and says what it says", async (engine, spoken) => {
    const { audioMs, transcript, kinds } = await collect(engine.open(never).respond(spoken, never));
    assert.ok(audioMs > 500);
    assert.ok(transcript.trim().length > 0);
    assert.ok(!kinds.has("text"));
  });

  withEngine("answers by text alone when text was asked for", async (engine, spoken) => {
    const request: SpeechRequest = { ...spoken, modality: "text" };
    const { audioMs, text } = await collect(engine.open(never).respond(request, never));
    assert.equal(audioMs, 0);
    assert.ok(text.trim().length > 0);
  });

  withEngine("answers typed text", async (engine, spoken) => {
    const items = [{ id: "item_1", role: "user" as const, parts: [{ kind: "text" as const, text: "Hello?" }] }];
    const { text } = await collect(engine.open(never).respond({ ...spoken, items, modality: "text" }, never));
    assert.ok(text.trim().length > 0);
  });

  withEngine("answers, or is silent, but never fails, when there is nothing to answer", async (engine, spoken) => {
    for (const modality of ["audio", "text"] as const)
      await collect(engine.open(never).respond({ ...spoken, items: [], modality }, never));
  });

  withEngine("ends within 50 ms of an abort, and leaves nothing", async (engine, spoken) => {
    await leavesNothing(async () => {
      const delays = await Promise.all(
        [0, 1, 2].map(async () => {
          const controller = new AbortController();
          const { iteration, started } = begin(engine.open(never).respond(stalled(spoken), controller.signal));
          await started;
          return endAfterAbort(controller, iteration);
        }),
      );
      assert.ok(Math.min(...delays) < 50, `${delays} ms`); // the fastest: other tests run beside this one
    });
  });

  withEngine("ends when its conversation ends", async (engine, spoken) => {
    await leavesNothing(async () => {
      const opened = new AbortController();
      const [first, second] = [engine.open(opened.signal), engine.open(never)];
      const answers = [first, second].map((session) => begin(session.respond(stalled(spoken), never)));
      await Promise.all(answers.map(({ started }) => started));
      opened.abort();
      second.close();
      await Promise.all(answers.map(({ iteration }) => iteration.catch(() => undefined)));
    });
  });

  withEngine("says nothing when it was aborted before", async (engine, spoken) => {
    const iteration = collect(engine.open(never).respond(spoken, AbortSignal.abort()));
    const answer = await iteration.catch(() => undefined);
    assert.equal(answer?.audioMs ?? 0, 0);
  });

  withEngine("leaves nothing when nobody reads on", async (engine, spoken) => {
    await leavesNothing(async () => {
      for await (const event of engine.open(never).respond(stalled(spoken), never)) if (event.kind === "audio") break;
    });
  });
}

/** A caller who said `voice` and is answered 250 ms later. */
function spokenRequest(voice: Pcm): SpeechRequest {
  const part = {
    kind: "audio" as const,
    pcm: voice,
    transcript: undefined,
    voicedStartMs: 0,
    voicedEndMs: durationMs(voice),
  };
  return {
    instructions: "",
    items: [{ id: "item_1", role: "user", parts: [part] }],
    modality: "audio",
    voice: "alloy",
    began: Promise.resolve({ afterSpeechMs: 250, clock: "client" }),
  };
}

/** The same, with a pipe that never says that it began. */
function stalled(request: SpeechRequest): SpeechRequest {
  return { ...request, began: new Promise(() => {}) };
}

function begin(events: AsyncIterable<SpeechEvent>): { iteration: Promise<void>; started: Promise<void> } {
  const { promise: started, resolve } = Promise.withResolvers<void>();
  const read = async () => {
    for await (const event of events) if (event.kind === "audio" || event.kind === "text") resolve();
  };
  return { iteration: read(), started };
}

async function collect(events: AsyncIterable<SpeechEvent>) {
  let [audioMs, transcript, text] = [0, "", ""];
  const kinds = new Set<string>();
  for await (const event of events) {
    kinds.add(event.kind);
    if (event.kind === "audio") audioMs += durationMs(event.pcm);
    else if (event.kind === "transcript") transcript += event.delta;
    else if (event.kind === "text") text += event.delta;
  }
  return { audioMs, transcript, text, kinds };
}
