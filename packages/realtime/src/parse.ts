/**
 * Reads what a client sent: text to one checked {@link ClientEvent}, or the error to answer. Never throws, and takes
 * time and memory in proportion to the text, whoever wrote it.
 */
import type { z } from "zod";
import { type ClientEvent, type ClientEventType, clientEvents } from "./client-events.ts";
import {
  type CauseId,
  invalidEvent,
  invalidRequest,
  invalidValue,
  missingParameter,
  type RealtimeError,
} from "./error.ts";
import { type SessionPatch, sessionPatch } from "./session-patch.ts";

/** Longest text of one event, in UTF-16 units: 15 MiB of base64 and its envelope. */
export const MAX_EVENT_LENGTH = 16 * 1024 * 1024;

/** Deepest nesting of an event. Tool schemas are the deepest honest input. */
export const MAX_EVENT_DEPTH = 64;

/** What a client's text turned out to be. */
export type ParsedClientEvent =
  | { readonly ok: true; readonly event: ClientEvent }
  | { readonly ok: false; readonly error: RealtimeError };

/** Parses one text message of a client. */
export function parseClientEvent(text: string): ParsedClientEvent {
  if (text.length > MAX_EVENT_LENGTH) {
    const message = `Event of ${text.length} characters is too long. Expected at most ${MAX_EVENT_LENGTH}.`;
    return { ok: false, error: invalidRequest("string_above_max_length", message, null, undefined) };
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, error: invalidEvent("expected a JSON object, but got text that is not JSON.", undefined) };
  }
  if (!isObject(value)) return { ok: false, error: invalidEvent("expected a JSON object.", undefined) };
  const cause = typeof value.event_id === "string" ? value.event_id.slice(0, 512) : undefined;
  const { type } = value;
  if (type === undefined) return { ok: false, error: missingParameter("type", cause) };
  if (typeof type !== "string" || !Object.hasOwn(clientEvents, type)) {
    const shown = typeof type === "string" ? type.slice(0, 100) : JSON.stringify(type).slice(0, 100);
    return { ok: false, error: invalidValue("type", shown, Object.keys(clientEvents), cause) };
  }
  if (!tame(value)) return { ok: false, error: invalidEvent(`nested deeper than ${MAX_EVENT_DEPTH} levels.`, cause) };
  const parsed = clientEvents[type as ClientEventType].safeParse(value);
  return parsed.success
    ? { ok: true, event: parsed.data as ClientEvent }
    : { ok: false, error: describe(value, parsed.error.issues[0], cause) };
}

/** What the `session` of an HTTP request turned out to be. */
export type ParsedSession =
  | { readonly ok: true; readonly session: SessionPatch }
  | { readonly ok: false; readonly error: RealtimeError };

/** Parses the `session` of a call or a client secret; `param` names where it stood. */
export function parseSession(value: unknown, param = "session"): ParsedSession {
  if (!isObject(value)) return { ok: false, error: wrongType(param, "object", value, undefined) };
  if (!tame(value)) {
    return { ok: false, error: invalidEvent(`nested deeper than ${MAX_EVENT_DEPTH} levels.`, undefined) };
  }
  const parsed = sessionPatch.safeParse(value);
  return parsed.success
    ? { ok: true, session: parsed.data }
    : { ok: false, error: describe(value, parsed.error.issues[0], undefined, param) };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const PROTOTYPE_KEY = "__proto__";

/** Removes prototype keys, in place; false when `root` is too deep. Without recursion: the depth is the client's. */
function tame(root: object): boolean {
  let level: object[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth >= MAX_EVENT_DEPTH) return false;
    const next: object[] = [];
    for (const value of level) {
      if (Object.hasOwn(value, PROTOTYPE_KEY)) Reflect.deleteProperty(value, PROTOTYPE_KEY);
      for (const member of Object.values(value)) if (typeof member === "object" && member !== null) next.push(member);
    }
    level = next;
  }
  return true;
}

type Issue = z.core.$ZodIssue;

/** One zod issue in OpenAI's words. */
function describe(root: unknown, issue: Issue | undefined, cause: CauseId, prefix = ""): RealtimeError {
  if (!issue) return invalidEvent("it does not match its type.", cause);
  const param = paramOf(issue.path, prefix);
  const value = valueAt(root, issue.path);
  if (value === undefined && issue.code !== "custom") return missingParameter(param, cause);
  switch (issue.code) {
    case "invalid_type":
      return wrongType(param, issue.expected, value, cause);
    case "invalid_value":
      return invalidValue(param, show(value), issue.values.map(String), cause);
    case "invalid_union":
      return issue.discriminator === undefined
        ? describeUnion(root, issue, cause, prefix)
        : describeDiscriminator(issue, param, value, cause);
    case "too_small": {
      const message = `Invalid '${param}': below minimum value. Expected a value >= ${issue.minimum}.`;
      return invalidRequest(`${kindOf(value)}_below_min_value`, message, param, cause);
    }
    case "too_big": {
      const message = `Invalid '${param}': above maximum value. Expected a value <= ${issue.maximum}.`;
      return invalidRequest(`${kindOf(value)}_above_max_value`, message, param, cause);
    }
    default:
      return invalidRequest("invalid_value", `Invalid '${param}': ${issue.message}.`, param, cause);
  }
}

type UnionIssue = Extract<Issue, { code: "invalid_union" }>;

/** No member of the union goes by that name. */
function describeDiscriminator(issue: UnionIssue, param: string, value: unknown, cause: CauseId): RealtimeError {
  const options = "options" in issue && Array.isArray(issue.options) ? issue.options : [];
  return invalidValue(param, show(value), options.filter((one) => one !== undefined).map(String), cause);
}

/** The value fits no member: tell of the one that it came closest to, or list them. */
function describeUnion(root: unknown, issue: UnionIssue, cause: CauseId, prefix: string): RealtimeError {
  const firsts = issue.errors.map((issues) => issues[0]).filter((first) => first !== undefined);
  const deepest = firsts.reduce<Issue | undefined>(
    (best, one) => (one.path.length > (best?.path.length ?? 0) ? one : best),
    undefined,
  );
  if (deepest) return describe(root, { ...deepest, path: [...issue.path, ...deepest.path] }, cause, prefix);
  const supported = firsts.flatMap((first) => (first.code === "invalid_value" ? first.values.map(String) : []));
  const param = paramOf(issue.path, prefix);
  if (supported.length === 0)
    return invalidRequest("invalid_value", `Invalid '${param}': ${issue.message}.`, param, cause);
  return invalidValue(param, show(valueAt(root, issue.path)), [...new Set(supported)], cause);
}

function wrongType(param: string, expected: string, value: unknown, cause: CauseId): RealtimeError {
  const message = `Invalid type for '${param}': expected ${article(expected)}, but got ${article(kindOf(value))} instead.`;
  return invalidRequest("invalid_type", message, param, cause);
}

const article = (noun: string) => (noun === "null" ? noun : `${/^[aeio]/.test(noun) ? "an" : "a"} ${noun}`);

function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "decimal";
  return typeof value;
}

/** A value as far as an error should repeat it. */
function show(value: unknown): string {
  const text = typeof value === "string" ? value : (JSON.stringify(value) ?? "undefined");
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

function paramOf(path: readonly PropertyKey[], prefix: string): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === "number") return `${text}[${key}]`;
    return text === "" ? String(key) : `${text}.${String(key)}`;
  }, prefix);
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined),
    root,
  );
}
