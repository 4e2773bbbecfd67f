/**
 * The server's end of DTLS 1.2 (RFC 6347, RFC 5246) as WebRTC needs it (RFC 5764, RFC 8827): ECDHE-ECDSA with
 * AES-128-GCM over P-256, the client's certificate checked against the offer and its possession of the key proved, the
 * extended master secret (RFC 7627), no resumption, no renegotiation. Pure: a record in, datagrams out by the sink.
 *
 * ICE has proved the address, so no cookie is asked for: one round trip less. When two different ClientHellos come,
 * somebody is spoofing; then the cookie decides (RFC 6347 section 4.2.1), which an off-path spoofer never sees.
 */
import {
  constants,
  createECDH,
  createHmac,
  type ECDH,
  type KeyObject,
  sign,
  timingSafeEqual,
  verify,
  X509Certificate,
} from "node:crypto";
import type { Milli } from "@sluice/conversation";
import type { Dtls, DtlsFactory, DtlsSink, SrtpKeys } from "./dtls.ts";
import { type DtlsIdentity, fingerprintOf } from "./dtls-certificate.ts";
import {
  CIPHER_SUITE,
  type ClientHello,
  decodeCertificate,
  decodeCertificateVerify,
  decodeClientHello,
  decodeClientKeyExchange,
  decodeHandshake,
  encodeCertificate,
  encodeCertificateRequest,
  encodeEcdhParameters,
  encodeHandshake,
  encodeHelloVerifyRequest,
  encodeServerHello,
  encodeServerKeyExchange,
  HANDSHAKE_TYPE,
  NAMED_GROUP,
  prf,
  SIGNATURE_ALGORITHM,
  transcriptHash,
} from "./dtls-handshake.ts";
import { Reassembly } from "./dtls-reassembly.ts";
import {
  CONTENT_TYPE,
  DTLS_1_2,
  type DtlsRecord,
  encodeRecord,
  protectRecord,
  type RecordKey,
  RecordWindow,
  unprotectRecord,
} from "./dtls-record.ts";
import type { Fingerprint } from "./sdp.ts";

/** Opens associations that all show `identity`; `random` gives unpredictable bytes. */
export function createDtlsFactory(identity: DtlsIdentity, random: (size: number) => Uint8Array): DtlsFactory {
  return {
    fingerprint: identity.fingerprint,
    open: (_now, fingerprints, sink) => new DtlsServer(identity, random, fingerprints, sink),
  };
}

/** Alert descriptions (RFC 5246 section 7.2). */
const ALERT = {
  closeNotify: 0,
  unexpectedMessage: 10,
  handshakeFailure: 40,
  badCertificate: 42,
  illegalParameter: 47,
  decodeError: 50,
  decryptError: 51,
  protocolVersion: 70,
} as const;

/** Our preference first: numbers of RFC 5764 section 4.1.2 and RFC 7714 section 14.2, sizes of key and salt. */
const SRTP_PROFILES = [
  { id: 0x0007, profile: "AEAD_AES_128_GCM", keySize: 16, saltSize: 12 },
  { id: 0x0001, profile: "AES128_CM_HMAC_SHA1_80", keySize: 16, saltSize: 14 },
] as const;

/** What may sign a CertificateVerify: SignatureScheme numbers of RFC 8446 section 4.2.3. */
const CLIENT_SIGNATURES = [
  { id: 0x0403, hash: "sha256", key: "ec" },
  { id: 0x0503, hash: "sha384", key: "ec" },
  { id: 0x0603, hash: "sha512", key: "ec" },
  { id: 0x0804, hash: "sha256", key: "rsa", padding: constants.RSA_PKCS1_PSS_PADDING },
  { id: 0x0401, hash: "sha256", key: "rsa", padding: constants.RSA_PKCS1_PADDING },
  { id: 0x0501, hash: "sha384", key: "rsa", padding: constants.RSA_PKCS1_PADDING },
  { id: 0x0601, hash: "sha512", key: "rsa", padding: constants.RSA_PKCS1_PADDING },
] as const;

const MAX_DATAGRAM_SIZE = 1_200;
const RETRANSMIT_FIRST_MS = 100;
const RETRANSMIT_MAX_MS = 1_600;
/** The peer's resent messages make us resend no more often than this. */
const RESEND_INTERVAL_MS = 20;
/** Our last flight is sent again by our timer until the peer shows that it has it: it would ask after 1 s, OpenSSL's timer. */
const MAX_LAST_REPEATS = 6; // 4.7 s
/** Our last flight, asked for again: BoringSSL asks when it gets it twice, so that this must have an end. */
const MAX_LAST_RESENDS = 8;
const MAX_EARLY_RECORDS = 8;
const COOKIE_SIZE = 20;

