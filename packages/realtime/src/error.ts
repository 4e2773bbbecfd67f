/**
 * The `error` member of an `error` event, with the codes and the wording of OpenAI's Realtime API: clients key on both.
 * A recoverable error never ends the session, and names the client event that caused it in `event_id`.
 */

/** What went wrong, as it stands in an `error` event. */
export interface RealtimeError {
  readonly type: "invalid_request_error" | "server_error" | "rate_limit_error";
  readonly code: string | null;
  readonly message: string;
  /** Path of the parameter at fault, such as `session.audio.output.speed`. */
  readonly param: string | null;
  /** `event_id` of the client event at fault. */
  readonly event_id: string | null;
}

/** `event_id` of the client event at fault, if it had one. */
export type CauseId = string | undefined;

/** An `invalid_request_error` with any code and message. */
export function invalidRequest(
  code: string | null,
  message: string,
  param: string | null,
  cause: CauseId,
): RealtimeError {
  return { type: "invalid_request_error", code, message, param, event_id: cause ?? null };
}

/** The text is not one JSON object that could be an event. */
export function invalidEvent(reason: string, cause: CauseId): RealtimeError {
  return invalidRequest("invalid_event", `Invalid event: ${reason}`, null, cause);
}

/** A required parameter is absent. */
export function missingParameter(param: string, cause: CauseId): RealtimeError {
  return invalidRequest("missing_required_parameter", `Missing required parameter: '${param}'.`, param, cause);
}

/** A value that is not one of those supported. */
export function invalidValue(
  param: string,
  value: string,
  supported: readonly string[],
  cause: CauseId,
): RealtimeError {
  const quoted = supported.map((one) => `'${one}'`);
  const list = quoted.length > 1 ? `${quoted.slice(0, -1).join(", ")}, and ${quoted.at(-1)}` : quoted.join("");
  return invalidRequest("invalid_value", `Invalid value: '${value}'. Supported values are: ${list}.`, param, cause);
}

/** Audio that is no base64, or no whole samples. */
export function invalidAudio(cause: CauseId): RealtimeError {
  const message = "Invalid 'audio'. Expected base64-encoded audio bytes in the session's input format.";
  return invalidRequest("invalid_value", message, "audio", cause);
}

/** `input_audio_buffer.commit` with less than 100 ms in the buffer. */
export function commitEmpty(bufferedMs: number, cause: CauseId): RealtimeError {
  const message =
    "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, " +
    `but buffer only has ${bufferedMs.toFixed(2)}ms of audio.`;
  return invalidRequest("input_audio_buffer_commit_empty", message, null, cause);
}

/** `conversation.item.truncate` of an item that is not in the conversation. */
export function truncateInvalidItem(itemId: string, cause: CauseId): RealtimeError {
  const message = `Error truncating item: the item with id '${itemId}' does not exist.`;
  return invalidRequest("item_truncate_invalid_item_id", message, null, cause);
}

/** `conversation.item.truncate` of anything but the agent's speech. */
export function truncateNotAudio(cause: CauseId): RealtimeError {
  return invalidRequest(null, "Only model output audio messages can be truncated", null, cause);
}

/** `conversation.item.truncate` past the end of the audio. */
export function truncateTooLong(audioMs: number, audioEndMs: number, cause: CauseId): RealtimeError {
  const message = `Audio content of ${Math.floor(audioMs)}ms is already shorter than ${audioEndMs}ms`;
  return invalidRequest("invalid_value", message, "audio_end_ms", cause);
}

/** `conversation.item.delete` of an item that is not in the conversation. */
export function deleteInvalidItem(itemId: string, cause: CauseId): RealtimeError {
  const message = `Error deleting item: the item with id '${itemId}' does not exist.`;
  return invalidRequest("item_delete_invalid_item_id", message, null, cause);
}

/** `conversation.item.retrieve` of an item that is not in the conversation. */
export function retrieveInvalidItem(itemId: string, cause: CauseId): RealtimeError {
  const message = `Error retrieving item: the item with id '${itemId}' does not exist.`;
  return invalidRequest("item_retrieve_invalid_item_id", message, null, cause);
}

/** `conversation.item.create` with an id that the conversation already holds. */
export function createDuplicateItem(itemId: string, cause: CauseId): RealtimeError {
  const message = `Error adding item: an item with id '${itemId}' already exists.`;
  return invalidRequest("invalid_value", message, "item.id", cause);
}

/** `conversation.item.create` after an item that is not in the conversation. */
export function previousItemNotFound(itemId: string, cause: CauseId): RealtimeError {
  const message = `Error adding item: the previous item with id '${itemId}' does not exist.`;
  return invalidRequest("item_not_found", message, "previous_item_id", cause);
}

/** `response.create` while the conversation's response is under way. */
export function activeResponse(responseId: string, cause: CauseId): RealtimeError {
  const message =
    `Conversation already has an active response in progress: ${responseId}. ` +
    "Wait until the response is finished before creating a new one.";
  return invalidRequest("conversation_already_has_active_response", message, null, cause);
}

/** `response.cancel` with nothing to cancel. LiveKit keys on the first words of the message. */
export function cancelNotActive(cause: CauseId): RealtimeError {
  return invalidRequest("response_cancel_not_active", "Cancellation failed: no active response found", null, cause);
}

/** `mcp_approval_response` to what is no open question. */
export function approvalNotFound(requestId: string, cause: CauseId): RealtimeError {
  const message = `Error adding item: no open approval request with id '${requestId}'.`;
  return invalidRequest("item_not_found", message, "item.approval_request_id", cause);
}

/** A new voice after the agent has spoken. */
export function cannotUpdateVoice(cause: CauseId): RealtimeError {
  const message = "Cannot update a conversation's voice if assistant audio is present.";
  return invalidRequest("cannot_update_voice", message, null, cause);
}

/** The session reached its longest duration. */
export function sessionExpired(minutes: number): RealtimeError {
  const message = `Your session hit the maximum duration of ${minutes} minutes.`;
  return invalidRequest("session_expired", message, null, undefined);
}

/** The client sends more than it may. */
export function rateLimitExceeded(message: string, cause: CauseId): RealtimeError {
  return { type: "rate_limit_error", code: "rate_limit_exceeded", message, param: null, event_id: cause ?? null };
}

/** Something failed on our side. */
export function serverError(message: string, cause: CauseId): RealtimeError {
  return { type: "server_error", code: "server_error", message, param: null, event_id: cause ?? null };
}
