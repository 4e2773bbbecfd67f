/**
 * The offers that we take and the answers that we give: RFC 8866 (SDP) and RFC 8829 (JSEP), for one Opus stream and
 * one data channel over one bundled, ICE-lite path. No trickle, no renegotiation.
 */

/** An offer that cannot be answered; the message tells its sender why. */
export class SdpError extends Error {
  override readonly name = "SdpError";
}

/** Bytes of an offer, at most. */
export const MAX_OFFER_LENGTH = 64 * 1024;
/** Lines of an offer, at most. */
export const MAX_OFFER_LINES = 500;
/** Candidates in an offer, at most. */
export const MAX_OFFER_CANDIDATES = 32;
/** Bytes of one data channel message that we take (`a=max-message-size`, RFC 8841 section 6). */
export const MAX_MESSAGE_SIZE = 262_144;

/** Which way media flows, as the side that says it sees it. */
export type Direction = "sendrecv" | "sendonly" | "recvonly" | "inactive";

/** A certificate's hash (RFC 8122 section 5): `algorithm` lower-case, `digest` upper-case hex with colons. */
export interface Fingerprint {
  readonly algorithm: "sha-256" | "sha-384" | "sha-512";
  readonly digest: string;
}

/** The audio of an offer that we accept. */
export interface OfferAudio {
  readonly mid: string;
  /** As the offerer sees it. */
  readonly direction: Direction;
  readonly opusPayloadType: number;
  /** RED around this Opus (RFC 2198), where offered. */
  readonly redPayloadType: number | undefined;
  /** Asks for lost packets again (RFC 4585). */
  readonly nack: boolean;
  /** The stream's SSRC, where announced. */
  readonly ssrc: number | undefined;
}

/** The data channels of an offer that we accept. */
export interface OfferData {
  readonly mid: string;
  readonly sctpPort: number;
  /** Bytes of one message that the offerer takes; 65,536 unless it says otherwise (RFC 8841 section 6.1). */
  readonly maxMessageSize: number;
}

/** An m-line: what it takes to repeat it in an answer. */
export interface OfferSection {
  readonly mid: string | undefined;
  readonly media: string;
  readonly protocol: string;
  readonly formats: string;
}

/** An offer that can be answered. */
export interface Offer {
  /** Every m-line in the offer's order; those that are neither `audio` nor `data` are rejected in the answer. */
  readonly sections: readonly OfferSection[];
  readonly audio: OfferAudio | undefined;
  readonly data: OfferData | undefined;
  readonly iceUfrag: string;
  readonly icePassword: string;
  /** Never empty. */
  readonly fingerprints: readonly Fingerprint[];
}

/** What an answer says beyond the offer. */
export interface AnswerOptions {
  readonly iceUfrag: string;
  readonly icePassword: string;
  readonly fingerprint: Fingerprint;
  /** Numeric addresses at which we are reached, the preferred one first; never empty. */
  readonly candidates: readonly { readonly address: string; readonly port: number }[];
  /** SSRC of our audio. */
  readonly ssrc: number;
  /** Names our audio in RTCP and as the stream of `a=msid`. */
  readonly cname: string;
  /** Digits: the session id of the `o=` line. */
  readonly sessionId: string;
  /** Whether the peer is to resend what we miss; default true. */
  readonly nack?: boolean | undefined;
}

