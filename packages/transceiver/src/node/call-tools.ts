/** The MCP servers of one call: opens them, asks them, gives them up. Does I/O, decides nothing. */
import type {
  EngineFailure,
  ServerTool,
  ServerToolOutcome,
  ToolServer,
  ToolServerSpec,
  ToolServers,
} from "@sluice/conversation";

/** A call of a tool, as the conversation wants it made. */
export interface ToolCall {
  readonly responseId: string;
  readonly itemId: string;
  readonly label: string;
  readonly name: string;
  readonly arguments: string;
}

/** Settings of {@link CallTools}. */
export interface CallToolsOptions {
  /** Absent: this server has no MCP. */
  readonly servers: ToolServers | undefined;
  readonly onListed: (label: string, itemId: string, listed: readonly ServerTool[] | EngineFailure) => void;
  readonly onOutcome: (responseId: string, itemId: string, outcome: ServerToolOutcome) => void;
}

/** The servers of a call. */
export class CallTools {
  readonly #options: CallToolsOptions;
  readonly #servers = new Map<string, { readonly server: Promise<ToolServer>; readonly abort: AbortController }>();
  readonly #running = new Map<string, { readonly abort: AbortController; calls: number }>(); // by response

  constructor(options: CallToolsOptions) {
    this.#options = options;
  }

  /** Connects to a server and lists its tools. */
  async connect(spec: ToolServerSpec, itemId: string): Promise<void> {
    const { servers, onListed } = this.#options;
    const abort = new AbortController();
    const server = servers?.open(spec, abort.signal) ?? Promise.reject(new Error("this server has no MCP servers"));
    this.#servers.set(spec.label, { server, abort });
    try {
      const tools = await (await server).list(abort.signal);
      if (!abort.signal.aborted) onListed(spec.label, itemId, tools);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (!abort.signal.aborted) onListed(spec.label, itemId, { code: "mcp_unavailable", message });
    }
  }

  /** The session no longer wants the server. */
  drop(label: string): void {
    const known = this.#servers.get(label);
    this.#servers.delete(label);
    known?.abort.abort();
    known?.server.then((server) => server.close()).catch(() => {}); // one that never opened need not be closed
  }

  async call({ responseId, itemId, label, name, arguments: args }: ToolCall): Promise<void> {
    const running = this.#running.get(responseId) ?? { abort: new AbortController(), calls: 0 };
    this.#running.set(responseId, running);
    running.calls += 1;
    const { signal } = running.abort;
    const outcome = await this.#call(label, name, args, signal);
    running.calls -= 1;
    if (running.calls === 0) this.#running.delete(responseId);
    if (!signal.aborted) this.#options.onOutcome(responseId, itemId, outcome);
  }

  /** Gives up what runs for a response. */
  abort(responseId: string): void {
    this.#running.get(responseId)?.abort.abort();
  }

  close(): void {
    for (const { abort } of this.#running.values()) abort.abort();
    for (const label of [...this.#servers.keys()]) this.drop(label);
  }

  async #call(label: string, name: string, args: string, signal: AbortSignal): Promise<ServerToolOutcome> {
    try {
      const server = await this.#servers.get(label)?.server;
      if (server) return await server.call(name, args, signal);
      return { error: { type: "tool_execution_error", message: `no server '${label}' any more` } };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { error: { type: "tool_execution_error", message } };
    }
  }
}
