/**
 * Servers of tools by the Model Context Protocol: those of the configuration, started or connected to once for all
 * conversations, and those that a session names, only where the configuration allows their host.
 */
import type { ServerTool, ServerToolOutcome, ToolServer, ToolServerSpec, ToolServers } from "@sluice/conversation";
import type { McpApproval, McpTool, McpToolFilter } from "./config.ts";
import { Connection } from "./connection.ts";
import { checkUrl } from "./hosts.ts";

/** A server of the configuration: a program that is started, or an address. */
export type McpServerConfig = {
  /** By which sessions and events name it. */
  readonly label: string;
  /** Tools that are offered; default all. */
  readonly allowedTools?: readonly string[] | McpToolFilter | undefined;
  /** Calls that the client has to approve; default `never`: whoever configures a server trusts it. */
  readonly requireApproval?: McpApproval | undefined;
} & (
  | {
      /** Program to start; it speaks MCP on its standard streams. */
      readonly command: string;
      readonly args?: readonly string[] | undefined;
      /** Added to a few harmless variables of ours (PATH, HOME, …). */
      readonly env?: Readonly<Record<string, string>> | undefined;
      readonly cwd?: string | undefined;
    }
  | {
      /** Address of its Streamable HTTP endpoint. */
      readonly url: string;
      /** Bearer token. */
      readonly authorization?: string | undefined;
      readonly headers?: Readonly<Record<string, string>> | undefined;
    }
);

/** Settings of {@link createMcpServers}. */
export interface McpOptions {
  /** In every conversation. */
  readonly servers?: readonly McpServerConfig[] | undefined;
  /** Hosts that a session's `server_url` may name: `host:port`, `host`, `*.domain`. Default none. */
  readonly allowedHosts?: readonly string[] | undefined;
  /** Until a server is connected and has listed its tools, in milliseconds. Default 10,000. */
  readonly connectMs?: number | undefined;
  /** Until a tool has answered, in milliseconds. Default 30,000: the caller hears nothing meanwhile. */
  readonly callMs?: number | undefined;
  /** How we introduce ourselves. */
  readonly version?: string | undefined;
}

/** The servers, and an end to them. */
export interface McpServersHandle extends ToolServers {
  readonly configured: readonly McpTool[];
  /** Ends programs and connections. */
  close(): Promise<void>;
}

/** Makes the servers known; none is started or connected to before a conversation wants it. */
export function createMcpServers(options: McpOptions = {}): McpServersHandle {
  const { servers = [], allowedHosts = [], connectMs = 10_000, callMs = 30_000, version = "0" } = options;
  const limits = { connectMs, callMs, version };
  const shared = new Map(servers.map((config) => [config.label, new Connection(targetOf(config), limits)]));
  return {
    configured: servers.map(describe),
    async open(server, signal) {
      if (server.url === undefined) {
        const connection = shared.get(server.label);
        if (!connection)
          throw new Error(`no MCP server '${server.label}' is configured, and the session names no address`);
        await connection.ready(signal);
        return handle(connection, () => {}); // the connection is for others, too
      }
      const url = checkUrl(server.url, allowedHosts);
      const connection = new Connection({ url, headers: headersOf(server) }, limits);
      await connection.ready(signal);
      return handle(connection, () => void connection.close());
    },
    async close() {
      await Promise.all([...shared.values()].map((connection) => connection.close()));
    },
  };
}

function handle(connection: Connection, close: () => void): ToolServer {
  return {
    list: (signal): Promise<readonly ServerTool[]> => connection.list(signal),
    call: (name, args, signal): Promise<ServerToolOutcome> => connection.call(name, args, signal),
    close,
  };
}

function describe({ label, allowedTools, requireApproval }: McpServerConfig): McpTool {
  return {
    type: "mcp",
    server_label: label,
    require_approval: requireApproval ?? "never",
    ...(allowedTools && { allowed_tools: allowedTools }),
  };
}

function targetOf(config: McpServerConfig) {
  if ("command" in config) return config;
  return { url: new URL(config.url), headers: headersOf(config) };
}

function headersOf({ headers, authorization }: Pick<ToolServerSpec, "headers" | "authorization">) {
  return { ...headers, ...(authorization !== undefined && { authorization: `Bearer ${authorization}` }) };
}