/** Parses an offer; throws {@link SdpError} where it cannot be answered. */
export function parseOffer(text: string): Offer {
  const { session, sections } = split(text);
  const bundle = attributes(session, "group")
    .map((group) => group.split(" "))
    .find(([semantics]) => semantics === "BUNDLE");
  const audioSection = sections.find((section) => section.media === "audio" && isOffered(section));
  const dataSection = sections.find(
    (section) => section.media === "application" && isOffered(section) && section.protocol.endsWith("DTLS/SCTP"),
  );
  const audio = audioSection && parseAudio(audioSection);
  const data = dataSection && parseData(dataSection);
  const used = [audioSection, dataSection].filter((section) => section !== undefined);
  const first = used[0];
  if (!first) throw new SdpError("the offer has neither an audio m-line nor one for data channels");
  for (const section of used) {
    if (section.mid === undefined) throw new SdpError(`the offer's ${section.media} m-line has no a=mid`);
    if (used.length > 1 && !bundle?.includes(section.mid)) {
      throw new SdpError(`the offer must bundle all media (a=group:BUNDLE); ${section.mid} is outside`);
    }
  }
  const inherited = (name: string) => attributes(first.lines, name)[0] ?? attributes(session, name)[0];
  const iceUfrag = inherited("ice-ufrag");
  const icePassword = inherited("ice-pwd");
  if (!iceUfrag || !isIceText(iceUfrag, 4)) throw new SdpError("the offer has no valid a=ice-ufrag");
  if (!icePassword || !isIceText(icePassword, 22)) throw new SdpError("the offer has no valid a=ice-pwd");
  const setup = inherited("setup") ?? "actpass";
  if (setup !== "actpass" && setup !== "active") {
    throw new SdpError(`the offer says a=setup:${setup.slice(0, 16)}; we are the DTLS server: offer actpass or active`);
  }
  const own = attributes(first.lines, "fingerprint");
  const fingerprints = (own.length > 0 ? own : attributes(session, "fingerprint"))
    .map(parseFingerprint)
    .filter((fingerprint) => fingerprint !== undefined);
  if (fingerprints.length === 0) throw new SdpError("the offer has no a=fingerprint by sha-256, sha-384 or sha-512");
  return {
    sections: sections.map(({ mid, media, protocol, formats }) => ({ mid, media, protocol, formats })),
    audio,
    data,
    iceUfrag,
    icePassword,
    fingerprints,
  };
}

/** Formats the answer to `offer`. */
export function formatAnswer(offer: Offer, options: AnswerOptions): string {
  const { audio, data } = offer;
  const mids = offer.sections.flatMap(({ mid }) => (mid !== undefined && isAccepted(offer, mid) ? [mid] : []));
  const lines = [
    "v=0",
    `o=- ${options.sessionId} 1 IN IP4 127.0.0.1`,
    "s=-",
    "t=0 0",
    "a=ice-lite",
    `a=group:BUNDLE ${mids.join(" ")}`,
    `a=msid-semantic: WMS ${options.cname}`,
  ];
  for (const section of offer.sections) {
    if (audio && section.mid === audio.mid) lines.push(...formatAudio(audio, section, options));
    else if (data && section.mid === data.mid) lines.push(...formatData(data, section, options));
    else lines.push(...formatRejected(section));
  }
  return `${lines.join("\r\n")}\r\n`;
}

/** How the answerer says the offerer's `direction`. */
export function mirror(direction: Direction): Direction {
  if (direction === "sendonly") return "recvonly";
  return direction === "recvonly" ? "sendonly" : direction;
}

interface Section extends OfferSection {
  readonly port: number;
  readonly lines: readonly string[];
}

function split(text: string): { session: readonly string[]; sections: readonly Section[] } {
  if (text.length > MAX_OFFER_LENGTH) throw new SdpError(`the offer is longer than ${MAX_OFFER_LENGTH} bytes`);
  const lines = text.split(/\r\n|\n/, MAX_OFFER_LINES + 2).filter((line) => line !== "");
  if (lines.length > MAX_OFFER_LINES) throw new SdpError(`the offer has more than ${MAX_OFFER_LINES} lines`);
  if (lines[0] !== "v=0") throw new SdpError("the offer does not begin with v=0");
  const bad = lines.find((line) => !/^[a-z]=[^\0\r]+$/.test(line));
  if (bad !== undefined)
    throw new SdpError(`the offer has a line that is not SDP: ${JSON.stringify(bad.slice(0, 40))}`);
  if (lines.filter((line) => line.startsWith("a=candidate:")).length > MAX_OFFER_CANDIDATES) {
    throw new SdpError(`the offer has more than ${MAX_OFFER_CANDIDATES} candidates`);
  }
  const starts = lines.flatMap((line, index) => (line.startsWith("m=") ? [index] : []));
  const sections = starts.map((start, index) => parseSection(lines.slice(start, starts[index + 1])));
  const mids = sections.flatMap(({ mid }) => (mid === undefined ? [] : [mid]));
  if (new Set(mids).size < mids.length) throw new SdpError("the offer uses an a=mid twice");
  return { session: lines.slice(0, starts[0]), sections };
}

