/** The calls over Media over QUIC of a process: brings the sessions of one call together. */
import type { LinkListener, Milli } from "@sluice/conversation";
import type { Logger } from "pino";
import type { OpusCodec } from "../media/opus.ts";
import { MoqLink } from "../moq/link.ts";
import { chooseProtocol, type MoqNet } from "../moq/net.ts";
import { SessionTransport, sessionTransportDefaults } from "../moq/session-transport.ts";
import type { SessionRequest } from "../webtransport/session.ts";
import type { SessionClaims } from "../webtransport/session-token.ts";
import type { Pacer } from "./pacer.ts";

/** How to serve MoQ. */
export interface MoqServerOptions {
  readonly opus: OpusCodec;
  readonly pacer: Pacer;
  /** Takes a call, given its pipe; throws `AtCapacity`. */
  readonly accept: (link: MoqLink, claims: SessionClaims) => LinkListener;
  /** QUIC may have packets to send. */
  readonly wake: () => void;
  /** Monotonic clock. */
  readonly now: () => Milli;
  readonly log: Logger;
}

interface MoqCall {
  readonly claims: SessionClaims;
  /** Absent while its codecs are made. */
  link: MoqLink | undefined;
  readonly begun: Promise<MoqLink>;
}

/** Where sessions are asked for. */
export const MOQ_PATH = "/moq";

/** The session was refused for what it broke, or for what `@moq/net` says. */
const BROKEN = 2;

/** The calls. */
export class MoqServer {
  readonly #options: MoqServerOptions;
  readonly #calls = new Map<string, MoqCall>();

  constructor(options: MoqServerOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** The claims of a call under way that `claims` belong to, and whether one more session may join it. */
  find({ id }: SessionClaims): { readonly claims: SessionClaims; readonly hasSeat: boolean } | undefined {
    const call = this.#calls.get(id);
    return call && { claims: call.claims, hasSeat: call.link?.hasSeat ?? true };
  }

  /** Takes a session that may be, into its call, which it begins if it is the first. */
  async handleRequest(net: MoqNet, request: SessionRequest, claims: SessionClaims): Promise<void> {
    const { now, wake } = this.#options;
    const link = await (this.#calls.get(claims.id) ?? this.#begin(claims)).begun;
    if (!link.hasSeat) return request.reject(503);
    const protocol = chooseProtocol(request.protocols, net.protocols) ?? undefined;
    request.accept((session) => {
      const transport = new SessionTransport(session, {
        limits: sessionTransportDefaults,
        protocol,
        now,
        onOutput: wake,
        onClosed: (reason) => seat.leave(reason),
      });
      const seat = link.take({
        close: (reason) => transport.close({ reason }),
        drain: () => session.drain(),
      });
      net.accept(transport).then(seat.join, (error: unknown) => {
        transport.close({ closeCode: BROKEN, reason: "the handshake failed" });
        this.#options.log.debug({ err: error, callId: claims.id }, "a moq handshake failed");
      });
      return transport;
    }, protocol);
  }

  drain(): void {
    for (const { link } of this.#calls.values()) link?.drain();
  }

  close(reason: string): void {
    for (const { link } of [...this.#calls.values()]) link?.close(reason);
  }

  #begin(claims: SessionClaims): MoqCall {
    const begun = this.#open(claims);
    const call: MoqCall = { claims, begun, link: undefined };
    this.#calls.set(claims.id, call);
    begun.then(
      (link) => {
        call.link = link;
      },
      () => this.#calls.delete(claims.id),
    );
    return call;
  }

  async #open(claims: SessionClaims): Promise<MoqLink> {
    const { opus, pacer, now, wake, log, accept } = this.#options;
    const [encoder, decoder, earlyDecoder] = await Promise.all([
      opus.createEncoder({ mode: "lowDelay" }),
      opus.createDecoder(),
      opus.createDecoder(),
    ]);
    const link: MoqLink = new MoqLink({
      encoder,
      decoder,
      earlyDecoder,
      now,
      onInput: () => {
        pacer.schedule(link);
        wake();
      },
      onEnded: (reason) => {
        this.#calls.delete(claims.id);
        pacer.remove(link);
        log.info({ callId: claims.id, reason, ...link.stats() }, "moq call ended");
        queueMicrotask(() => link.free()); // it may be in the middle of a frame
      },
    });
    try {
      link.attach(accept(link, claims));
    } catch (error) {
      link.free();
      throw error;
    }
    pacer.schedule(link);
    return link;
  }
}