/** The peer broke the protocol, or is not who it should be. */
class DtlsFailure extends Error {
  override readonly name = "DtlsFailure";
  readonly alert: number;

  constructor(alert: number, message: string) {
    super(message);
    this.alert = alert;
  }
}

interface OutgoingRecord {
  readonly type: number;
  readonly epoch: 0 | 1;
  readonly content: Uint8Array;
}

/** Everything that one accepted ClientHello began. */
interface Handshake {
  readonly hello: ClientHello;
  readonly ecdh: ECDH;
  readonly serverRandom: Uint8Array;
  readonly transcript: Uint8Array[];
  readonly reassembly: Reassembly;
  readonly profile: (typeof SRTP_PROFILES)[number] | undefined;
  expected: "certificate" | "clientKeyExchange" | "certificateVerify" | "finished";
  sendSeq: number;
  peerKey: KeyObject | undefined;
  masterSecret: Buffer | undefined;
}

class DtlsServer implements Dtls {
  readonly #identity: DtlsIdentity;
  readonly #random: (size: number) => Uint8Array;
  readonly #fingerprints: readonly Fingerprint[];
  readonly #sink: DtlsSink;
  readonly #cookieKey: Uint8Array;
  readonly #hellos = new Reassembly(0);
  readonly #window = new RecordWindow();
  readonly #sequence = [0, 0];
  #handshake: Handshake | undefined;
  #keys: { readonly read: RecordKey; readonly write: RecordKey } | undefined;
  #early: DtlsRecord[] = [];
  #flight: readonly OutgoingRecord[] = [];
  #flightSentAt: Milli = 0;
  #retransmitMs: Milli = RETRANSMIT_FIRST_MS;
  #lastResends = 0;
  /** How often our last flight may go again unasked. */
  #lastRepeats = 0;
  #flightSends = 0;
  #state: "handshake" | "established" | "closed" = "handshake";

  constructor(
    identity: DtlsIdentity,
    random: (size: number) => Uint8Array,
    fingerprints: readonly Fingerprint[],
    sink: DtlsSink,
  ) {
    this.#identity = identity;
    this.#random = random;
    this.#fingerprints = fingerprints;
    this.#sink = sink;
    this.#cookieKey = random(32);
  }

