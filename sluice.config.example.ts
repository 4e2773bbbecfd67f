/**
 * An annotated sample: copy it to sluice.config.ts beside where you start Sluice, and keep what you need. Every key is a
 * flag's name (docs/configuration.md lists them all); a flag on the command line wins over its SLUICE_… variable, and that
 * over this file. Keys and tokens stay in the environment: this file may be committed.
 */
import { defineConfig } from "sluice";

export default defineConfig({
  // Page and API. Beyond this machine a key is needed (SLUICE_API_KEY), and browsers want https for their microphone.
  host: "0.0.0.0",
  port: 8443,
  "tls-cert": "/etc/sluice/fullchain.pem",
  "tls-key": "/etc/sluice/privkey.pem",

  // Media: one UDP port for all calls, and the address that clients reach it at.
  "udp-port": 3478,
  advertise: ["203.0.113.7"],

  // A cascade: any OpenAI-compatible servers. Their keys: SLUICE_LLM_KEY, SLUICE_STT_KEY, SLUICE_TTS_KEY.
  llm: "http://localhost:11434/v1",
  "llm-model": "llama3.3",
  "llm-api": "chat", // or "responses"
  stt: "http://localhost:8000/v1",
  "stt-model": "whisper-large-v3-turbo",
  "stt-api": "transcriptions", // or word by word over a socket: "openai", "speaches", "vllm"
  tts: "http://localhost:8880/v1",
  "tts-model": "kokoro",
  "tts-voice": "af_heart",

  // How long a caller may be kept waiting for each before the answer is given up, in milliseconds.
  "connect-timeout": 3000,
  "llm-timeout": 8000,
  "tts-timeout": 3000,
  "between-timeout": 5000,
  apology: "Sorry, something went wrong on my side. Please say that again.",

  instructions: "You are the receptionist of a small hotel. Answer in one or two short spoken sentences.",
  language: "en",

  // Tools that run here, in every conversation: a program, or an address.
  mcp: [
    { label: "rooms", command: "node", args: ["./rooms-mcp.ts"], requireApproval: "never" },
    {
      label: "bookings",
      url: "https://bookings.example/mcp",
      authorization: process.env.BOOKINGS_TOKEN ?? "",
      allowedTools: ["find", "book"],
      requireApproval: { always: { tool_names: ["book"] }, never: { tool_names: ["find"] } },
    },
  ],
  // Hosts of MCP servers that a client's session may name; none unless listed here.
  "mcp-hosts": ["tools.example"],

  "max-calls": 60,
  "log-level": "info",
});
