/** What every language model over HTTP is made with. */
import type { EndpointOptions } from "../http/endpoint.ts";

/** Settings of a language model. */
export interface LlmOptions extends EndpointOptions {
  /** The model's name at the server. */
  readonly model: string;
  /** Further members of the request's body, such as `temperature` or `reasoning_effort`; they win over ours. */
  readonly body?: Readonly<Record<string, unknown>> | undefined;
}
