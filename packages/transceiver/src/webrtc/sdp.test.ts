import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { type AnswerOptions, formatAnswer, parseOffer, SdpError } from "./sdp.ts";

const OPTIONS: AnswerOptions = {
  iceUfrag: "server+ufrag/0123456789abcdefghijklm",
  icePassword: "serverpassword0123456789",
  fingerprint: { algorithm: "sha-256", digest: Array(32).fill("AB").join(":") },
  candidates: [
    { address: "127.0.0.1", port: 3478 },
    { address: "2001:db8::1", port: 3478 },
  ],
  ssrc: 1234,
  cname: "agent",
  sessionId: "42",
};

const fixture = (name: string) =>
  readFileSync(new URL(`fixtures/${name}.sdp`, import.meta.url), "utf8").replace(/\r?\n/g, "\r\n");
const chromium = fixture("chromium");
const answerTo = (offer: string) => formatAnswer(parseOffer(offer), OPTIONS).split("\r\n");
const section = (lines: string[], media: string) => {
  const start = lines.findIndex((line) => line.startsWith(`m=${media}`));
  const end = lines.findIndex((line, index) => index > start && line.startsWith("m="));
  return lines.slice(start, end < 0 ? undefined : end);
};
const refusal = (offer: string): string => {
  try {
    parseOffer(offer);
  } catch (error) {
    assert(error instanceof SdpError, `threw ${error}`);
    return error.message;
  }
  assert.fail("the offer was accepted");
};

for (const file of readdirSync(new URL("fixtures/", import.meta.url)).filter((name) => name.endsWith(".sdp"))) {
  test(`answers the offer of ${file}`, () => {
    const offer = parseOffer(fixture(file.slice(0, -4)));
    const lines = formatAnswer(offer, OPTIONS).split("\r\n");
    assert.equal(lines.at(-1), "", "the last line is ended too");
    assert.equal(lines.filter((line) => line.startsWith("m=")).length, offer.sections.length);
    assert(lines.indexOf("a=ice-lite") < lines.findIndex((line) => line.startsWith("m=")));
    assert(
      lines.every((line) => !line.startsWith("a=msid:-")),
      "a stream without a name is no stream in browsers",
    );
    if (offer.audio) {
      const audio = section(lines, "audio");
      assert(audio.includes("a=rtcp-mux") && audio.includes("a=setup:passive"));
      assert(audio.includes(`a=rtcp-fb:${offer.audio.opusPayloadType} nack`));
      assert(!formatAnswer(offer, { ...OPTIONS, nack: false }).includes("nack"), "unless it is not wanted");
      assert(!audio.some((line) => line.includes("transport-cc")));
    }
    if (offer.data) assert(section(lines, "application").includes("a=max-message-size:262144"));
  });
}

test("reads what Chromium offers", () => {
  const offer = parseOffer(chromium);
  assert.deepEqual(offer.audio, {
    mid: "0",
    direction: "sendrecv",
    opusPayloadType: 111,
    redPayloadType: 63,
    nack: false,
    ssrc: 358706028,
  });
  assert.deepEqual(offer.data, { mid: "1", sctpPort: 5000, maxMessageSize: 262_144 });
  assert.equal(offer.iceUfrag, "Q87r");
  assert.equal(offer.fingerprints.length, 1);
});

test("takes fingerprints of the session and of several hashes", () => {
  assert.equal(parseOffer(fixture("firefox")).fingerprints.length, 1);
  assert.deepEqual(
    parseOffer(fixture("aiortc")).fingerprints.map(({ algorithm }) => algorithm),
    ["sha-256", "sha-384", "sha-512"],
  );
});

test("puts RED first when it was offered, and leaves it out when not", () => {
  assert.match(section(answerTo(chromium), "audio")[0]!, / 63 111$/);
  assert.match(section(answerTo(fixture("libdatachannel")), "audio")[0]!, / 111$/);
});

test("writes the whole answer to Chromium", () => {
  assert.deepEqual(answerTo(chromium).slice(0, 20), [
    "v=0",
    "o=- 42 1 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=ice-lite",
    "a=group:BUNDLE 0 1",
    "a=msid-semantic: WMS agent",
    "m=audio 3478 UDP/TLS/RTP/SAVPF 63 111",
    "c=IN IP4 127.0.0.1",
    "a=mid:0",
    "a=ice-ufrag:server+ufrag/0123456789abcdefghijklm",
    "a=ice-pwd:serverpassword0123456789",
    `a=fingerprint:sha-256 ${OPTIONS.fingerprint.digest}`,
    "a=setup:passive",
    "a=candidate:1 1 udp 2130706431 127.0.0.1 3478 typ host",
    "a=candidate:2 1 udp 2130706175 2001:db8::1 3478 typ host",
    "a=end-of-candidates",
    "a=sendrecv",
    "a=rtcp-mux",
    "a=rtpmap:111 opus/48000/2",
  ]);
});

