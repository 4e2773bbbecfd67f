/**
 * The audio thread's code for pipes whose audio we code ourselves: one processor that plays, one that listens. A Blob keeps
 * the SDK one import; a content security policy needs `script-src blob:` for it.
 */
import { playerSource } from "./playout/player.ts";

/** Name of the processor that plays: its port takes `[method, ...arguments]` of a `Player` and gives {@link Played}. */
export const PLAYER = "sluice-player";

/** Name of the processor that listens: its port gives {@link Captured}. */
export const CAPTURE = "sluice-capture";

/** 20 ms of the microphone at the context's rate; silence while none is connected. */
export interface Captured {
  readonly pcm: Float32Array;
}

const source = () => `
const makePlayer = (${playerSource()});
registerProcessor("${PLAYER}", class extends AudioWorkletProcessor {
  constructor() {
    super();
    const player = this.player = makePlayer(sampleRate, {});
    this.port.onmessage = ({ data: [method, ...parameters] }) => {
      if (method === "stats") this.port.postMessage({ stats: player.stats() });
      else player[method](...parameters);
    };
  }
  process(inputs, [[out]]) {
    if (!out) return true;
    this.player.render(out, currentFrame);
    for (let report = this.player.nextReport(); report; report = this.player.nextReport()) this.port.postMessage({ report });
    return true;
  }
});
registerProcessor("${CAPTURE}", class extends AudioWorkletProcessor {
  size = Math.round(sampleRate / 50);
  frame = new Float32Array(this.size);
  filled = 0;
  process([[samples]]) {
    const length = samples ? samples.length : 128;
    for (let i = 0; i < length; i++) {
      this.frame[this.filled++] = samples ? samples[i] : 0;
      if (this.filled < this.size) continue;
      this.port.postMessage({ pcm: this.frame }, [this.frame.buffer]);
      this.frame = new Float32Array(this.size);
      this.filled = 0;
    }
    return true;
  }
});`;

/** Loads both processors into `context`. Rejects where a content security policy forbids `blob:` scripts. */
export async function loadWorklet(context: AudioContext): Promise<void> {
  const address = URL.createObjectURL(new Blob([source()], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(address);
  } finally {
    URL.revokeObjectURL(address);
  }
}
