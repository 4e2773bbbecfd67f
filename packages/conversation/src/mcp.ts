/**
 * The MCP servers of one conversation: which there are, what tools they have, which of these a model is offered, and
 * which calls a person has to approve first. Never reads a clock.
 */
import type { McpTool, McpToolFilter, ToolDefinition } from "@sluice/realtime";
import type { Tool } from "./engines.ts";
import type { ServerTool, ToolServerSpec } from "./tool-server.ts";

/** What is to be done about a server. */
export type McpEvent =
  | { readonly kind: "connect"; readonly server: ToolServerSpec; readonly itemId: string }
  | { readonly kind: "drop"; readonly label: string };

/** A tool by the name that the model knows. */
export interface McpTarget {
  readonly label: string;
  readonly name: string;
  /** The client decides before it is called. */
  readonly needsApproval: boolean;
}

/** What a model may call: functions of the client, and tools of servers. */
export interface OfferedTools {
  readonly tools: readonly Tool[];
  /** The servers' tools among them, by the name they are offered under. */
  readonly targets: ReadonlyMap<string, McpTarget>;
}

interface Server {
  settings: McpTool;
  readonly key: string; // what opens it: when that changes, it is another server
  readonly itemId: string; // of its `mcp_list_tools`
  tools: readonly ServerTool[] | undefined; // undefined until listed, or when that failed
}

/** APIs take no longer names, and no other characters. */
const NAME_LENGTH = 64;

/** The servers of one conversation. */
export class McpServers {
  readonly #configured: readonly McpTool[];
  readonly #createItemId: () => string;
  readonly #servers = new Map<string, Server>();
  readonly #events: McpEvent[] = [];

  /** `configured`: the servers that every conversation has; a session may narrow them by naming their label. */
  constructor(configured: readonly McpTool[], createItemId: () => string) {
    this.#configured = configured;
    this.#createItemId = createItemId;
  }

  /** The session's tools are these from now on. */
  configure(tools: readonly ToolDefinition[]): void {
    const wanted = new Map(this.#configured.map((tool) => [tool.server_label, tool]));
    for (const tool of tools) {
      if (tool.type !== "mcp") continue;
      const known = tool.server_url === undefined ? wanted.get(tool.server_label) : undefined;
      wanted.set(tool.server_label, { ...known, ...tool });
    }
    for (const [label, { key }] of this.#servers) {
      const settings = wanted.get(label);
      if (settings && keyOf(settings) === key) continue;
      this.#servers.delete(label);
      this.#events.push({ kind: "drop", label });
    }
    for (const [label, settings] of wanted) {
      const known = this.#servers.get(label);
      if (known) known.settings = settings;
      else this.#connect(label, settings);
    }
  }

  /** The server told its tools, or could not (`undefined`). Answers whether it is still wanted. */
  handleListed(label: string, itemId: string, tools: readonly ServerTool[] | undefined): boolean {
    const server = this.#servers.get(label);
    if (server?.itemId !== itemId) return false;
    server.tools = tools;
    return true;
  }

  has(label: string): boolean {
    return this.#servers.has(label);
  }

  /** What a model may call; `tools`, of a session or of one response, narrow the servers that they name. */
  offer(functions: readonly Tool[], tools: readonly ToolDefinition[]): OfferedTools {
    const offered = [...functions];
    const targets = new Map<string, McpTarget>();
    const taken = new Set(functions.map(({ name }) => name));
    const narrowed = new Map(
      tools.flatMap((tool) => (tool.type === "mcp" ? [[tool.server_label, tool] as const] : [])),
    );
    for (const [label, server] of this.#servers) {
      const settings = { ...server.settings, ...narrowed.get(label) };
      for (const tool of server.tools ?? []) {
        if (!isAllowed(tool, settings.allowed_tools)) continue;
        const name = freeName(label, tool.name, taken);
        taken.add(name);
        targets.set(name, { label, name: tool.name, needsApproval: needsApproval(tool, settings.require_approval) });
        const { description, inputSchema: parameters } = tool;
        offered.push({ name, ...(description !== undefined && { description }), parameters });
      }
    }
    return { tools: offered, targets };
  }

  nextEvent(): McpEvent | undefined {
    return this.#events.shift();
  }

  #connect(label: string, settings: McpTool): void {
    const itemId = this.#createItemId();
    this.#servers.set(label, { settings, key: keyOf(settings), itemId, tools: undefined });
    const { server_url: url, authorization, headers } = settings;
    this.#events.push({
      kind: "connect",
      server: { label, url, authorization, headers: headers ?? undefined },
      itemId,
    });
  }
}

function keyOf({ server_url, authorization, headers }: McpTool): string {
  return JSON.stringify([server_url, authorization, headers]);
}

function freeName(label: string, name: string, taken: ReadonlySet<string>): string {
  const clean = (text: string) => text.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, NAME_LENGTH);
  const names = [clean(name), clean(`${label}_${name}`)];
  for (let i = 2; ; i++) {
    const free = names.find((one) => !taken.has(one));
    if (free !== undefined) return free;
    names.push(`${clean(name).slice(0, NAME_LENGTH - 4)}_${i}`);
  }
}

function isAllowed(tool: ServerTool, allowed: McpTool["allowed_tools"]): boolean {
  if (allowed === undefined || allowed === null) return true;
  return "includes" in allowed ? allowed.includes(tool.name) : matches(tool, allowed);
}

function needsApproval(tool: ServerTool, approval: McpTool["require_approval"]): boolean {
  if (approval === "never") return false;
  if (typeof approval !== "object" || approval === null) return true;
  if (approval.always && matches(tool, approval.always)) return true;
  return !(approval.never && matches(tool, approval.never));
}

/** A tool matches what all members of a filter say of it; an empty filter says nothing. */
function matches(tool: ServerTool, { tool_names, read_only }: McpToolFilter): boolean {
  if (tool_names === undefined && read_only === undefined) return false;
  return (tool_names?.includes(tool.name) ?? true) && (read_only === undefined || tool.readOnly === read_only);
}
