/** What `sluice.config.ts` imports. */
export { type Config, defineConfig, type McpServerConfig } from "./config.ts";
