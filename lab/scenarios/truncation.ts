/**
 * One interruption in virtual time, for what the agent remembers of it: a scripted voice whose words have known places, a
 * path with delay and loss, and an ear that knows what it heard. Two pipes: speech that we pace, which goes on sounding for as
 * long as it travels, and speech that the client holds, reports on, and drops when it is told to. Every chance is the seed's.
 */
import {
  Conversation,
  type ConversationCommand,
  type LinkCapabilities,
  type Milli,
  type Pcm,
  SAMPLES_PER_MS,
  type Utterance,
} from "@sluice/conversation";
import { createRandom, Link, type Random } from "@sluice/netem";
import { createSession, parseClientEvent, type ServerEvent } from "@sluice/realtime";

/** What happens. */
export interface TruncationOptions {
  /** Who holds the speech that was sent. */
  readonly pipe: "paced" | "held";
  /** How the engine tells its words: each where it begins, or a clause at a time. */
  readonly words: "timed" | "clauses";
  /** One way. */
  readonly delayMs: Milli;
  readonly loss: number;
  readonly seed: number;
}

/** What the ear heard, and what the agent remembers; `undefined` where the agent was not cut. */
export interface TruncationOutcome {
  /** Words that the ear heard begin. */
  readonly heardWords: number;
  /** Words of the item, as `conversation.item.retrieve` shows it. */
  readonly rememberedWords: number;
  /** Words of the item, as the model is given it with the caller's next turn. */
  readonly contextWords: number;
  /** What an earlier answer is remembered as, which nobody interrupted. */
  readonly earlier: string | undefined;
  readonly cut: boolean;
}

const FRAME_MS = 20;
const WORDS = 60;
const CLAUSE = 6;
const EARLIER = "This was said before, and heard.";
const LEXICON =
  "the a river old mill runs past villages quickly and reaches wonderful sea behind dunes where summer fishermen dry nets".split(
    " ",
  );

interface Word {
  readonly text: string;
  readonly startMs: Milli;
}

/** Runs one. */
export function runTruncation(options: TruncationOptions): TruncationOutcome {
  return new Scene(options).run();
}

class Scene {
  readonly #options: TruncationOptions;
  readonly #random: Random;
  readonly #conversation: Conversation;
  readonly #words: readonly Word[];
  readonly #speechMs: Milli;
  readonly #paced: Link<Milli>; // frames, by where they end
  #responseId = "";
  #utterance: Utterance | undefined;
  #generatedMs: Milli = 0;
  #told = 0; // words of which the transcript is out
  #speed: number;
  #playable: Milli = 0; // what the pipe was given
  #sentMs: Milli = 0;
  #flushed = false;
  #earMs: Milli = 0;
  // A client that holds its speech: when each piece came, when it began, where it stopped.
  readonly #pieces: { readonly at: Milli; readonly endMs: Milli }[] = [];
  readonly #later: { readonly at: Milli; readonly run: () => void }[] = [];
  #reliableAt = 0;
  #begunAt: Milli | undefined;
  #stopped = false;
  #nextReport = 0;
  readonly #events: ServerEvent[] = [];
  #context: readonly string[] = [];
  #now: Milli = 1000;

