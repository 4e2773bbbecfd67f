/**
 * What Sluice itself costs a turn: `sluice start` with three engines that take no time, behind real HTTP on loopback, and
 * callers over WebSockets who speak in real time. Counted from the end of the turn, when it is committed, to the first audio
 * that left, by the server's own account (`sluice.turn`), three requests and what the other end takes for them included; what
 * noticing the end cost beyond the silence asked for is told apart (`endpointing_ms_…`). Answers are not
 * prepared (`--eager 0`): all of the way is walked after the turn; as the product runs, `prepared_ms_…`, most of it is
 * walked before. `bare_ms_…` is what three such exchanges, one after the other, cost a bare HTTP client that was as idle
 * before. The server has a core of its own, with 40 callers
 * for all of its threads; who asks and who answers have another. `--turns 40` of one caller, `--rounds 8` of forty.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { quantile } from "../quantile.ts";
import { startSluice } from "../sluice.ts";
import { silence, speak } from "../speech.ts";
import { pin } from "./cores.ts";
import type { BenchOptions, BenchResult } from "./run.ts";

const SILENCE_MS = 300;
const FRAME_SAMPLES = 480;
const MANY = 40;
/** Callers before it counts, and turns of each caller. */
const WARMING_CALLERS = 10;
const WARM_UP = 2;
/** Between two bare rounds: a caller's sentence, more or less. */
const IDLE_MS = 700;

/** Runs the bench. */
export async function run({ flags }: BenchOptions): Promise<BenchResult> {
  const models = fork(join(import.meta.dirname, "overhead/models.ts"), { execArgv: [] });
  const [port] = (await once(models, "message")) as [number];
  const url = `http://127.0.0.1:${port}/v1`;
  for (const { pid } of [process, models]) pin(pid, 1);
  try {
    const question = Int16Array.from([...(await speak("How are you today?")), ...silence(SILENCE_MS + 200)]);
    const alone = await measure(url, question, 1, Number(flags.turns ?? 40), ["--eager", "0"]);
    const prepared = await measure(url, question, 1, Number(flags.turns ?? 40), []);
    const bare = await measureBare(port, 2 * question.length, Number(flags.turns ?? 40));
    const many = await measure(url, question, MANY, Number(flags.rounds ?? 8), ["--eager", "0"]);
    const noticing = [...alone, ...prepared].map((turn) => stageOf(turn, "endpointing"));
    const rows = [
      { callers: 1, prepares: false, ...summary(alone) },
      { callers: 1, prepares: true, ...summary(prepared) },
      { callers: MANY, prepares: false, ...summary(many) },
    ];
    return {
      metrics: {
        overhead_ms_p50: quantile(alone.map(own), 0.5),
        overhead_ms_p95: quantile(alone.map(own), 0.95),
        overhead_40_ms_p95: quantile(many.map(own), 0.95),
        overhead_40_ms_p50: quantile(many.map(own), 0.5),
        bare_ms_p50: quantile(bare, 0.5),
        bare_ms_p95: quantile(bare, 0.95),
        endpointing_ms_p50: quantile(noticing, 0.5),
        endpointing_ms_p95: quantile(noticing, 0.95),
        prepared_ms_p50: quantile(prepared.map(own), 0.5),
        prepared_ms_p95: quantile(prepared.map(own), 0.95),
      },
      rows,
    };
  } finally {
    await end(models);
  }
}

/** `sluice.turn`, as far as it is read. */
interface TurnAccount {
  readonly total_ms: number;
  readonly silence_ms: number;
  readonly stages: readonly { readonly name: string; readonly ms: number }[];
}

/** From the committed turn to the first audio. */
function own(turn: TurnAccount): number {
  return turn.total_ms - stageOf(turn, "silence") - stageOf(turn, "endpointing");
}

function stageOf({ stages }: TurnAccount, name: string): number {
  return stages.find((stage) => stage.name === name)?.ms ?? 0;
}

function summary(turns: readonly TurnAccount[]) {
  const names = turns[0]?.stages.map(({ name }) => name) ?? [];
  const told = names.flatMap((name) =>
    [0.5, 0.95].map((q) => {
      const ms = quantile(
        turns.map((turn) => stageOf(turn, name)),
        q,
      );
      return [`${name}_ms_p${q * 100}`, Number(ms.toFixed(2))];
    }),
  );
  return { turns: turns.length, ...Object.fromEntries(told) };
}

