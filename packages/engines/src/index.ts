export { createParrot, OWN_WORDS, type ParrotOptions } from "./speech/parrot.ts";
export { createEspeak, type Espeak } from "./tts/espeak.ts";
export { Resampler } from "./tts/resampler.ts";
export { createSileroVad, type SileroOptions } from "./vad/silero.ts";
