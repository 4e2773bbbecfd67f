/** The protocol's words for MCP servers, as the conversation's contract gives them. */
import type { ToolServers } from "@sluice/conversation";

/** A server as a session shows it. */
export type McpTool = ToolServers["configured"][number];

/** Which calls have to be approved first. */
export type McpApproval = NonNullable<McpTool["require_approval"]>;

/** Tools by name, or by whether they only read. */
export interface McpToolFilter {
  readonly tool_names?: readonly string[];
  readonly read_only?: boolean;
}