  handleRecord(now: Milli, record: DtlsRecord): void {
    if (this.#state === "closed") return;
    try {
      if (record.epoch === 0) this.#handlePlaintext(now, record);
      else if (record.epoch === 1) this.#handleProtected(now, record);
    } catch (error) {
      if (!(error instanceof DtlsFailure)) throw error;
      this.#fail(error.alert, error.message);
    }
  }

  handleTimeout(now: Milli): void {
    const due = this.pollTimeout();
    if (due === undefined || now < due) return;
    this.#retransmitMs = Math.min(this.#retransmitMs * 2, RETRANSMIT_MAX_MS);
    if (this.#state === "established") this.#lastRepeats -= 1;
    this.#sendFlight(now);
  }

  handleMedia(): void {
    this.#lastRepeats = 0;
  }

  pollTimeout(): Milli | undefined {
    const isWaiting = this.#state === "handshake" || this.#lastRepeats > 0;
    if (!isWaiting || this.#flight.length === 0) return undefined;
    return this.#flightSentAt + this.#retransmitMs;
  }

  send(data: Uint8Array): void {
    if (this.#state === "established")
      this.#sendRecords([{ type: CONTENT_TYPE.applicationData, epoch: 1, content: data }]);
  }

  close(): void {
    if (this.#state === "established") this.#sendAlert(1, ALERT.closeNotify);
    this.#free();
  }

  #handlePlaintext(now: Milli, { type, fragment }: DtlsRecord): void {
    // Alerts and ChangeCipherSpec mean nothing unless they are authentic; epoch 1 itself says that the cipher changed.
    if (type !== CONTENT_TYPE.handshake || this.#state !== "handshake") return;
    for (const piece of decodeHandshake(fragment) ?? []) {
      if (piece.type === HANDSHAKE_TYPE.clientHello) {
        const body = this.#hellos.add(piece, 0);
        if (body) this.#handleHello(now, piece.messageSeq, body);
      } else this.#handlePiece(now, piece, 0);
    }
  }

  #handleProtected(now: Milli, record: DtlsRecord): void {
    if (!this.#keys) {
      // Came before what it is keyed by: reordering.
      if (this.#early.length < MAX_EARLY_RECORDS)
        this.#early.push({ ...record, fragment: Buffer.from(record.fragment) });
      return;
    }
    if (!this.#window.isFresh(record.sequenceNumber)) return;
    const content = unprotectRecord(this.#keys.read, record);
    if (!content) return;
    this.#window.accept(record.sequenceNumber);
    if (record.type === CONTENT_TYPE.handshake) {
      for (const piece of decodeHandshake(content) ?? []) this.#handlePiece(now, piece, 1);
    } else if (this.#state === "established") {
      this.#lastRepeats = 0;
      if (record.type === CONTENT_TYPE.applicationData) this.#sink.onData(content);
      else if (record.type === CONTENT_TYPE.alert) this.#handleAlert(content);
    }
  }

  #handleAlert(content: Uint8Array): void {
    const [level, description] = content;
    const FATAL = 2;
    if (level !== FATAL && description !== ALERT.closeNotify) return;
    if (description === ALERT.closeNotify) this.#sendAlert(1, ALERT.closeNotify);
    this.#end(description === ALERT.closeNotify ? "the peer closed DTLS" : `the peer sent DTLS alert ${description}`);
  }

  #handleHello(now: Milli, messageSeq: number, body: Uint8Array): void {
    const hello = decodeClientHello(body);
    if (!hello) return;
    const current = this.#handshake?.hello;
    if (
      current &&
      Buffer.compare(current.random, hello.random) === 0 &&
      current.cookie.length === hello.cookie.length
    ) {
      if (now - this.#flightSentAt >= RESEND_INTERVAL_MS) this.#sendFlight(now);
      return;
    }
    const cookie = createHmac("sha256", this.#cookieKey).update(hello.random).digest().subarray(0, COOKIE_SIZE);
    if (current && !(hello.cookie.length === COOKIE_SIZE && timingSafeEqual(hello.cookie, cookie))) {
      const content = encodeHandshake(HANDSHAKE_TYPE.helloVerifyRequest, 0, encodeHelloVerifyRequest(cookie));
      this.#sendRecords([{ type: CONTENT_TYPE.handshake, epoch: 0, content }]);
      return;
    }
    const refusal = refuseHello(hello);
    // It may be spoofed, so it does not end the association.
    if (refusal !== undefined) this.#sendAlert(0, refusal);
    else this.#begin(now, hello, messageSeq, body);
  }

  #begin(now: Milli, hello: ClientHello, messageSeq: number, body: Uint8Array): void {
    const ecdh = createECDH("prime256v1");
    ecdh.generateKeys();
    const profile = SRTP_PROFILES.find(({ id }) => hello.srtpProfiles.includes(id));
    const handshake: Handshake = {
      hello,
      ecdh,
      serverRandom: this.#random(32),
      transcript: [encodeHandshake(HANDSHAKE_TYPE.clientHello, messageSeq, body)],
      reassembly: new Reassembly(messageSeq + 1),
      profile,
      expected: "certificate",
      sendSeq: messageSeq,
      peerKey: undefined,
      masterSecret: undefined,
    };
    this.#handshake = handshake;
    this.#keys = undefined;
    this.#early = [];
    const parameters = encodeEcdhParameters(ecdh.getPublicKey());
    const signed = Buffer.concat([hello.random, handshake.serverRandom, parameters]);
    const signature = sign("sha256", signed, this.#identity.privateKey);
    this.#flight = [
      this.#write(handshake, "serverHello", encodeServerHello(hello, handshake.serverRandom, profile?.id)),
      this.#write(handshake, "certificate", encodeCertificate(this.#identity.certificate)),
      this.#write(handshake, "serverKeyExchange", encodeServerKeyExchange(parameters, signature)),
      this.#write(handshake, "certificateRequest", encodeCertificateRequest(CLIENT_SIGNATURES.map(({ id }) => id))),
      this.#write(handshake, "serverHelloDone", new Uint8Array(0)),
    ];
    this.#flightSends = 0;
    this.#retransmitMs = RETRANSMIT_FIRST_MS;
    this.#sendFlight(now);
  }

  #handlePiece(now: Milli, piece: Parameters<Reassembly["add"]>[0], epoch: 0 | 1): void {
    const handshake = this.#handshake;
    if (!handshake) return;
    if (piece.messageSeq < handshake.reassembly.nextSeq) {
      // The peer repeats itself, so it lacks our last flight. Established: only an authentic record may ask for it.
      const mayAsk = this.#state === "handshake" || (epoch === 1 && this.#lastResends++ < MAX_LAST_RESENDS);
      if (mayAsk && now - this.#flightSentAt >= RESEND_INTERVAL_MS) this.#sendFlight(now);
      return;
    }
    if (this.#state !== "handshake") return;
    handshake.reassembly.add(piece, epoch);
    for (let message = handshake.reassembly.next(); message; message = handshake.reassembly.next()) {
      this.#handleMessage(handshake, message.type, message.body, message.epoch);
      const content = encodeHandshake(message.type, message.messageSeq, message.body);
      handshake.transcript.push(content);
      if (message.type === HANDSHAKE_TYPE.clientKeyExchange) this.#deriveKeys(now, handshake);
      if (message.type === HANDSHAKE_TYPE.finished) {
        this.#establish(now, handshake);
        return;
      }
    }
  }

  #handleMessage(handshake: Handshake, type: number, body: Uint8Array, epoch: 0 | 1): void {
    if (type !== HANDSHAKE_TYPE[handshake.expected] || epoch !== (handshake.expected === "finished" ? 1 : 0)) {
      throw new DtlsFailure(ALERT.unexpectedMessage, `handshake message ${type} came, not ${handshake.expected}`);
    }
    if (handshake.expected === "certificate") {
      handshake.peerKey = this.#checkCertificate(body);
      handshake.expected = "clientKeyExchange";
    } else if (handshake.expected === "clientKeyExchange") {
      handshake.masterSecret = computeSecret(handshake, body); // premaster until the transcript has this message
      handshake.expected = "certificateVerify";
    } else if (handshake.expected === "certificateVerify") {
      checkPossession(handshake, body);
      handshake.expected = "finished";
    } else {
      const expected = prf(handshake.masterSecret!, "client finished", transcriptHash(handshake.transcript), 12);
      if (body.length !== 12 || !timingSafeEqual(body, expected)) {
        throw new DtlsFailure(ALERT.decryptError, "the peer's Finished does not fit the handshake");
      }
    }
  }

  #checkCertificate(body: Uint8Array): KeyObject {
    const certificate = decodeCertificate(body);
    if (!certificate) throw new DtlsFailure(ALERT.badCertificate, "the peer sent no certificate");
    const isOffered = this.#fingerprints.some(
      ({ algorithm, digest }) => fingerprintOf(certificate, algorithm).digest === digest,
    );
    if (!isOffered) throw new DtlsFailure(ALERT.badCertificate, "the peer's certificate is not the one of its offer");
    try {
      return new X509Certificate(certificate).publicKey;
    } catch {
      throw new DtlsFailure(ALERT.badCertificate, "the peer's certificate cannot be read");
    }
  }

  #deriveKeys(now: Milli, handshake: Handshake): void {
    const { hello, serverRandom, transcript } = handshake;
    const preMasterSecret = handshake.masterSecret!;
    const masterSecret = hello.extendedMasterSecret
      ? prf(preMasterSecret, "extended master secret", transcriptHash(transcript), 48) // RFC 7627 section 4
      : prf(preMasterSecret, "master secret", Buffer.concat([hello.random, serverRandom]), 48);
    handshake.masterSecret = masterSecret;
    const block = prf(masterSecret, "key expansion", Buffer.concat([serverRandom, hello.random]), 40);
    this.#keys = {
      read: { key: block.subarray(0, 16), iv: block.subarray(32, 36) },
      write: { key: block.subarray(16, 32), iv: block.subarray(36, 40) },
    };
    const early = this.#early;
    this.#early = [];
    for (const record of early) this.#handleProtected(now, record);
  }

  #establish(now: Milli, handshake: Handshake): void {
    const verifyData = prf(handshake.masterSecret!, "server finished", transcriptHash(handshake.transcript), 12);
    this.#flight = [
      { type: CONTENT_TYPE.changeCipherSpec, epoch: 0, content: Uint8Array.of(1) },
      { ...this.#write(handshake, "finished", verifyData), epoch: 1 },
    ];
    // The round trip, if the flight before it went once: what shows that this one came takes another.
    const roundTripMs = this.#flightSends === 1 ? now - this.#flightSentAt : 0;
    this.#retransmitMs = Math.max(RETRANSMIT_FIRST_MS, 1.5 * roundTripMs);
    this.#lastRepeats = MAX_LAST_REPEATS;
    this.#sendFlight(now);
    this.#state = "established";
    const keys = exportSrtpKeys(handshake);
    handshake.transcript.length = 0;
    handshake.masterSecret = undefined;
    this.#sink.onConnected(keys);
  }

  /** Makes a message of ours part of the transcript, and a record of it. */
  #write(handshake: Handshake, type: keyof typeof HANDSHAKE_TYPE, body: Uint8Array): OutgoingRecord {
    const content = encodeHandshake(HANDSHAKE_TYPE[type], handshake.sendSeq++, body);
    handshake.transcript.push(content);
    return { type: CONTENT_TYPE.handshake, epoch: 0, content };
  }

