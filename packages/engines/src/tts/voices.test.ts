import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseVoice } from "./voices.ts";

const VOICES = [
  { identifier: "gmw/en-US", name: "English (America)", languages: [{ name: "en-us", priority: 2 }] },
  { identifier: "roa/pt-BR", name: "Portuguese (Brazil)", languages: [{ name: "pt-br", priority: 5 }] },
  { identifier: "roa/pt", name: "Portuguese (Portugal)", languages: [{ name: "pt", priority: 5 }] },
  { identifier: "sit/cmn", name: "Chinese (Mandarin)", languages: [{ name: "cmn", priority: 5 }] },
];

test("speaks American English unless told otherwise", () => {
  assert.equal(chooseVoice(VOICES, {}), "en-us");
  assert.equal(chooseVoice(VOICES, { voice: "no such voice" }), "en-us");
  assert.equal(chooseVoice(VOICES, { language: "tlh" }), "en-us");
});

test("gives each of OpenAI's voices a variant, in the caller's language", () => {
  assert.equal(chooseVoice(VOICES, { voice: "alloy" }), "en-us");
  assert.equal(chooseVoice(VOICES, { voice: "Marin" }), "en-us+f1");
  assert.equal(chooseVoice(VOICES, { voice: "ash", language: "pt-BR" }), "pt-br+m3");
});

test("finds the nearest language that it speaks", () => {
  assert.equal(chooseVoice(VOICES, { language: "pt-PT" }), "pt");
  assert.equal(chooseVoice(VOICES, { language: "zh-Hant-TW" }), "cmn");
});

test("takes eSpeak NG's own names, with or without a variant", () => {
  assert.equal(chooseVoice(VOICES, { voice: "gmw/en-US" }), "gmw/en-US");
  assert.equal(chooseVoice(VOICES, { voice: "pt+f4", language: "en-US" }), "pt+f4");
  assert.equal(chooseVoice(VOICES, { voice: "pt+../../etc/passwd" }), "pt");
});

test("is not misled by names that every object has", () => {
  assert.equal(chooseVoice(VOICES, { voice: "constructor" }), "en-us");
});
