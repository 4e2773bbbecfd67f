/** The MCP servers of a configuration file, checked. */
import type { McpServerConfig } from "@sluice/engines";
import { UsageError } from "./flags.ts";
import { suggest } from "./suggestion.ts";

const KEYS = [
  "label",
  "allowedTools",
  "requireApproval",
  "command",
  "args",
  "env",
  "cwd",
  "url",
  "authorization",
  "headers",
];

/** Checks the list; throws {@link UsageError}. What a value is, is never shown: it may be a key. */
export function readMcpServers(value: unknown, file: string): readonly McpServerConfig[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw new UsageError(`"mcp" in ${file} must be a list of servers`);
  const labels = new Set<string>();
  return value.map((server: unknown, index) => {
    const where = `"mcp" in ${file}, server ${index + 1}`;
    if (typeof server !== "object" || server === null) throw new UsageError(`${where} must be an object`);
    const members = server as Readonly<Record<string, unknown>>;
    const unknown = Object.keys(members).find((key) => !KEYS.includes(key));
    if (unknown !== undefined) throw new UsageError(`${where}: unknown key "${unknown}"${suggest(unknown, KEYS)}`);
    const { label, command, url } = members;
    if (typeof label !== "string" || label === "") throw new UsageError(`${where} needs a label`);
    if (labels.has(label)) throw new UsageError(`${where}: there is another server labelled "${label}"`);
    labels.add(label);
    if ((typeof command === "string") === (typeof url === "string")) {
      throw new UsageError(`${where} needs either a command to start or a url to connect to`);
    }
    if (typeof url === "string" && !/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
      throw new UsageError(`${where}: url must begin with http:// or https://`);
    }
    return server as McpServerConfig;
  });
}
