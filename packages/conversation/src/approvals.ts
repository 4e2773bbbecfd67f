/** Calls of servers' tools that wait for the client's word. */
import type { Item, McpApprovalRequestItem } from "@sluice/realtime";

/** The open questions of one conversation. */
export class Approvals {
  readonly #open = new Map<string, McpApprovalRequestItem>();
  readonly #approved: McpApprovalRequestItem[] = [];
  #answered = false;

  /** The client was asked. */
  ask(request: McpApprovalRequestItem): void {
    this.#open.set(request.id, request);
  }

  /** Whether there is such an open question. */
  has(requestId: string): boolean {
    return this.#open.has(requestId);
  }

  /** The client has decided. */
  answer(requestId: string, approve: boolean): void {
    const request = this.#open.get(requestId);
    if (!request) return;
    this.#open.delete(requestId);
    this.#answered = true;
    if (approve) this.#approved.push(request);
  }

  /** What a conversation that goes on elsewhere was still asking. */
  restore(items: readonly Item[]): void {
    const answered = new Set(
      items.flatMap((item) => (item.type === "mcp_approval_response" ? [item.approval_request_id] : [])),
    );
    for (const item of items) if (item.type === "mcp_approval_request" && !answered.has(item.id)) this.ask(item);
  }

  /** The question left the conversation, and the call with it. */
  forget(requestId: string): void {
    this.#open.delete(requestId);
  }

  /** Once every question has its answer: the calls to make, none when all were refused. Given once. */
  take(): readonly McpApprovalRequestItem[] | undefined {
    if (!this.#answered || this.#open.size > 0) return undefined;
    this.#answered = false;
    return this.#approved.splice(0);
  }
}
