/**
 * A real MCP server, made with the SDK that most servers are made with, for the tests: on its standard streams when run
 * as a program, over Streamable HTTP on a loopback port when served by a test.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { z } from "zod";

/** What was written by the tool `note`, of all servers of this process. */
export const notes: string[] = [];

function createNotes(): McpServer {
  const server = new McpServer({ name: "notes", version: "1.0.0" });
  server.registerTool(
    "weather",
    {
      description: "The weather in a city.",
      inputSchema: { city: z.string() },
      annotations: { readOnlyHint: true },
    },
    ({ city }) => ({ content: [{ type: "text", text: `It is raining in ${city}.` }] }),
  );
  server.registerTool("note", { description: "Writes a note.", inputSchema: { text: z.string() } }, ({ text }) => {
    notes.push(text);
    return { content: [{ type: "text", text: `noted: ${text}` }] };
  });
  server.registerTool("fail", { description: "Fails." }, () => ({
    content: [{ type: "text", text: "no luck" }],
    isError: true,
  }));
  server.registerTool("slow", { description: "Takes its time." }, async (_extra) => {
    await sleep(60_000, undefined, { ref: false });
    return { content: [{ type: "text", text: "at last" }] };
  });
  server.registerTool("environment", { description: "Names of variables." }, () => ({
    content: [{ type: "text", text: JSON.stringify(process.env) }],
  }));
  return server;
}

/** A server over HTTP. */
export interface McpHttp {
  /** Such as `http://127.0.0.1:40000/mcp`. */
  readonly url: string;
  /** Headers of every request so far. */
  readonly requests: IncomingMessage["headers"][];
  close(): Promise<void>;
}

/** Serves the tools on a free loopback port; with `token`, to bearers of it only; with `redirect`, sends others there. */
export async function serveMcp({ token, redirect }: { token?: string; redirect?: string } = {}): Promise<McpHttp> {
  const requests: IncomingMessage["headers"][] = [];
  const server = createServer(async (request, response) => {
    requests.push(request.headers);
    if (redirect !== undefined) return void response.writeHead(307, { location: redirect }).end();
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) {
      // As badly behaved servers do: it quotes the key.
      return void response.writeHead(401).end(`not for ${request.headers.authorization}`);
    }
    const transport = new StreamableHTTPServerTransport({});
    response.on("close", () => void transport.close());
    await createNotes().connect(transport as Transport);
    await transport.handleRequest(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

if (import.meta.main) await createNotes().connect(new StdioServerTransport());