async function measure(url: string, question: Int16Array, callers: number, turns: number, args: readonly string[]) {
  const engines = ["--llm", url, "--stt", url, "--tts", url, "--max-calls", "200"];
  const server = await startSluice({ args: [...engines, ...args] });
  const held = pin(server.child.pid, 0, callers > 1 ? 0 : 1);
  if (!held) console.error("the server is not held to a core: there is one only, or no taskset");
  try {
    const speak = async (callers: number, turns: number) => {
      const calls = Array.from({ length: callers }, async (_, at) => {
        await sleep((at * 1700) / callers); // nobody speaks in step
        return converse(server.url, question, turns);
      });
      return (await Promise.all(calls)).flat();
    };
    await speak(WARMING_CALLERS, 5); // a server that was just started compiles its code
    return await speak(callers, turns);
  } finally {
    await server.stop();
  }
}

/** Milliseconds that a sentence sent to recognition, a question to the model and a clause to the voice take in turn, of `turns`. */
async function measureBare(port: number, bytes: number, turns: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true });
  const exchange = (path: string, body: Buffer) =>
    new Promise<void>((done, fail) => {
      const options = { host: "127.0.0.1", port, path: `/v1/${path}`, method: "POST", agent };
      const sent = request({ ...options, headers: { "content-length": body.length } }, (reply) => {
        reply.once("data", () => done()); // the first of an answer is all that a turn waits for
        reply.resume();
      });
      sent.once("error", fail).end(body);
    });
  const times: number[] = [];
  for (let turn = 0; turn < turns + WARM_UP; turn++) {
    await sleep(IDLE_MS);
    const from = performance.now();
    await exchange("audio/transcriptions", Buffer.alloc(bytes));
    await exchange("chat/completions", Buffer.alloc(500));
    await exchange("audio/speech", Buffer.alloc(200));
    times.push(performance.now() - from);
  }
  agent.destroy();
  return times.slice(WARM_UP);
}

/** Speaks `turns` times in real time, each time after the answer came, and before that some more for warming up. */
async function converse(url: string, question: Int16Array, turns: number): Promise<TurnAccount[]> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/v1/realtime`);
  await once(socket, "open");
  const accounts: TurnAccount[] = [];
  let answered = Promise.withResolvers<void>();
  socket.onmessage = ({ data }) => {
    if (!String(data).includes('"sluice.turn"')) return;
    accounts.push(JSON.parse(String(data)));
    answered.resolve();
  };
  socket.onclose = () => answered.reject(new Error("the call ended"));
  const detection = { type: "server_vad", silence_duration_ms: SILENCE_MS };
  const session = { type: "realtime", audio: { input: { turn_detection: detection } }, sluice: { timeline: true } };
  socket.send(JSON.stringify({ type: "session.update", session }));
  const frames = Array.from({ length: Math.floor(question.length / FRAME_SAMPLES) }, (_, at) => {
    const pcm = question.subarray(at * FRAME_SAMPLES, (at + 1) * FRAME_SAMPLES);
    const audio = Buffer.from(pcm.buffer, pcm.byteOffset, pcm.byteLength).toString("base64");
    return JSON.stringify({ type: "input_audio_buffer.append", audio });
  });
  const quiet = JSON.stringify({
    type: "input_audio_buffer.append",
    audio: Buffer.alloc(FRAME_SAMPLES * 2).toString("base64"),
  });
  for (let turn = 0; turn < turns + WARM_UP; turn++) {
    answered = Promise.withResolvers();
    const began = performance.now();
    const speaking = (async () => {
      for (const [at, frame] of frames.entries()) {
        socket.send(frame);
        await sleep(Math.max(0, began + (at + 1) * 20 - performance.now()));
      }
      for (let at = 0; at < 15; at++) {
        socket.send(quiet);
        await sleep(20);
      }
    })();
    await within(answered.promise, 15_000);
    await speaking;
  }
  socket.onclose = null;
  socket.close();
  return accounts.slice(WARM_UP);
}

async function within(promise: Promise<void>, ms: number): Promise<void> {
  const late = sleep(ms, undefined, { ref: false }).then(() => Promise.reject(new Error(`no answer within ${ms} ms`)));
  await Promise.race([promise, late]);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const ended = once(child, "exit");
  child.disconnect();
  await ended;
}
