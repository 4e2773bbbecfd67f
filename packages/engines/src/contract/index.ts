/** Tests that every engine must pass, whoever makes it; for `node --test`. */
export { testSpeechToSpeech } from "./speech.ts";
export { testTextToSpeech } from "./tts.ts";
export { testVad, type VoiceSource } from "./vad.ts";
