/**
 * Finds where voice begins, frame by frame, so that each talkspurt travels by itself. Wrong guesses cost nothing but a
 * stream: every frame is sent either way. Pure.
 */

const QUIETEST_DB = -70;
const ABOVE_FLOOR_DB = 10;
const LEAST_VOICED_DB = -50;
const FLOOR_RISE_DB = 0.06; // a frame: 3 dB a second
const PAUSE_FRAMES = 15;

/** The caller's talkspurts; a frame is 20 ms. */
export class Talkspurts {
  #floorDb = QUIETEST_DB;
  #quietFrames = PAUSE_FRAMES;

  /** Takes the next frame's level (RMS, 0 to 1); whether voice begins with it, after a pause of 300 ms or more. */
  handleFrame(rms: number): boolean {
    const db = Math.max(QUIETEST_DB, 20 * Math.log10(rms));
    this.#floorDb = Math.min(db, this.#floorDb + FLOOR_RISE_DB);
    const voiced = db > Math.max(LEAST_VOICED_DB, this.#floorDb + ABOVE_FLOOR_DB);
    const begins = voiced && this.#quietFrames >= PAUSE_FRAMES;
    this.#quietFrames = voiced ? 0 : this.#quietFrames + 1;
    return begins;
  }
}
