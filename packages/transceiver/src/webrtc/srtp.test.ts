import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { loadGcm } from "../node/srtp-addon.ts";
import { encodeRtp } from "./rtp.ts";
import { createSrtpContext, type SrtpContext } from "./srtp.ts";
import {
  createCmSuite,
  createGcmSuite,
  createNativeGcmSuite,
  deriveSrtpKey,
  type GcmKeyFactory,
  type SrtpProfile,
  srtpKeySizes,
} from "./srtp-suite.ts";

/** Every profile, and GCM by the native addon too, where it was built. */
const gcm = loadGcm();
const variants: readonly { readonly name: string; readonly profile: SrtpProfile; readonly gcm?: GcmKeyFactory }[] = [
  ...(Object.keys(srtpKeySizes) as SrtpProfile[]).map((profile) => ({ name: profile, profile })),
  ...(gcm ? [{ name: "AEAD_AES_128_GCM by the addon", profile: "AEAD_AES_128_GCM" as const, gcm }] : []),
];
const missing = gcm ? false : "the native addon is not built: GCM by it is not tested";

test("derives the session keys of RFC 3711 appendix B.3", () => {
  const masterKey = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
  const masterSalt = hex("0EC675AD498AFEEBB6960B3AABE6");
  assert.deepEqual(deriveSrtpKey(masterKey, masterSalt, 0, 16), hex("C61E7A93744F39EE10734AFE3FF7A087"));
  assert.deepEqual(deriveSrtpKey(masterKey, masterSalt, 2, 14), hex("30CBBC08863D8C85D49DB34A9AE1"));
  assert.deepEqual(
    deriveSrtpKey(masterKey, masterSalt, 1, 94),
    hex(
      "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF72270986371C10C9A369AC2" +
        "F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2",
    ),
  );
});

test("makes the keystream of RFC 3711 appendix B.2", () => {
  const keys = {
    key: hex("2B7E151628AED2A6ABF7158809CF4F3C"),
    salt: hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD"),
    auth: Buffer.alloc(20),
  };
  const zeros = encodeRtp({ ...header(0, 0), ssrc: 0, payload: Buffer.alloc(48) });
  assert.deepEqual(
    createCmSuite(keys, keys).sealRtp(zeros, 12, 0).subarray(12, 60),
    hex("E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0"),
  );
});

test("seals libsrtp's reference RTP and RTCP packets under AES128_CM_HMAC_SHA1_80", () => {
  const options = {
    profile: "AES128_CM_HMAC_SHA1_80",
    masterKey: hex("E1F97A0D3E018BE0D64FA32C06DE4139"),
    masterSalt: hex("0EC675AD498AFEEBB6960B3AABE6"),
  } as const;
  const rtp = hex("800f1234decafbadcafebabeabababababababababababababababab");
  const srtp = hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb");
  const rtcp = hex("81c8000bcafebabeabababababababababababababababab");
  const srtcp = hex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798");
  assert.deepEqual(createSrtpContext(options).protectRtp(rtp), srtp);
  assert.deepEqual(createSrtpContext(options).unprotectRtp(srtp), rtp);
  assert.deepEqual(createSrtpContext(options).protectRtcp(rtcp), srtcp);
  assert.deepEqual(createSrtpContext(options).unprotectRtcp(srtcp), rtcp);
});

for (const native of [false, true]) {
  const name = `seals and opens the packets of RFC 7714 sections 16.1 and 17.1 to 17.3${native ? ", by the addon" : ""}`;
  test(name, { skip: native && missing }, () => {
    const keys = {
      key: hex("000102030405060708090a0b0c0d0e0f"),
      salt: Buffer.from("Quid pro quo"),
      auth: Buffer.alloc(0),
    };
    const suite = native ? createNativeGcmSuite(keys, keys, gcm!) : createGcmSuite(keys, keys);
    const rtp = Buffer.concat([hex("8040f17b8041f8d35501a0b2"), Buffer.from("Gallia est omnis divisa in partes tres")]);
    const srtp = hex(
      "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833" +
        "899d7f27beb16a9152cf765ee4390cce",
    );
    assert.deepEqual(suite.sealRtp(rtp, 12, 0xf17b), srtp);
    assert.deepEqual(suite.openRtp(srtp, 12, 0xf17b), rtp);

    const rtcp = hex(
      "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
    );
    const srtcp = hex(
      "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa458" +
        "96cf4d2fc5abf87245d9eade800005d4",
    );
    assert.deepEqual(suite.sealRtcp(rtcp, 0x5d4), srtcp);
    assert.deepEqual(suite.openRtcp(srtcp), rtcp);

    const tagged = Buffer.concat([rtcp, hex("841dd9683dd78ec92ae58790125f62b3000005d4")]);
    assert.deepEqual(suite.openRtcp(tagged), rtcp);
  });
}

