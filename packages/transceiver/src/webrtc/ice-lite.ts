/**
 * The ICE-lite agent of one session (RFC 8445): it answers authenticated checks, and nothing else, and knows where
 * the peer is. Consent by RFC 7675. Unlike a plain lite agent it asks back (one Binding request) before established
 * media follows the peer to a new address, so that a client cannot point its downlink at somebody else (RFC 8445
 * section 19.5.1, "voice hammer").
 */
import type { Milli } from "@sluice/conversation";
import {
  BINDING_METHOD,
  formatBindingError,
  formatBindingRequest,
  formatBindingSuccess,
  hasValidFingerprint,
  hasValidIntegrity,
  type StunMessage,
} from "@sluice/routing";

/** A numeric IP address and a UDP port. */
export interface Address {
  readonly address: string;
  readonly port: number;
}

/** A datagram and where it goes. */
export interface Transmit {
  readonly packet: Uint8Array;
  readonly to: Address;
}

/** Whether both are the same place. */
export function isSameAddress(a: Address | undefined, b: Address | undefined): boolean {
  return a !== undefined && b !== undefined && a.port === b.port && a.address === b.address;
}

/** What an {@link IceLite} needs. */
export interface IceLiteOptions {
  readonly ufrag: string;
  readonly password: string;
  /** From the offer; used for asking back. */
  readonly peerUfrag: string;
  readonly peerPassword: string;
  /** 12 unpredictable bytes per call. */
  readonly randomTransactionId: () => Uint8Array;
  /** Without an authenticated check for so long, consent has expired. Default 30,000 (RFC 7675 section 5.1). */
  readonly consentMs?: Milli;
}

/** What came in that was not answered, or was answered with an error. */
export interface IceCounts {
  accepted: number;
  badFingerprint: number;
  badIntegrity: number;
  badUsername: number;
  notRequest: number;
  roleConflict: number;
  pathChanges: number;
  refusedPaths: number;
  /** Addresses that authentic media came from before any check did, and that got copies. */
  mediaTrials: number;
}

/** Checks that the peer's own address change may go unanswered before it is not believed any more. */
const MAX_UNPROVEN_MOVES = 3;
/** How long media may go to an address that could not be asked. */
const PROBATION_MS = 8_000;
/** A check without USE-CANDIDATE moves the path only after the path was silent for longer than Chromium's interval. */
const SILENT_PATH_MS = 3_000;
/** Two of the slowest checks (RFC 7675 section 5.1: 5 s, plus a fifth) may be missed. */
const ALIVE_PATH_MS = 12_000;
/**
 * When an answer is sent again while the peer has not gone on: peers ask again after 500 ms, then 1 s and 2 s, and libnice gives up
 * after three. RFC 8489 section 6.2.2: who gets an answer twice takes the first.
 */
const REPEATS_MS = [30, 100] as const;
/** As small as it may be: libjuice takes 0 for none. */
const TIE_BREAKER = 1n;
const MAX_VALIDATED = 8;
const MAX_PROBES = 4;
const PROBE_INTERVAL_MS = 200;
const MAX_PROBES_PER_ADDRESS = 2;
/** How long an address that media came from gets copies without having answered, and how soon the next one may. */
const TRIAL_MS = 3_000;
const TRIAL_PAUSE_MS = 30_000;
/** Copies in bytes for each byte that came from there: what QUIC grants an address (RFC 9000 section 8.1). */
const TRIAL_AMPLIFICATION = 3;

/** Follows one peer. Drive: one input, drain `nextTransmit`, re-arm `pollTimeout`. */
export class IceLite {
  readonly counts: IceCounts = {
    accepted: 0,
    badFingerprint: 0,
    badIntegrity: 0,
    badUsername: 0,
    notRequest: 0,
    roleConflict: 0,
    pathChanges: 0,
    refusedPaths: 0,
    mediaTrials: 0,
  };
  readonly #options: IceLiteOptions;
  readonly #consentMs: Milli;
  readonly #transmits: Transmit[] = [];
  #path: Address | undefined;
  #pathHeardAt: Milli = 0;
  #validated: Address[] = []; // the newest last
  #nominated = false;
  #established = false;
  /** The last answer, until DTLS shows that it came. */
  #repeat: Repeat | undefined;
  #isPeerGoingOn = false;
  /** What authentic checks brought from the path less what answered them, in bytes: never more goes than came. */
  #credit = 0;
  #consentUntil: Milli;
  #expired = false;
  #probes: Probe[] = [];
  #probation: { readonly until: Milli; readonly fallback: Address } | undefined;
  #unprovenMoves = 0;
  #trial: { readonly to: Address; readonly until: Milli; allowedBytes: number } | undefined;
  #trialFrom: Milli = Number.NEGATIVE_INFINITY;

  constructor(now: Milli, options: IceLiteOptions) {
    this.#options = options;
    this.#consentMs = options.consentMs ?? 30_000;
    this.#consentUntil = now + this.#consentMs;
  }

