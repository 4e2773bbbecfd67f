/** Puts the pieces of function calls together that servers number, name and repeat each in their own way. */
import type { LlmEvent } from "@sluice/conversation";
import { asObject } from "../http/endpoint.ts";

type ToolCallEvent = Extract<LlmEvent, { kind: "toolCall" }>;

interface OpenCall {
  readonly index: number;
  readonly wireIndex: number;
  id: string;
  name: string;
  /** Arguments that came before the name. */
  held: string;
  begun: boolean;
}

/** Calls of one reply, at most: a loop in the model is no plan. */
const MAX_CALLS = 64;

/** The function calls of one reply of `chat/completions`. */
export class ToolCalls {
  readonly #calls: OpenCall[] = [];

  /** Whether there were any. */
  get any(): boolean {
    return this.#calls.length > 0;
  }

  /** Takes one element of `delta.tool_calls`, or `delta.function_call` of old; gives the event that it makes, if any. */
  push(value: unknown): ToolCallEvent | undefined {
    const piece = asObject(value);
    if (!piece) return undefined;
    const body = asObject(piece.function) ?? piece;
    const id = typeof piece.id === "string" ? piece.id : "";
    const name = typeof body.name === "string" ? body.name : "";
    const wireIndex = typeof piece.index === "number" ? piece.index : undefined;
    const call = this.#find(wireIndex, id, name) ?? this.#open(wireIndex, id);
    if (!call) return undefined;
    // Some servers repeat the name with every piece, none splits it.
    if (call.name === "") call.name = name;
    if (call.id === "") call.id = id;
    return this.#emit(call, argumentsOf(body.arguments));
  }

  #find(wireIndex: number | undefined, id: string, name: string): OpenCall | undefined {
    const last = this.#calls.at(-1);
    if (wireIndex === undefined) {
      if (id === "") return name === "" || name === last?.name ? last : undefined;
      return this.#calls.find((call) => call.id === id);
    }
    // Gemini gives several calls one index: a new id is a new call.
    return this.#calls.findLast(
      (call) => call.wireIndex === wireIndex && (id === "" || call.id === "" || call.id === id),
    );
  }

  #open(wireIndex: number | undefined, id: string): OpenCall | undefined {
    const index = this.#calls.length;
    if (index >= MAX_CALLS) return undefined;
    const call = { index, wireIndex: wireIndex ?? index, id, name: "", held: "", begun: false };
    this.#calls.push(call);
    return call;
  }

  #emit(call: OpenCall, args: string): ToolCallEvent | undefined {
    if (call.name === "") {
      call.held += args;
      return undefined;
    }
    const delta = call.held + args;
    call.held = "";
    if (call.begun && delta === "") return undefined;
    call.begun = true;
    return { kind: "toolCall", index: call.index, callId: call.id, name: call.name, delta };
  }
}

function argumentsOf(value: unknown): string {
  if (typeof value === "string") return value;
  return value === undefined || value === null ? "" : JSON.stringify(value);
}