  #sendFlight(now: Milli): void {
    this.#flightSentAt = now;
    this.#flightSends += 1;
    this.#sendRecords(this.#flight);
  }

  /** Sends records in as few datagrams as fit; each time they get new numbers (RFC 6347 section 4.2.4). */
  #sendRecords(records: readonly OutgoingRecord[]): void {
    let datagram: Buffer[] = [];
    let size = 0;
    for (const { type, epoch, content } of records) {
      const sequenceNumber = this.#sequence[epoch]!++;
      const record = { type, epoch, sequenceNumber, fragment: content };
      const bytes = epoch === 0 ? encodeRecord(record) : protectRecord(this.#keys!.write, record);
      if (size + bytes.length > MAX_DATAGRAM_SIZE && datagram.length > 0) {
        this.#sink.onPacket(Buffer.concat(datagram));
        datagram = [];
        size = 0;
      }
      datagram.push(bytes);
      size += bytes.length;
    }
    if (datagram.length > 0) this.#sink.onPacket(datagram.length === 1 ? datagram[0]! : Buffer.concat(datagram));
  }

  #sendAlert(epoch: 0 | 1, description: number): void {
    const level = description === ALERT.closeNotify ? 1 : 2;
    this.#sendRecords([{ type: CONTENT_TYPE.alert, epoch, content: Uint8Array.of(level, description) }]);
  }

  #fail(alert: number, reason: string): void {
    this.#sendAlert(0, alert);
    this.#end(reason);
  }

  #end(reason: string): void {
    this.#free();
    this.#sink.onClosed(reason);
  }

  #free(): void {
    this.#state = "closed";
    this.#handshake = undefined;
    this.#keys = undefined;
    this.#early = [];
    this.#flight = [];
    this.#lastRepeats = 0;
  }
}

