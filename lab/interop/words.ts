/** What is said in every conversation with a peer, in words of tone speech, and what every client does. */

/** What the client says. */
export const PROMPT = "please tell me what you know about the house by the water and the people there";
/** What the agent answers. */
export const ANSWER =
  "yes there were two people who had a good house and they would like to see you again some time soon";
/** What the client asks for first: the end of a turn after half a second, and to be told what was understood. */
export const SESSION_UPDATE = {
  type: "session.update",
  session: {
    type: "realtime",
    audio: {
      input: {
        transcription: { model: "tones" },
        turn_detection: { type: "server_vad", silence_duration_ms: 500 },
      },
    },
  },
} as const;
/** The event after which a client hangs up: the agent has been heard to its end. */
export const LAST_EVENT = "output_audio_buffer.stopped";