test("mirrors a client that only listens and names no stream to one that only speaks", () => {
  assert(section(answerTo(fixture("chromium-recvonly")), "audio").includes("a=sendonly"));
  const audio = section(answerTo(chromium.replace("a=sendrecv", "a=sendonly")), "audio");
  assert(audio.includes("a=recvonly") && !audio.some((line) => line.startsWith("a=msid")));
});

test("rejects other media with port 0 and keeps them out of the bundle", () => {
  const lines = answerTo(fixture("chromium-video"));
  assert.match(section(lines, "video")[0]!, /^m=video 0 /);
  assert(lines.includes("a=group:BUNDLE 1 2"));
});

test("takes media that an offer bundles by port 0, as max-bundle does, and rejects what has port 0 alone", () => {
  const zero = chromium.replace(/m=application \d+ /, "m=application 0 ");
  const bundled = answerTo(zero.replace("a=sctp-port", "a=bundle-only\r\na=sctp-port"));
  assert.match(section(bundled, "application")[0]!, /^m=application 3478 /);
  assert(bundled.includes("a=group:BUNDLE 0 1"));
  assert.equal(parseOffer(zero).data, undefined);
});

test("answers an offer of a data channel alone", () => {
  const lines = answerTo(fixture("chromium-data-only"));
  assert(lines.includes("a=group:BUNDLE 0"));
  assert.equal(section(lines, "audio").length, 0);
});

test("says why it refuses", () => {
  const cases: [RegExp, string][] = [
    [/v=0/, ""],
    [/v=0/, "hello"],
    [/neither/, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"],
    [/not SDP/, chromium.replace("s=-", "s=-\0")],
    [/not SDP/, chromium.replace("s=-", "__proto__")],
    [/bad m-line/, chromium.replace("m=audio 9", "m=audio x")],
    [/no Opus/, chromium.replace("opus/48000/2", "speex/16000")],
    [/rtcp-mux/, chromium.replace("a=rtcp-mux\r\n", "")],
    [/ice-ufrag/, chromium.replaceAll(/a=ice-ufrag:.*\r\n/g, "")],
    [/ice-pwd/, chromium.replaceAll(/a=ice-pwd:.*\r\n/g, "a=ice-pwd:short\r\n")],
    [/fingerprint/, chromium.replaceAll(/a=fingerprint:.*\r\n/g, "")],
    [/fingerprint/, chromium.replaceAll("sha-256", "sha-1")],
    [/actpass/, chromium.replaceAll("a=setup:actpass", "a=setup:passive")],
    [/bundle/, chromium.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0")],
    [/no a=mid/, chromium.replace("a=mid:1\r\n", "")],
    [/twice/, chromium.replace("a=mid:1", "a=mid:0")],
    [/sctp-port/, chromium.replace("a=sctp-port:5000", "a=sctp-port:99999")],
    [/SAVPF/, chromium.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP")],
    [/candidates/, chromium + "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(33)],
    [/lines/, chromium + "a=x\r\n".repeat(500)],
    [/longer/, `${chromium}a=${"x".repeat(64 * 1024)}\r\n`],
  ];
  for (const [reason, offer] of cases) assert.match(refusal(offer), reason);
});

test("takes 32 candidates, and lines that end in LF alone", () => {
  parseOffer(chromium + "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(32));
  parseOffer(chromium.replaceAll("\r\n", "\n"));
});

test("takes no payload type that RTCP would be taken for", () => {
  assert.match(refusal(chromium.replaceAll("111", "72")), /no Opus/);
});

test("throws nothing but SdpError at any prefix and at any mutation of an offer", () => {
  const parse = (text: string) => {
    try {
      formatAnswer(parseOffer(text), OPTIONS);
    } catch (error) {
      assert(error instanceof SdpError, String(error));
    }
  };
  for (let size = 0; size < chromium.length; size += 7) parse(chromium.slice(0, size));
  const lines = chromium.split("\r\n");
  fc.assert(
    fc.property(fc.array(fc.nat(lines.length - 1), { maxLength: 60 }), fc.string(), fc.nat(59), (picked, text, at) => {
      const mutated = picked.map((index) => lines[index]!);
      mutated.splice(at, 1, text);
      parse(["v=0", ...mutated].join("\r\n"));
    }),
    { seed: 7, numRuns: 2_000 },
  );
});
