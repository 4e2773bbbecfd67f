/** The contract of servers whose tools run on our side (Model Context Protocol); adapters live in `@sluice/engines`. */
import type { McpTool } from "@sluice/realtime";

/** Which server, and what opens it; without `url` one of this server's configuration. */
export interface ToolServerSpec {
  readonly label: string;
  readonly url?: string | undefined;
  /** Bearer token. */
  readonly authorization?: string | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

/** A tool of such a server. */
export interface ServerTool {
  readonly name: string;
  readonly description?: string | undefined;
  /** JSON Schema. */
  readonly inputSchema: unknown;
  /** As the server gave them. */
  readonly annotations?: unknown;
  /** The server says that it changes nothing. */
  readonly readOnly: boolean;
}

/** Why a call failed, in the protocol's three kinds. */
export type ServerToolError =
  | { readonly type: "protocol_error"; readonly code: number; readonly message: string }
  | { readonly type: "http_error"; readonly code: number; readonly message: string }
  | { readonly type: "tool_execution_error"; readonly message: string };

/** What a tool answered. */
export type ServerToolOutcome = { readonly output: string } | { readonly error: ServerToolError };

/** A connection to one server. */
export interface ToolServer {
  /** Its tools; throws where they cannot be had. */
  list(signal: AbortSignal): Promise<readonly ServerTool[]>;
  /** Calls a tool with `args`, JSON as a model wrote it; never throws. An abort tells the server to stop. */
  call(name: string, args: string, signal: AbortSignal): Promise<ServerToolOutcome>;
  close(): void;
}

/** All servers that conversations may have. */
export interface ToolServers {
  /** Those that every conversation has, by configuration. */
  readonly configured: readonly McpTool[];
  /** Connects; throws with a message for a person where that is not allowed or fails. */
  open(server: ToolServerSpec, signal: AbortSignal): Promise<ToolServer>;
}
