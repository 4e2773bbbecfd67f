/** Every example in `examples/node` does what it says, as a program of its own against a real server. */
import assert from "node:assert/strict";
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer, connect as dial, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { after, before, test } from "node:test";
import { type SluiceProcess, startSluice } from "../lab/sluice.ts";
import { silence, speak } from "../lab/speech.ts";
import { encodeWav } from "../lab/wav.ts";

let server: SluiceProcess;
let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-examples-"));
  server = await startSluice();
});
after(async () => {
  await server.stop();
  await rm(folder, { recursive: true, force: true });
});

interface Program {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  printed(): string;
  /** Resolves once it printed something like `pattern`. */
  until(pattern: RegExp): Promise<void>;
}

function run(name: string, args: readonly string[], env: Record<string, string> = {}): Program {
  const path = join(import.meta.dirname, "..", "examples", "node", `${name}.ts`);
  const child = spawn(process.execPath, ["--conditions=sluice-source", path, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  let printed = "";
  child.stdout.on("data", (chunk) => (printed += String(chunk)));
  return {
    child,
    printed: () => printed,
    async until(pattern) {
      const signal = AbortSignal.timeout(20_000);
      while (!pattern.test(printed)) {
        assert(child.exitCode === null, `${name} ended before it printed ${pattern}: ${printed}`);
        await once(child.stdout, "data", { signal }).catch(() => assert.fail(`${pattern} is not in: ${printed}`));
      }
    },
  };
}

async function ended({ child }: Program): Promise<void> {
  if (child.exitCode === null) await once(child, "exit");
  assert.equal(child.exitCode, 0);
}

test("talk: a spoken question is answered by a spoken answer", async () => {
  const spoken = await speak("Good morning, how are you?");
  const [question, answer] = [join(folder, "question.wav"), join(folder, "answer.wav")];
  const pcm = new Int16Array(spoken.length + 12_000);
  pcm.set(silence(500));
  pcm.set(spoken, 12_000);
  await writeFile(question, encodeWav({ sampleRate: 24_000, channels: 1, pcm }));
  await ended(run("talk", [server.url, question, answer]));
  const written = await readFile(answer);
  assert.equal(written.toString("latin1", 0, 4), "RIFF");
  const seconds = (written.length - 44) / 48_000;
  assert(seconds > spoken.length / 24_000, `${seconds} s of an answer`);
});

test("text: a written question is answered in writing", async () => {
  const program = run("text", [server.url, "the moon is full"]);
  await ended(program);
  assert.match(program.printed(), /the moon is full/);
});

test("secret-server: a visitor gets a secret that opens one session", async () => {
  const locked = await startSluice({ env: { SLUICE_API_KEY: "open-sesame" } });
  const program = run("secret-server", [locked.url, "0"], { SLUICE_API_KEY: "open-sesame" });
  try {
    await program.until(/secrets at/);
    const address = /http:\S+/.exec(program.printed())![0];
    const { value } = (await (await fetch(address, { method: "POST" })).json()) as { value: string };
    const { connect } = await import("@sluice/client");
    const options = {
      url: locked.url,
      token: value,
      transport: "websocket",
      microphone: false,
      playout: false,
    } as const;
    const conversation = await connect(options);
    assert.equal(conversation.connectionState, "connected");
    conversation.close();
    await assert.rejects(connect(options), "it is spent");
  } finally {
    program.child.kill();
    await locked.stop();
  }
});

test("resume: what is said while there is no connection is answered after it", async () => {
  const sockets = new Set<Socket>();
  let open = true;
  const proxy = createServer((client) => {
    if (!open) return void client.resetAndDestroy();
    const upstream = dial(Number(new URL(server.url).port), "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => socket.destroy());
      socket.on("close", () => sockets.delete(socket));
    }
    client.pipe(upstream).pipe(client);
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  const { port } = proxy.address() as { port: number };
  const program = run("resume", [`http://localhost:${port}`]);
  try {
    await program.until(/\[connected\]/);
    program.child.stdin.write("first words\n");
    await program.until(/agent: .*first words/);
    open = false;
    for (const socket of sockets) socket.resetAndDestroy();
    await program.until(/\[reconnecting\]/);
    program.child.stdin.write("second words\n");
    await new Promise((resolve) => setTimeout(resolve, 300));
    open = true;
    await program.until(/agent: .*second words/);
    const states = [...program.printed().matchAll(/\[(connected|reconnecting)\]/g)].map(([, state]) => state);
    assert.deepEqual(states, ["connected", "reconnecting", "connected"]);
    assert.equal(program.printed().match(/agent: .*first words/g)?.length, 1, "the first answer came once");
    program.child.stdin.end();
    await ended(program);
  } finally {
    program.child.kill();
    proxy.close();
  }
});

test("tools: the agent asks, the program looks, the agent says", async () => {
  // A model that asks for the time, and then repeats what it was told.
  const model = createHttpServer((request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += String(chunk)));
    request.on("end", () => {
      const { messages = [] } = JSON.parse(body || "{}") as { messages?: { role: string; content?: string }[] };
      const told = messages.findLast(({ role }) => role === "tool")?.content;
      const call = { index: 0, id: "call_1", type: "function", function: { name: "current_time", arguments: "{}" } };
      const deltas = told ? [{ content: `It is ${told}.` }] : [{ tool_calls: [call] }];
      response.writeHead(200, { "content-type": "text/event-stream" });
      for (const delta of deltas) response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`);
      const finish = { index: 0, delta: {}, finish_reason: told ? "stop" : "tool_calls" };
      response.end(`data: ${JSON.stringify({ choices: [finish] })}\n\ndata: [DONE]\n\n`);
    });
  }).listen(0, "127.0.0.1");
  model.unref(); // a server that does not start must not leave the test waiting for this one
  await once(model, "listening");
  const { port } = model.address() as { port: number };
  const thinking = await startSluice({ args: ["--llm", `http://127.0.0.1:${port}/v1`], env: { OPENAI_API_KEY: "" } });
  try {
    const program = run("tools", [thinking.url]);
    await ended(program);
    const said = /current_time\(\) = (\S+)/.exec(program.printed())?.[1];
    assert(said, program.printed());
    assert.match(program.printed(), new RegExp(`It is ${said}`));
  } finally {
    await thinking.stop();
    model.close();
  }
});