  /** Where the peer is; `undefined` before its first authenticated check. */
  get path(): Address | undefined {
    return this.#path;
  }

  /** Whether the peer is at `address` and checked from there lately. */
  isAliveAt(now: Milli, address: Address): boolean {
    return isSameAddress(address, this.#path) && now - this.#pathHeardAt < ALIVE_PATH_MS;
  }

  /** Whether an authenticated check came from `address`, of late. */
  isValidated(address: Address): boolean {
    return this.#validated.some((each) => isSameAddress(each, address));
  }

  /** Whether consent ran out: the peer is gone. */
  get expired(): boolean {
    return this.#expired;
  }

  /** Whether media goes to an address that has not shown yet that it receives us. */
  get onProbation(): boolean {
    return this.#probation !== undefined;
  }

  /** Takes a STUN message that came from `from`; whether it was a check that carries the right credentials. */
  handleStun(now: Milli, message: StunMessage, from: Address): boolean {
    this.handleTimeout(now);
    const { ufrag, password } = this.#options;
    if (message.method !== BINDING_METHOD) return this.#refuse("notRequest");
    if (message.class === "success") return this.#handleProbeAnswer(now, message, from);
    if (message.class !== "request") return this.#refuse("notRequest");
    if (message.serverUfrag !== ufrag || message.clientUfrag === undefined) return this.#refuse("badUsername");
    if (!hasValidFingerprint(message)) return this.#refuse("badFingerprint");
    if (!hasValidIntegrity(message, password)) return this.#refuse("badIntegrity");
    const { transactionId, unknownRequired } = message;
    if (unknownRequired.length > 0) {
      const packet = formatBindingError({ transactionId, code: 420, reason: "Unknown", password, unknownRequired });
      this.#transmits.push({ packet, to: from });
      return false;
    }
    if (message.controlled !== undefined) {
      // A lite agent stays controlled (RFC 8445 section 6.1.1), which its tie-breaker makes right (section 7.3.1.1).
      this.counts.roleConflict += 1;
      const packet = formatBindingError({ transactionId, code: 487, reason: "Role Conflict", password });
      this.#transmits.push({ packet, to: from });
      return false;
    }
    this.counts.accepted += 1;
    this.#consentUntil = now + this.#consentMs;
    const packet = formatBindingSuccess({ transactionId, ...from, password });
    this.#transmits.push({ packet, to: from });
    if (!this.isValidated(from)) {
      this.#validated = [...this.#validated, { address: from.address, port: from.port }].slice(-MAX_VALIDATED);
    }
    this.#followCheck(now, message, from);
    if (!this.#isPeerGoingOn && isSameAddress(from, this.#path)) {
      this.#credit += message.packet.length - packet.length;
      this.#repeat = { packet, to: { address: from.address, port: from.port }, answeredAt: now, count: 0 };
    }
    return true;
  }

  /** The peer does what it does after an answer: none need be sent again. */
  handlePeerGoesOn(): void {
    this.#isPeerGoingOn = true;
    this.#repeat = undefined;
  }

  /**
   * Media that is authentic, and newer than all before it, came from `from`: the peer may have moved and not checked yet. It is
   * asked, and until it answers the path stays and `from` gets copies. Whether it is on trial.
   */
  handleMedia(now: Milli, from: Address, bytes: number): boolean {
    if (!this.#established || isSameAddress(from, this.#path)) return false;
    if (this.#trial && now >= this.#trial.until) this.#trial = undefined;
    if (!this.#trial && now >= this.#trialFrom) {
      this.counts.mediaTrials += 1;
      this.#trial = { to: { address: from.address, port: from.port }, until: now + TRIAL_MS, allowedBytes: 0 };
      this.#trialFrom = now + TRIAL_PAUSE_MS;
    }
    if (!isSameAddress(from, this.#trial?.to)) return false;
    this.#trial!.allowedBytes += TRIAL_AMPLIFICATION * bytes;
    this.#probe(now, from, false);
    return true;
  }

  /** Whether `address` is where media came from before a check did. */
  isOnTrial(address: Address): boolean {
    return isSameAddress(address, this.#trial?.to);
  }

  /** Where a datagram of `bytes` goes beside the path. */
  copyTo(now: Milli, bytes: number): Address | undefined {
    const trial = this.#trial;
    if (!trial || now >= trial.until || bytes > trial.allowedBytes) return undefined;
    trial.allowedBytes -= bytes;
    return trial.to;
  }

  /** The handshake is over: from here on a new address must answer before media follows. */
  handleEstablished(): void {
    this.#established = true;
    this.handlePeerGoesOn();
  }

  /** The peer was asked, at the current path, for something that only a receiver there can know: the time runs. */
  handleProofAsked(now: Milli): void {
    if (this.#probation?.until === Infinity) {
      this.#probation = { until: now + PROBATION_MS, fallback: this.#probation.fallback };
    }
  }

  /** Something that only a receiver at the current path can know came back: probation is over. */
  handleProof(): void {
    this.#probation = undefined;
    this.#unprovenMoves = 0;
  }

  /** Time passes. */
  handleTimeout(now: Milli): void {
    if (now >= this.#consentUntil) this.#expired = true;
    if (this.#probation && now >= this.#probation.until) {
      this.counts.refusedPaths += 1;
      this.#path = this.#probation.fallback;
      this.#probation = undefined;
    }
    const repeat = this.#repeat;
    if (repeat && now >= dueAt(repeat)) {
      repeat.count += 1;
      const { packet, to } = repeat;
      const isAffordable = packet.length <= this.#credit;
      if (isAffordable) this.#transmits.push({ packet, to });
      this.#credit -= isAffordable ? packet.length : 0;
      if (!isAffordable || repeat.count === REPEATS_MS.length) this.#repeat = undefined;
    }
  }

  /** When `handleTimeout` is due. */
  pollTimeout(): Milli | undefined {
    if (this.#expired) return undefined;
    return Math.min(
      this.#consentUntil,
      this.#probation?.until ?? Infinity,
      this.#repeat ? dueAt(this.#repeat) : Infinity,
    );
  }

  /** The next datagram to send. */
  nextTransmit(): Transmit | undefined {
    return this.#transmits.shift();
  }

  #refuse(reason: keyof IceCounts): boolean {
    this.counts[reason] += 1;
    return false;
  }

  #followCheck(now: Milli, message: StunMessage, from: Address): void {
    if (isSameAddress(from, this.#path)) {
      this.#pathHeardAt = now;
      this.#nominated ||= message.useCandidate;
      this.#trial = undefined; // the peer is where it was
      return;
    }
    const isSilent = now - this.#pathHeardAt > SILENT_PATH_MS;
    if (this.#nominated && !message.useCandidate && !isSilent) return;
    if (!this.#established || !this.#path) this.#move(now, from, message.useCandidate);
    else if (message.clientUfrag === this.#options.peerUfrag) this.#probe(now, from, message.useCandidate);
    else if (this.#unprovenMoves < MAX_UNPROVEN_MOVES) {
      // An ICE restart with the cached answer: its password is unknown, so it cannot be asked; RTCP must prove it.
      this.#unprovenMoves += 1;
      this.#probation = { until: Infinity, fallback: this.#probation?.fallback ?? this.#path };
      this.#move(now, from, message.useCandidate);
    } else this.counts.refusedPaths += 1;
  }

  #move(now: Milli, to: Address, nominated: boolean): void {
    if (this.#path) this.counts.pathChanges += 1;
    this.#credit = 0;
    this.#repeat = undefined;
    this.#path = { address: to.address, port: to.port };
    this.#pathHeardAt = now;
    this.#nominated ||= nominated;
    this.#trial = undefined;
  }

  #probe(now: Milli, to: Address, nominated: boolean): void {
    const known = this.#probes.find((probe) => isSameAddress(probe.to, to));
    if (known && (known.count >= MAX_PROBES_PER_ADDRESS || now - known.sentAt < PROBE_INTERVAL_MS)) return;
    const transactionId = this.#options.randomTransactionId();
    this.#probes = this.#probes.filter((probe) => probe !== known).slice(-MAX_PROBES + 1);
    this.#probes.push({ to, transactionId, sentAt: now, count: (known?.count ?? 0) + 1, nominated });
    const packet = formatBindingRequest({
      transactionId,
      username: `${this.#options.peerUfrag}:${this.#options.ufrag}`,
      password: this.#options.peerPassword,
      role: "controlled",
      tieBreaker: TIE_BREAKER,
    });
    this.#transmits.push({ packet, to });
  }

  #handleProbeAnswer(now: Milli, message: StunMessage, from: Address): boolean {
    const probe = this.#probes.find(
      ({ transactionId, to }) => isSameAddress(to, from) && Buffer.compare(transactionId, message.transactionId) === 0,
    );
    if (!probe) return this.#refuse("notRequest");
    if (!hasValidFingerprint(message)) return this.#refuse("badFingerprint");
    if (!hasValidIntegrity(message, this.#options.peerPassword)) return this.#refuse("badIntegrity");
    this.#probes = [];
    this.handleProof();
    this.#move(now, from, probe.nominated);
    return true;
  }
}

/** An answer that may have been lost. */
interface Repeat extends Transmit {
  readonly answeredAt: Milli;
  count: number;
}

function dueAt({ answeredAt, count }: Repeat): Milli {
  return answeredAt + REPEATS_MS[count]!;
}

interface Probe {
  readonly to: Address;
  readonly transactionId: Uint8Array;
  readonly sentAt: Milli;
  readonly count: number;
  readonly nominated: boolean;
}
