/** Tests that every engine must pass, whoever makes it; for `node --test`. */
export { type CallOptions, type FaultCase, testFaults } from "./faults.ts";
export { testSpeechToSpeech } from "./speech.ts";
export { testTextToSpeech } from "./tts.ts";
export {
  type Behaviour,
  type HttpReply,
  type SocketScript,
  startHttpUpstream,
  startSocketUpstream,
  type Upstream,
} from "./upstream.ts";
export { testVad, type VoiceSource } from "./vad.ts";
