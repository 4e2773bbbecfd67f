export * from "./audio.ts";
export * from "./engines.ts";
export * from "./link.ts";