/** Why `hello` cannot be answered, as an alert. */
function refuseHello(hello: ClientHello): number | undefined {
  if (hello.version !== DTLS_1_2) return ALERT.protocolVersion;
  const fits =
    hello.cipherSuites.includes(CIPHER_SUITE) &&
    (hello.groups?.includes(NAMED_GROUP) ?? true) &&
    (hello.signatureAlgorithms?.includes(SIGNATURE_ALGORITHM) ?? true);
  return fits ? undefined : ALERT.handshakeFailure;
}

function computeSecret({ ecdh }: Handshake, body: Uint8Array): Buffer {
  const peerPublicKey = decodeClientKeyExchange(body);
  if (!peerPublicKey) throw new DtlsFailure(ALERT.decodeError, "the peer's ClientKeyExchange is malformed");
  try {
    return ecdh.computeSecret(peerPublicKey);
  } catch {
    throw new DtlsFailure(ALERT.illegalParameter, "the peer's key is not a point of P-256");
  }
}

/** RFC 5246 section 7.4.8: the peer signs all messages so far with the certificate's key. */
function checkPossession({ peerKey, transcript }: Handshake, body: Uint8Array): void {
  const message = decodeCertificateVerify(body);
  if (!message) throw new DtlsFailure(ALERT.decodeError, "the peer's CertificateVerify is malformed");
  const scheme = CLIENT_SIGNATURES.find(({ id }) => id === message.algorithm);
  if (!scheme || !peerKey || peerKey.asymmetricKeyType !== scheme.key) {
    throw new DtlsFailure(ALERT.illegalParameter, "the peer's CertificateVerify is by another kind of key");
  }
  const key = "padding" in scheme ? { key: peerKey, padding: scheme.padding } : peerKey;
  if (!verify(scheme.hash, Buffer.concat(transcript), key, message.signature)) {
    throw new DtlsFailure(ALERT.decryptError, "the peer does not hold the key of its certificate");
  }
}

/** RFC 5764 section 4.2. */
function exportSrtpKeys({ profile, masterSecret, hello, serverRandom }: Handshake): SrtpKeys | undefined {
  if (!profile) return undefined;
  const { keySize, saltSize } = profile;
  const seed = Buffer.concat([hello.random, serverRandom]);
  const material = prf(masterSecret!, "EXTRACTOR-dtls_srtp", seed, 2 * (keySize + saltSize));
  const salts = 2 * keySize;
  return {
    profile: profile.profile,
    remoteKey: material.subarray(0, keySize),
    localKey: material.subarray(keySize, salts),
    remoteSalt: material.subarray(salts, salts + saltSize),
    localSalt: material.subarray(salts + saltSize),
  };
}