  constructor(options: TruncationOptions) {
    this.#options = options;
    this.#random = createRandom(options.seed);
    this.#speed = 1.3 + 5 * this.#random();
    let atMs = 0;
    this.#words = Array.from({ length: WORDS }, (_, index) => {
      const text = LEXICON[Math.floor(this.#random() * LEXICON.length)]!;
      const word = { text: index % CLAUSE === CLAUSE - 1 ? `${text}, ` : `${text} `, startMs: atMs };
      atMs += (word.text.length + (text === word.text.trim() ? 0 : 2)) * 65 * (0.8 + 0.4 * this.#random());
      return word;
    });
    this.#speechMs = Math.ceil(atMs);
    this.#paced = new Link({ delayMs: options.delayMs, loss: options.loss }, options.seed);
    const held = options.pipe === "held";
    const capabilities: LinkCapabilities = {
      playout: held ? "client" : "server",
      leadMs: held ? 10_000 : 0,
      audioInEvents: false,
      reset: held,
      playoutReports: held,
    };
    let ids = 0;
    this.#conversation = new Conversation({
      session: createSession({
        id: "sess_1",
        model: "scripted",
        expiresAt: 2_000_000_000,
        defaults: { sluice: { timeline: held } },
      }),
      capabilities,
      createId: (prefix) => `${prefix}_${ids++}`,
      expiresAt: 3_600_000,
      expiresAfterMinutes: 60,
    });
  }

  run(): TruncationOutcome {
    const content = [{ type: "output_text", text: EARLIER }];
    this.#client({
      type: "conversation.item.create",
      item: { id: "earlier", type: "message", role: "assistant", content },
    });
    this.#client({ type: "response.create" });
    const interruptAt = this.#now + this.#options.delayMs + 600 + this.#random() * Math.min(9000, this.#speechMs * 0.7);
    const endAt = interruptAt + 4000;
    let windowAt = interruptAt + this.#options.delayMs;
    for (; this.#now < endAt; this.#now += 1) {
      this.#generate();
      if (this.#options.pipe === "paced") this.#pace();
      else this.#hold();
      while (windowAt + 32 <= this.#now) {
        const voiced = windowAt < interruptAt + this.#options.delayMs + 900;
        const levels = Array<number>(4).fill(voiced ? -18 : -80);
        const mediaMs = windowAt - 1000;
        this.#conversation.handleVoice(this.#now, {
          mediaMs,
          durationMs: 32,
          probability: voiced ? 0.95 : 0.01,
          levels,
        });
        windowAt += 32;
      }
      if ((this.#conversation.pollTimeout() ?? Infinity) <= this.#now) this.#conversation.handleTimeout(this.#now);
      this.#drain();
    }
    const retrieved = this.#retrieve(this.#utterance?.itemId ?? "");
    const earlier = this.#retrieve("earlier");
    return {
      heardWords: this.#words.filter(({ startMs }) => startMs < this.#earMs).length,
      rememberedWords: count(retrieved),
      contextWords: count(this.#context.at(-1)),
      earlier: earlier === this.#context.at(0) ? earlier : undefined,
      cut: this.#flushed,
    };
  }

  /** The engine speaks faster than the ear hears, in pieces of 100 ms, its words before their sound. */
  #generate(): void {
    const { words } = this.#options;
    if (this.#responseId === "" || this.#flushed) return;
    const until = Math.min(this.#speechMs, (this.#now - 1000) * this.#speed);
    while (this.#generatedMs + 100 <= until || (until === this.#speechMs && this.#generatedMs < until)) {
      const size = Math.min(100, this.#speechMs - this.#generatedMs);
      let saidMs = this.#generatedMs;
      const speak = (toMs: Milli) => {
        const pcm: Pcm = new Int16Array(Math.round((toMs - saidMs) * SAMPLES_PER_MS)).fill(1000);
        if (pcm.length > 0) this.#engine({ kind: "audio", pcm });
        saidMs = toMs;
      };
      for (
        let next = this.#words[this.#told];
        next && next.startMs < this.#generatedMs + size;
        next = this.#words[this.#told]
      ) {
        speak(next.startMs);
        const count = words === "timed" ? 1 : CLAUSE;
        const delta = this.#words
          .slice(this.#told, this.#told + count)
          .map(({ text }) => text)
          .join("");
        this.#told += count;
        this.#engine({ kind: "transcript", delta });
      }
      speak(this.#generatedMs + size);
      this.#generatedMs += size;
      if (this.#generatedMs >= this.#speechMs) this.#conversation.handleEngineEnded(this.#now, this.#responseId);
      this.#drain();
    }
  }

  #engine(event: Parameters<Conversation["handleEngine"]>[2]): void {
    this.#conversation.handleEngine(this.#now, this.#responseId, event);
    this.#drain();
  }

  /** A frame every 20 ms; the ear hears what arrives, also after the last one left. */
  #pace(): void {
    if (this.#utterance && !this.#flushed && this.#now % FRAME_MS === 0 && this.#sentMs + FRAME_MS <= this.#playable) {
      this.#sentMs += FRAME_MS;
      this.#paced.handlePacket(this.#now, new Uint8Array(1), this.#sentMs);
      this.#conversation.handleSent(this.#now, this.#utterance, this.#sentMs, 1);
    }
    for (let frame = this.#paced.nextArrival(this.#now); frame; frame = this.#paced.nextArrival(this.#now)) {
      this.#earMs = Math.max(this.#earMs, frame.label);
    }
  }

  /** Speech is sent as it is made; the client plays what it has, reports every 100 ms, and stops when it hears of it. */
  #hold(): void {
    if (this.#utterance && !this.#flushed && this.#sentMs < this.#playable) {
      this.#sentMs = this.#playable;
      this.#conversation.handleSent(this.#now, this.#utterance, this.#sentMs, undefined);
      const endMs = this.#sentMs;
      this.#reliably(() => this.#pieces.push({ at: this.#now, endMs }));
    }
    while (this.#later[0] && this.#later[0].at <= this.#now) this.#later.shift()!.run();
    const haveMs = this.#pieces.at(-1)?.endMs ?? 0;
    if (haveMs > 0) this.#begunAt ??= this.#now + 20; // a sound device's own delay
    if (this.#begunAt === undefined || this.#now < this.#begunAt || this.#stopped) return;
    if (this.#earMs < haveMs) this.#earMs += 1;

    if (this.#now < this.#nextReport) return;
    this.#nextReport = this.#now + 100;
    this.#report();
  }

  #report(): void {
    const report = {
      started_ms: this.#begunAt!,
      position_ms: this.#earMs,
      at_ms: this.#now + 4 * (this.#random() - 0.5),
    };
    const item_id = this.#utterance!.itemId;
    this.#reliably(() => this.#client({ type: "sluice.playout.report", item_id, ...report }));
  }

  /** In order, and again after a round trip where it was lost. */
  #reliably(run: () => void): void {
    const { delayMs, loss } = this.#options;
    let at = this.#now + delayMs;
    while (this.#random() < loss) at += 2 * delayMs + 30;
    this.#reliableAt = Math.max(this.#reliableAt, at);
    this.#later.push({ at: this.#reliableAt, run });
  }

  #client(event: { readonly type: string; readonly [member: string]: unknown }): void {
    const parsed = parseClientEvent(JSON.stringify(event));
    if (!parsed.ok) throw new Error(parsed.error.message);
    this.#conversation.handleEvent(this.#now, parsed.event);
    this.#drain();
  }

  #retrieve(itemId: string): string | undefined {
    this.#events.length = 0;
    this.#client({ type: "conversation.item.retrieve", item_id: itemId });
    const found = this.#events.find((event) => event.type === "conversation.item.retrieved");
    const part = found?.item.type === "message" ? found.item.content[0] : undefined;
    return part && ("transcript" in part ? (part.transcript ?? undefined) : "text" in part ? part.text : undefined);
  }

  #drain(): void {
    for (let next = this.#conversation.nextCommand(); next; next = this.#conversation.nextCommand())
      this.#carryOut(next);
  }

  #carryOut(command: ConversationCommand): void {
    if (command.kind === "send") this.#events.push(command.event);
    else if (command.kind === "respond") {
      if (this.#responseId === "") this.#responseId = command.responseId;
      else {
        const answers = command.request.items.flatMap((item) => (item.role === "assistant" ? item.parts : []));
        this.#context = answers.map((part) =>
          part.kind === "text" ? part.text : part.kind === "audio" ? (part.transcript ?? "") : "",
        );
      }
    } else if (command.kind === "play") {
      this.#utterance = command.utterance;
      this.#playable += command.pcm.length / SAMPLES_PER_MS;
    } else if (command.kind === "flush" && !this.#flushed) {
      this.#flushed = true;
      if (this.#options.pipe === "held") {
        this.#reliably(() => {
          this.#stopped = true;
          this.#report();
        });
      }
    }
  }
}

function count(text: string | undefined): number {
  return text?.match(/\S+/g)?.length ?? 0;
}