function parseSection(lines: readonly string[]): Section {
  const [media, port, protocol, ...formats] = lines[0]!.slice(2).split(" ");
  if (!media || !protocol || formats.length === 0 || !/^\d{1,5}(\/\d+)?$/.test(port ?? "")) {
    throw new SdpError(`the offer has a bad m-line: ${JSON.stringify(lines[0]!.slice(0, 40))}`);
  }
  const mid = attributes(lines, "mid")[0];
  if (mid !== undefined && !/^[!#-'*+\-.0-9A-Z^-~]{1,32}$/.test(mid)) throw new SdpError("the offer has a bad a=mid");
  return { mid, media, port: Number.parseInt(port!, 10), protocol, formats: formats.join(" "), lines };
}

/** Port 0 rejects media, unless it says that its port is that of the bundle (RFC 9143 section 6): `max-bundle` offers do. */
function isOffered({ port, lines }: Section): boolean {
  return port !== 0 || lines.includes("a=bundle-only");
}

function parseAudio({ mid, lines, protocol, formats }: Section): OfferAudio {
  if (protocol !== "UDP/TLS/RTP/SAVPF" && protocol !== "UDP/TLS/RTP/SAVP") {
    throw new SdpError(`the offer's audio is ${protocol.slice(0, 32)}, not UDP/TLS/RTP/SAVPF`);
  }
  if (!lines.includes("a=rtcp-mux")) throw new SdpError("the offer's audio has no a=rtcp-mux");
  const listed = formats.split(" ");
  const codecs = attributes(lines, "rtpmap").flatMap((value) => {
    const [payloadType, codec] = value.split(" ");
    return payloadType && codec && listed.includes(payloadType) && isDynamicPayloadType(payloadType)
      ? [{ payloadType, codec: codec.toLowerCase() }]
      : [];
  });
  const opus = codecs.find(({ codec }) => codec.startsWith("opus/48000"))?.payloadType;
  if (opus === undefined) throw new SdpError("the offer's audio has no Opus");
  const parameters = attributes(lines, "fmtp");
  const red = codecs.find(
    ({ payloadType, codec }) =>
      codec.startsWith("red/48000") && parameters.some((value) => value.startsWith(`${payloadType} ${opus}/${opus}`)),
  );
  const ssrc =
    /^\d{1,10} /.test(attributes(lines, "ssrc")[0] ?? "") && Number.parseInt(attributes(lines, "ssrc")[0]!, 10);
  const directions = ["sendrecv", "sendonly", "recvonly", "inactive"] as const;
  return {
    mid: mid ?? "",
    direction: directions.find((direction) => lines.includes(`a=${direction}`)) ?? "sendrecv",
    opusPayloadType: Number(opus),
    redPayloadType: red && Number(red.payloadType),
    nack: attributes(lines, "rtcp-fb").some((value) => value === `${opus} nack` || value === "* nack"),
    ssrc: typeof ssrc === "number" && ssrc <= 0xffff_ffff ? ssrc : undefined,
  };
}

function parseData({ mid, lines, formats }: Section): OfferData {
  // Before RFC 8841 the m-line carried the SCTP port: "m=application 9 DTLS/SCTP 5000".
  const port = attributes(lines, "sctp-port")[0] ?? (formats.match(/^\d+$/) ? formats : "5000");
  const size = attributes(lines, "max-message-size")[0] ?? "65536";
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) throw new SdpError("the offer has a bad a=sctp-port");
  if (!/^\d{1,15}$/.test(size)) throw new SdpError("the offer has a bad a=max-message-size");
  return {
    mid: mid ?? "",
    sctpPort: Number(port),
    // 0 means: as large as you like.
    maxMessageSize: Number(size) || Number.MAX_SAFE_INTEGER,
  };
}

function parseFingerprint(value: string): Fingerprint | undefined {
  const [algorithm, digest] = value.split(" ");
  const name = (["sha-256", "sha-384", "sha-512"] as const).find((each) => each === algorithm?.toLowerCase());
  if (!name || !digest) return undefined;
  const bytes = Number.parseInt(name.slice(4), 10) / 8;
  return digest.length === bytes * 3 - 1 && /^[0-9a-f]{2}(:[0-9a-f]{2})*$/i.test(digest)
    ? { algorithm: name, digest: digest.toUpperCase() }
    : undefined;
}

/** Values of every `a=name:value` line. */
function attributes(lines: readonly string[], name: string): string[] {
  const prefix = `a=${name}:`;
  return lines.flatMap((line) => (line.startsWith(prefix) ? [line.slice(prefix.length).trim()] : []));
}

function isIceText(text: string, min: number): boolean {
  return text.length >= min && text.length <= 256 && /^[A-Za-z0-9+/]+$/.test(text);
}

/** With RTP and RTCP on one port, 64 to 95 would be taken for RTCP (RFC 5761 section 4). */
function isDynamicPayloadType(text: string): boolean {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : -1;
  return value >= 0 && value <= 127 && (value < 64 || value > 95);
}

function isAccepted({ audio, data }: Offer, mid: string): boolean {
  return mid === audio?.mid || mid === data?.mid;
}

function formatAudio(audio: OfferAudio, section: OfferSection, options: AnswerOptions): string[] {
  const { opusPayloadType: opus, redPayloadType: red } = audio;
  const direction = mirror(audio.direction);
  const payloadTypes = red === undefined ? [opus] : [red, opus]; // RED first: browsers then repair the prompt themselves
  return [
    `m=audio ${options.candidates[0]!.port} ${section.protocol} ${payloadTypes.join(" ")}`,
    ...formatPath(audio.mid, options),
    `a=${direction}`,
    "a=rtcp-mux",
    `a=rtpmap:${opus} opus/48000/2`,
    `a=fmtp:${opus} minptime=10;useinbandfec=1`,
    // Chromium resends on request when the answer says so, although its offer never does.
    ...(options.nack === false ? [] : [`a=rtcp-fb:${opus} nack`]),
    ...(red === undefined ? [] : [`a=rtpmap:${red} red/48000/2`, `a=fmtp:${red} ${opus}/${opus}`]),
    ...(direction === "sendrecv" || direction === "sendonly"
      ? [`a=msid:${options.cname} ${options.cname}-audio`, `a=ssrc:${options.ssrc} cname:${options.cname}`]
      : []),
  ];
}

function formatData(data: OfferData, section: OfferSection, options: AnswerOptions): string[] {
  return [
    `m=application ${options.candidates[0]!.port} ${section.protocol} ${section.formats}`,
    ...formatPath(data.mid, options),
    "a=sctp-port:5000",
    `a=max-message-size:${MAX_MESSAGE_SIZE}`,
  ];
}

function formatPath(mid: string, options: AnswerOptions): string[] {
  const first = options.candidates[0]!.address;
  return [
    `c=IN ${first.includes(":") ? "IP6" : "IP4"} ${first}`,
    `a=mid:${mid}`,
    `a=ice-ufrag:${options.iceUfrag}`,
    `a=ice-pwd:${options.icePassword}`,
    `a=fingerprint:${options.fingerprint.algorithm} ${options.fingerprint.digest}`,
    "a=setup:passive",
    ...options.candidates.map(({ address, port }, index) => {
      const priority = 126 * 2 ** 24 + (65_535 - index) * 2 ** 8 + 255; // RFC 8445 section 5.1.2.1, host, component 1
      return `a=candidate:${index + 1} 1 udp ${priority} ${address} ${port} typ host`;
    }),
    "a=end-of-candidates",
  ];
}

function formatRejected({ mid, media, protocol, formats }: OfferSection): string[] {
  return [
    `m=${media} 0 ${protocol} ${formats}`,
    "c=IN IP4 0.0.0.0",
    ...(mid === undefined ? [] : [`a=mid:${mid}`]),
    "a=inactive",
  ];
}
