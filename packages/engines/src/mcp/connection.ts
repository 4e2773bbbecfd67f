/** One MCP server: connected when first wanted and again after it was lost, its failures told in words without keys. */
import {
  Client,
  ProtocolError,
  SdkHttpError,
  StreamableHTTPClientTransport,
  type Transport,
} from "@modelcontextprotocol/client";
import { getDefaultEnvironment, StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import type { ServerTool, ServerToolError, ServerToolOutcome } from "@sluice/conversation";
import { orAborted } from "../channel.ts";
import { withoutSecrets } from "../http/engine-error.ts";

/** A program to start, or an address to connect to. */
export type ConnectionTarget =
  | {
      readonly command: string;
      readonly args?: readonly string[] | undefined;
      readonly env?: Readonly<Record<string, string>> | undefined;
      readonly cwd?: string | undefined;
    }
  | { readonly url: URL; readonly headers: Readonly<Record<string, string>> };

/** How long things may take. */
export interface ConnectionLimits {
  readonly connectMs: number;
  readonly callMs: number;
  readonly version: string;
}

/** Tools of one server that are offered; a model drowns in more. */
const MAX_TOOLS = 256;
/** Characters of an answer: as much as a data channel's message and a model's patience hold. */
const MAX_OUTPUT = 32_768;
/** JSON-RPC 2.0, section 5.1: invalid params. */
const INVALID_PARAMS = -32_602;

/** A connection that is made when it is needed. */
export class Connection {
  readonly #target: ConnectionTarget;
  readonly #limits: ConnectionLimits;
  #client: Promise<Client> | undefined;
  #closed = false;

  constructor(target: ConnectionTarget, limits: ConnectionLimits) {
    this.#target = target;
    this.#limits = limits;
  }

  /** Connects; throws with a message for a person. */
  async ready(signal: AbortSignal): Promise<void> {
    await orAborted(this.#connect(), signal);
  }

  async list(signal: AbortSignal): Promise<readonly ServerTool[]> {
    try {
      const client = await this.#connect();
      const { tools } = await client.listTools(undefined, { signal, timeout: this.#limits.connectMs });
      return tools.slice(0, MAX_TOOLS).map(({ name, description, inputSchema, annotations }) => ({
        name,
        description,
        inputSchema,
        annotations,
        readOnly: annotations?.readOnlyHint === true,
      }));
    } catch (error) {
      throw new Error(`could not list its tools: ${this.#messageOf(error)}`, { cause: error });
    }
  }

  async call(name: string, args: string, signal: AbortSignal): Promise<ServerToolOutcome> {
    const parsed = parseArguments(args);
    if (!parsed) {
      const message = "The arguments are no JSON object.";
      return { error: { type: "protocol_error", code: INVALID_PARAMS, message } };
    }
    try {
      const client = await this.#connect();
      const result = await client.callTool({ name, arguments: parsed }, { signal, timeout: this.#limits.callMs });
      const output = outputOf(result.content, result.structuredContent);
      return result.isError ? { error: { type: "tool_execution_error", message: output } } : { output };
    } catch (error) {
      return { error: this.#errorOf(error) };
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const client = await this.#client?.catch(() => undefined);
    this.#client = undefined;
    await client?.close().catch(() => {}); // gone is gone
  }

  #connect(): Promise<Client> {
    if (this.#closed) return Promise.reject(new Error("the server is shutting down"));
    this.#client ??= this.#open();
    return this.#client;
  }

  async #open(): Promise<Client> {
    const { connectMs, version } = this.#limits;
    const client = new Client({ name: "sluice", version }, { versionNegotiation: { mode: "auto" } });
    const forget = () => {
      this.#client = undefined; // the next use connects anew
    };
    client.onclose = forget;
    try {
      await client.connect(this.#transport(), { timeout: connectMs });
      return client;
    } catch (error) {
      forget();
      await client.close().catch(() => {});
      throw new Error(`could not connect: ${this.#messageOf(error)}`, { cause: error });
    }
  }

  #transport(): Transport {
    const target = this.#target;
    if ("url" in target) {
      // A redirect could lead to where the configuration does not allow.
      const requestInit: RequestInit = { headers: { ...target.headers }, redirect: "error" };
      return new StreamableHTTPClientTransport(target.url, { requestInit });
    }
    const { command, args = [], env, cwd } = target;
    return new StdioClientTransport({
      command,
      args: [...args],
      env: { ...getDefaultEnvironment(), ...env },
      ...(cwd !== undefined && { cwd }),
    });
  }

  #errorOf(error: unknown): ServerToolError {
    const message = this.#messageOf(error);
    if (error instanceof ProtocolError) return { type: "protocol_error", code: error.code, message };
    if (error instanceof SdkHttpError) return { type: "http_error", code: error.status, message };
    return { type: "tool_execution_error", message };
  }

  /** In words, without what opens the server, also where the server quotes it back. */
  #messageOf(error: unknown): string {
    const secrets = "url" in this.#target ? Object.values(this.#target.headers) : Object.values(this.#target.env ?? {});
    const text = reasonOf(error);
    const known = secrets
      .flatMap((value) => [value, value.replace(/^Bearer /, "")])
      .filter((value) => value.length > 3);
    return withoutSecrets(known.reduce((message, secret) => message.replaceAll(secret, "(key)"), text)).slice(0, 500);
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = codeOf(error);
  return code === undefined || error.message.includes(code) ? error.message : `${error.message} (${code})`;
}

/** `fetch failed` says nothing; the reason is below it. */
function codeOf(error: Error): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ("code" in at && typeof at.code === "string" && /^E[A-Z]+$/.test(at.code)) return at.code;
  }
  return undefined;
}

function parseArguments(text: string): Record<string, unknown> | undefined {
  if (text.trim() === "") return {};
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function outputOf(content: unknown, structured: unknown): string {
  const parts = Array.isArray(content) ? content : [];
  const texts = parts.map((part: { readonly type: string; readonly text?: string }) =>
    part.type === "text" && part.text !== undefined ? part.text : `(${part.type})`,
  );
  const text = texts.length > 0 || structured === undefined ? texts.join("\n") : JSON.stringify(structured);
  return text.length > MAX_OUTPUT ? `${text.slice(0, MAX_OUTPUT)}… (shortened)` : text;
}
