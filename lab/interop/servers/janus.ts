/** Janus with its echo test: its configuration, and offers brought to it by its own protocol over HTTP. */
import { randomUUID } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Answerer } from "../caller.ts";
import { type Server, startServer } from "../process.ts";

const REQUEST_MS = 15_000;

interface Reply {
  readonly janus: string;
  readonly data?: { readonly id: number };
  readonly error?: { readonly reason: string };
  readonly jsep?: { readonly sdp: string };
  readonly plugindata?: { readonly data: { readonly error?: string } };
}

/** Starts Janus on loopback, with the echo test alone. */
export async function startJanus(): Promise<{ readonly server: Server; readonly answer: Answerer }> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-janus-"));
  const port = await freePort();
  const root = `http://127.0.0.1:${port}/janus`;
  mkdirSync(join(folder, "none"));
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  const off = (names: string) =>
    names
      .split(" ")
      .map((name) => `lib${name}.so`)
      .join(",");
  write(
    "janus.jcfg",
    `general: { configs_folder = "${folder}" loggers_folder = "${folder}/none" debug_level = 2 session_timeout = 0 server_name = "echo" }
media: { ipv6 = false }
nat: { ice_ignore_list = "vmnet" }
plugins: { disable = "${off("janus_audiobridge janus_duktape janus_lua janus_nosip janus_recordplay janus_sip janus_streaming janus_textroom janus_videocall janus_videoroom janus_voicemail")}" }
transports: { disable = "${off("janus_mqtt janus_nanomsg janus_pfunix janus_rabbitmq janus_websockets")}" }
events: { broadcast = false }
`,
  );
  write(
    "janus.transport.http.jcfg",
    `general: { json = "compact" base_path = "/janus" http = true port = ${port} ip = "127.0.0.1" https = false }
admin: { admin_http = false admin_https = false }
`,
  );
  const server = await startServer(["janus", "-F", folder, "-C", join(folder, "janus.jcfg")], {
    isReady: async () => (await fetch(`${root}/info`)).ok,
  });
  const stop = async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { server: { ...server, stop }, answer: (offer) => echo(root, offer) };
}

async function echo(root: string, offer: string): Promise<string> {
  const session = `${root}/${(await ask(root, { janus: "create" })).data!.id}`;
  const attached = await ask(session, { janus: "attach", plugin: "janus.plugin.echotest" });
  const jsep = { type: "offer", sdp: offer };
  await ask(`${session}/${attached.data!.id}`, { janus: "message", body: { audio: true, video: false }, jsep });
  for (const end = performance.now() + REQUEST_MS; performance.now() < end; ) {
    const response = await fetch(`${session}?maxev=1`, { signal: AbortSignal.timeout(REQUEST_MS) });
    const event = (await response.json()) as Reply;
    const failed = event.plugindata?.data.error ?? event.error?.reason;
    if (failed !== undefined) throw new Error(`janus: ${failed}`);
    if (event.jsep) return event.jsep.sdp;
  }
  throw new Error("janus did not answer");
}

async function ask(url: string, request: object): Promise<Reply> {
  const body = JSON.stringify({ ...request, transaction: randomUUID() });
  const response = await fetch(url, { method: "POST", body, signal: AbortSignal.timeout(REQUEST_MS) });
  const reply = (await response.json()) as Reply;
  if (reply.error) throw new Error(`janus: ${reply.error.reason}`);
  return reply;
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer().listen(0, "127.0.0.1", () => {
      const { port } = probe.address() as { port: number };
      probe.close(() => resolve(port));
    });
  });
}
