/** The MCP servers of a conversation as its clients and its models see them: items that list their tools, and what is offered. */
import type { McpListToolsItem, McpTool, Session } from "@sluice/realtime";
import { Approvals } from "./approvals.ts";
import type { EngineFailure } from "./engines.ts";
import { McpServers, type OfferedTools } from "./mcp.ts";
import type { Memory } from "./memory.ts";
import type { IdPrefix, Outbox } from "./outbox.ts";
import { functionTools } from "./settings.ts";
import type { ServerTool, ToolServerSpec } from "./tool-server.ts";

/** The servers' tools of one conversation; which servers there are, and what they may do, is for {@link McpServers}. */
export class ServerTools {
  readonly #outbox: Outbox;
  readonly #memory: Memory;
  readonly #servers: McpServers;

  /** Calls that wait for the client's word. */
  readonly approvals = new Approvals();

  /** `configured`: the servers that every conversation has. */
  constructor(outbox: Outbox, memory: Memory, configured: readonly McpTool[], createId: (prefix: IdPrefix) => string) {
    this.#outbox = outbox;
    this.#memory = memory;
    this.#servers = new McpServers(configured, () => createId("item"));
  }

  configure(tools: Session["tools"]): void {
    this.#servers.configure(tools);
  }

  /** Whether there is such a server. */
  has(label: string): boolean {
    return this.#servers.has(label);
  }

  /** What a model may call; `tools`: the session's, or those of one response. */
  offer(tools: Session["tools"], inConversation: boolean): OfferedTools {
    const offered = this.#servers.offer(functionTools(tools), tools);
    if (inConversation) return offered;
    // Beside the conversation nobody could approve anything: the question would be no item of it.
    const asked = new Set([...offered.targets].flatMap(([name, target]) => (target.needsApproval ? [name] : [])));
    return { ...offered, tools: offered.tools.filter(({ name }) => !asked.has(name)) };
  }

  /** A server told its tools, or why it could not. Answers whether anybody still wants to know. */
  handleListed(label: string, itemId: string, listed: readonly ServerTool[] | EngineFailure): boolean {
    const failure = "message" in listed ? listed : undefined;
    const tools = "message" in listed ? undefined : listed;
    const item = this.#memory.find(itemId);
    if (!this.#servers.handleListed(label, itemId, tools) || item?.type !== "mcp_list_tools") return false;
    const done: McpListToolsItem = {
      ...item,
      status: failure ? "incomplete" : "completed",
      tools: (tools ?? []).map(formatTool),
      ...(failure && { error: failure.message }),
    };
    this.#memory.replace(done);
    this.#outbox.send({ type: failure ? "mcp_list_tools.failed" : "mcp_list_tools.completed", item_id: itemId });
    const previous_item_id = this.#memory.previousId(itemId);
    this.#outbox.send({ type: "conversation.item.done", item: done, previous_item_id });
    return true;
  }

  /** Connects to the servers that are new, and lets go of those that are not wanted any more. */
  settle(): void {
    for (let event = this.#servers.nextEvent(); event; event = this.#servers.nextEvent()) {
      if (event.kind === "drop") this.#outbox.push({ kind: "dropTools", label: event.label });
      else this.#connect(event.server, event.itemId);
    }
  }

  #connect(server: ToolServerSpec, itemId: string): void {
    const item: McpListToolsItem = {
      id: itemId,
      object: "realtime.item",
      type: "mcp_list_tools",
      status: "in_progress",
      server_label: server.label,
      tools: [],
    };
    const previous_item_id = this.#memory.lastId;
    const dropped = this.#memory.add(item);
    for (const item_id of dropped) this.#outbox.send({ type: "conversation.item.deleted", item_id });
    this.#outbox.send({ type: "conversation.item.added", item, previous_item_id });
    this.#outbox.send({ type: "mcp_list_tools.in_progress", item_id: itemId });
    this.#outbox.push({ kind: "connectTools", server, itemId });
  }
}

function formatTool({ name, description, inputSchema, annotations }: ServerTool) {
  return { name, description: description ?? null, input_schema: inputSchema, annotations: annotations ?? null };
}
