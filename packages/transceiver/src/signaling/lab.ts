/**
 * A bad network that people at this machine choose for their own calls: `GET` and `POST /v1/lab/network`. Nobody else may see or
 * change it, whatever key they have, and nobody else's media goes through it.
 */
import { invalidRequest } from "@sluice/realtime";
import { z } from "zod";
import type { Address } from "../webrtc/ice-lite.ts";
import { isFromHere } from "./address.ts";
import type { Grant } from "./auth.ts";
import { readJson } from "./body.ts";
import { ParameterError, requestError, toResponse } from "./http-error.ts";

/** What to do with the network; what is absent stays. */
export interface LabOrder {
  /** Name of a profile; `null`: new connections go straight to the server again. */
  readonly profile?: string | null | undefined;
  /** Every client gets another source port, as from a NAT that forgot it. */
  readonly rebind?: boolean | undefined;
  /** Nothing passes for so long. */
  readonly blackout_ms?: number | undefined;
}

/** A network that may be chosen, in words and round figures. */
export interface LabProfile {
  readonly name: string;
  readonly about: string;
  readonly round_trip_ms: number;
  /** Loss of packets on the way there, 0 to 1, without what outages lose. */
  readonly loss: number;
  /** What was measured of such networks, by whom, and what we assume. */
  readonly measured: string;
  readonly source: string;
  readonly assumed: string;
}

/** What a client is told. */
export interface LabState {
  readonly profiles: readonly LabProfile[];
  /** In force for new connections; `null`: none. */
  readonly profile: string | null;
  /** Datagrams so far, both ways. */
  readonly packets: { readonly carried: number; readonly dropped: number };
}

/** The network. */
export interface LabNetwork {
  /** Where callers of this machine send to; `undefined`: to the server itself. */
  readonly place: Address | undefined;
  state(): Promise<LabState>;
  /** Throws `RangeError` for a profile that there is not. */
  apply(order: LabOrder): Promise<void>;
  close(): Promise<void>;
}

const order = z.object({
  profile: z.string().max(64).nullable().optional(),
  rebind: z.boolean().optional(),
  blackout_ms: z.int().min(1).max(10_000).optional(),
});

/** Answers a request of somebody who has `grant`. */
export async function answerLab(
  lab: LabNetwork,
  request: Request,
  remoteAddress: string | undefined,
  grant: Grant,
): Promise<Response> {
  const header = (name: string) => request.headers.get(name) ?? undefined;
  if (grant.kind === "secret" || !isFromHere(remoteAddress, header)) {
    const message = "The lab's network is for pages of this machine only.";
    return toResponse(requestError(403, "insufficient_permissions", message, null));
  }
  if (request.method === "POST") {
    const parsed = order.safeParse(await readJson(request));
    const invalid = (message: string, param: string) =>
      new ParameterError(invalidRequest("invalid_value", message, param, undefined));
    if (!parsed.success)
      throw invalid("Invalid order to the network.", String(parsed.error.issues[0]?.path[0] ?? "body"));
    try {
      await lab.apply(parsed.data);
    } catch (cause) {
      if (cause instanceof RangeError) throw invalid(cause.message, "profile");
      throw cause;
    }
  }
  return Response.json(await lab.state(), { headers: { "cache-control": "no-store" } });
}
