/**
 * What a client may ask of a session: the `session` of `session.update`, of a call and of a client secret. Lenient where
 * clients are: a missing `type`, unknown members (ignored), names of models and voices (opaque), numbers of no rate.
 */
import { z } from "zod";

const audioFormat = z.discriminatedUnion("type", [
  z.object({ type: z.literal("audio/pcm"), rate: z.literal(24000).default(24000) }),
  z.object({ type: z.literal("audio/pcmu") }),
  z.object({ type: z.literal("audio/pcma") }),
]);

const milliseconds = z.int().min(0).max(60_000);

const both = { create_response: z.boolean().exactOptional(), interrupt_response: z.boolean().exactOptional() };
const serverVad = {
  threshold: z.number().min(0).max(1).exactOptional(),
  prefix_padding_ms: milliseconds.exactOptional(),
  silence_duration_ms: milliseconds.exactOptional(),
  idle_timeout_ms: z.int().min(5000).max(30_000).nullable().exactOptional(),
};
const semanticVad = { eagerness: z.enum(["low", "medium", "high", "auto"]).exactOptional() };

const turnDetection = z.discriminatedUnion("type", [
  z.object({ type: z.literal("server_vad"), ...both, ...serverVad }),
  z.object({ type: z.literal("semantic_vad"), ...both, ...semanticVad }),
  z.object({ type: z.undefined().exactOptional(), ...both, ...serverVad, ...semanticVad }),
]);

const transcription = z.object({
  model: z.string().max(256).exactOptional(),
  language: z.string().max(64).exactOptional(),
  languages: z.array(z.string().max(64)).max(64).exactOptional(),
  prompt: z.string().max(65_536).exactOptional(),
  keywords: z.array(z.string().max(256)).max(1024).exactOptional(),
  delay: z.enum(["minimal", "low", "medium", "high", "xhigh"]).exactOptional(),
});

const voice = z.union([z.string().max(256), z.object({ id: z.string().max(256) }).transform(({ id }) => id)]);

const audio = z.object({
  input: z
    .object({
      format: audioFormat.exactOptional(),
      transcription: transcription.nullable().exactOptional(),
      noise_reduction: z
        .object({ type: z.enum(["near_field", "far_field"]), strength: z.number().exactOptional() })
        .nullable()
        .exactOptional(),
      turn_detection: turnDetection.nullable().exactOptional(),
    })
    .exactOptional(),
  output: z
    .object({
      format: audioFormat.exactOptional(),
      voice: voice.exactOptional(),
      speed: z.number().min(0.25).max(1.5).exactOptional(),
    })
    .exactOptional(),
});

const functionTool = z.object({
  type: z.literal("function").default("function"),
  name: z.string().min(1).max(256),
  description: z.string().exactOptional(),
  parameters: z.unknown().exactOptional(),
});
const toolNames = z.array(z.string().max(256)).max(1024);
const toolFilter = z.object({ tool_names: toolNames.exactOptional(), read_only: z.boolean().exactOptional() });
const mcpTool = z.looseObject({
  type: z.literal("mcp"),
  server_label: z.string().min(1).max(256),
  server_url: z.string().max(2048).exactOptional(),
  server_description: z.string().max(65_536).exactOptional(),
  authorization: z.string().max(8192).exactOptional(),
  headers: z.record(z.string().max(256), z.string().max(8192)).nullable().exactOptional(),
  allowed_tools: z.union([toolNames, toolFilter]).nullable().exactOptional(),
  require_approval: z
    .union([
      z.enum(["always", "never"]),
      z.object({ always: toolFilter.exactOptional(), never: toolFilter.exactOptional() }),
    ])
    .nullable()
    .exactOptional(),
});

/** The tools of a session or a response. */
export const toolDefinitions = z.array(z.union([functionTool, mcpTool])).max(128);

/** Which tool to call. */
export const toolChoice = z.union([
  z.enum(["auto", "none", "required"]),
  z.object({ type: z.literal("function"), name: z.string().max(256) }),
  z.object({ type: z.literal("mcp"), server_label: z.string().max(256), name: z.string().max(256).exactOptional() }),
]);

/** Exactly one modality: audio brings its transcript along. */
export const outputModalities = z.union(
  [z.tuple([z.literal("audio")]), z.tuple([z.literal("text")])],
  "expected ['audio'] or ['text']",
);

/** Longest reply. */
export const maxOutputTokens = z.union([z.literal("inf"), z.int().min(1).max(4096)]);

/** Reasoning effort. */
export const reasoning = z.object({ effort: z.enum(["minimal", "low", "medium", "high", "xhigh"]).exactOptional() });

/** A stored prompt. */
export const prompt = z.object({
  id: z.string().max(256),
  version: z.string().max(256).exactOptional(),
  variables: z.unknown().exactOptional(),
});

/** Audio settings of one response. */
export const responseAudio = z.object({
  output: z.object({ format: audioFormat.exactOptional(), voice: voice.exactOptional() }).exactOptional(),
});

const turnNumbers = z.object({
  duck_after_ms: z.int().min(0).max(1000).exactOptional(),
  duck_gain: z.number().min(0).max(1).exactOptional(),
  duck_ramp_ms: z.int().min(0).max(1000).exactOptional(),
  restore_ramp_ms: z.int().min(0).max(2000).exactOptional(),
  stop_after_ms: z.int().min(0).max(2000).exactOptional(),
  decide_by_ms: z.int().min(100).max(2000).exactOptional(),
  dismiss_noise: z.boolean().exactOptional(),
});

/** Parses the `session` member of a client's request. */
export const sessionPatch = z.object({
  type: z.enum(["realtime", "transcription"]).exactOptional(),
  model: z.string().min(1).max(256).exactOptional(),
  output_modalities: outputModalities.exactOptional(),
  instructions: z.string().max(1_048_576).exactOptional(),
  audio: audio.exactOptional(),
  tools: toolDefinitions.exactOptional(),
  tool_choice: toolChoice.exactOptional(),
  parallel_tool_calls: z.boolean().exactOptional(),
  reasoning: reasoning.exactOptional(),
  max_output_tokens: maxOutputTokens.exactOptional(),
  truncation: z
    .union([
      z.enum(["auto", "disabled"]),
      z.object({
        type: z.literal("retention_ratio"),
        retention_ratio: z.number().min(0).max(1),
        token_limits: z.object({ post_instructions: z.int().min(0).exactOptional() }).exactOptional(),
      }),
    ])
    .exactOptional(),
  tracing: z
    .union([
      z.literal("auto"),
      z.object({
        workflow_name: z.string().max(256).exactOptional(),
        group_id: z.string().max(256).exactOptional(),
        metadata: z.unknown().exactOptional(),
      }),
    ])
    .nullable()
    .exactOptional(),
  prompt: prompt.nullable().exactOptional(),
  include: z.array(z.string().max(256)).max(32).nullable().exactOptional(),
  sluice: z
    .object({
      timeline: z.boolean().exactOptional(),
      resume: z.boolean().exactOptional(),
      forecast: z.boolean().exactOptional(),
      turn: turnNumbers.exactOptional(),
    })
    .exactOptional(),
});

/** A change to a session, or the settings that a new one starts with. */
export type SessionPatch = z.output<typeof sessionPatch>;