test("what Node's ciphers seal the addon opens, and the other way round", { skip: missing }, () => {
  const keys = {
    profile: "AEAD_AES_128_GCM",
    masterKey: Buffer.alloc(16, 3),
    masterSalt: Buffer.alloc(12, 5),
  } as const;
  const [one, other] = [createSrtpContext(keys), createSrtpContext({ ...keys, gcm })];
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    assert.deepEqual(to.unprotectRtp(from.protectRtp(rtpPacket(1))), rtpPacket(1));
    assert.deepEqual(to.unprotectRtcp(from.protectRtcp(rtcpPacket())), rtcpPacket());
  }
});

for (const { name, profile, gcm } of variants) {
  test(`${name}: round trip of any payload, header extensions included`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1200 }), fc.nat(15), fc.nat(8), (payload, sources, words) => {
        const [sender, receiver] = pair(profile, gcm);
        const extension = Buffer.alloc(4 + words * 4, 1);
        extension.writeUInt16BE(words, 2);
        const packet = Buffer.concat([
          encodeRtp({ ...header(7, 1), payload: Buffer.alloc(0) }),
          Buffer.alloc(sources * 4, 9),
          extension,
          payload,
        ]);
        packet[0] = 0x90 | sources;
        const sealed = sender.protectRtp(packet);
        assert.deepEqual(receiver.unprotectRtp(sealed), packet);
      }),
    );
  });

  test(`${name}: a packet is accepted once`, () => {
    const [sender, receiver] = pair(profile, gcm);
    const sealed = sender.protectRtp(rtpPacket(1));
    const report = sender.protectRtcp(rtcpPacket());
    assert.ok(receiver.unprotectRtp(sealed));
    assert.equal(receiver.unprotectRtp(sealed), undefined);
    assert.ok(receiver.unprotectRtcp(report));
    assert.equal(receiver.unprotectRtcp(report), undefined);
    assert.deepEqual(receiver.counters, { authFailed: 0, replayed: 2, malformed: 0 });
  });

  test(`${name}: takes the 64 newest packets in any order and none older`, () => {
    const [sender, receiver] = pair(profile, gcm);
    const sealed = Array.from({ length: 66 }, (_, index) => sender.protectRtp(rtpPacket(1000 + index)));
    assert.ok(receiver.unprotectRtp(sealed[65]!));
    for (let index = 64; index >= 2; index--) assert.ok(receiver.unprotectRtp(sealed[index]!), `${index}`);
    assert.equal(receiver.unprotectRtp(sealed[1]!), undefined);
    assert.equal(receiver.unprotectRtp(sealed[0]!), undefined);
    assert.equal(receiver.counters.replayed, 2);
  });

  test(`${name}: any flipped bit is refused and leaves the window as it was`, () => {
    const [sender, receiver] = pair(profile, gcm);
    assert.ok(receiver.unprotectRtp(sender.protectRtp(rtpPacket(1))));
    const sealed = sender.protectRtp(rtpPacket(2));
    const report = sender.protectRtcp(rtcpPacket());
    for (let bit = 0; bit < sealed.length * 8; bit++) assert.equal(receiver.unprotectRtp(flip(sealed, bit)), undefined);
    for (let bit = 0; bit < report.length * 8; bit++) {
      assert.equal(receiver.unprotectRtcp(flip(report, bit)), undefined);
    }
    assert.ok(receiver.unprotectRtp(sealed));
    assert.ok(receiver.unprotectRtcp(report));
  });

  test(`${name}: every truncation is refused`, () => {
    const [sender, receiver] = pair(profile, gcm);
    const sealed = sender.protectRtp(rtpPacket(1));
    const report = sender.protectRtcp(rtcpPacket());
    for (let size = 0; size < sealed.length; size++) {
      assert.equal(receiver.unprotectRtp(sealed.subarray(0, size)), undefined);
    }
    for (let size = 0; size < report.length; size++) {
      assert.equal(receiver.unprotectRtcp(report.subarray(0, size)), undefined);
    }
  });

  test(`${name}: sequence numbers roll over, also with loss and reordering around the edge`, () => {
    const [sender, receiver] = pair(profile, gcm);
    const sealed = Array.from({ length: 10 }, (_, index) => sender.protectRtp(rtpPacket((65530 + index) & 0xffff)));
    for (const index of [0, 1, 7, 5, 6, 9, 8]) assert.ok(receiver.unprotectRtp(sealed[index]!), `${index}`);
    // A retransmission from before the edge is sealed under its own index.
    assert.deepEqual(sender.protectRtp(rtpPacket(65533)), sealed[3]);
    assert.ok(receiver.unprotectRtp(sealed[3]!));
  });

  test(`${name}: forged streams take no room, and a peer's own are bounded`, () => {
    const [sender, receiver] = pair(profile, gcm);
    for (let ssrc = 0; ssrc < 1000; ssrc++) receiver.unprotectRtp(rtpPacket(1, ssrc));
    assert.equal(receiver.counters.authFailed, 1000);
    for (let ssrc = 0; ssrc < 64; ssrc++) assert.ok(receiver.unprotectRtp(sender.protectRtp(rtpPacket(1, ssrc))));
    assert.equal(receiver.unprotectRtp(sender.protectRtp(rtpPacket(1, 64))), undefined);
    assert.ok(receiver.unprotectRtp(sender.protectRtp(rtpPacket(2, 63))));
  });

  test(`${name}: random bytes never throw`, () => {
    const [, receiver] = pair(profile, gcm);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        assert.equal(receiver.unprotectRtp(bytes), undefined);
        assert.equal(receiver.unprotectRtcp(bytes), undefined);
      }),
      { numRuns: 1000 },
    );
  });

  test(`${name}: no way of printing a context shows its keys`, () => {
    const masterKey = Buffer.from("SECRETKEYSECRET!");
    const masterSalt = Buffer.alloc(srtpKeySizes[profile].salt, "S");
    const context = createSrtpContext({ profile, masterKey, masterSalt, gcm });
    const printed = inspect(context, { depth: 9, showHidden: true }) + JSON.stringify(context) + String(context);
    assert.doesNotMatch(printed, /SECRET|53 45 43 52|key|salt/i);
  });
}

test("refuses keys of the wrong size", () => {
  assert.throws(() => createSrtpContext({ profile: "AEAD_AES_128_GCM", masterKey: hex("00"), masterSalt: hex("00") }), {
    name: "RangeError",
  });
});

function pair(profile: SrtpProfile, gcm?: GcmKeyFactory): [SrtpContext, SrtpContext] {
  const options = {
    profile,
    masterKey: Buffer.alloc(16, 3),
    masterSalt: Buffer.alloc(srtpKeySizes[profile].salt, 5),
    gcm,
  };
  return [createSrtpContext(options), createSrtpContext(options)];
}

function header(sequenceNumber: number, ssrc: number) {
  return { marker: false, payloadType: 0, sequenceNumber, timestamp: 0, ssrc };
}

function rtpPacket(sequenceNumber: number, ssrc = 1): Buffer {
  return encodeRtp({ ...header(sequenceNumber, ssrc), payload: Buffer.alloc(100, sequenceNumber & 0xff) });
}

function rtcpPacket(): Buffer {
  return hex("80c90001000000018acb0002000000010000");
}

function flip(packet: Buffer, bit: number): Buffer {
  const copy = Buffer.from(packet);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}
