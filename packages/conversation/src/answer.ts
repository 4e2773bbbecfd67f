/**
 * One answer of a cascade, from the caller's words to the clauses that a voice speaks: when the model is asked, perhaps
 * before the turn is over, perhaps twice, which reply counts, and how much is spoken at a time. An engine's shell and the
 * lab drive it alike: time first, then input; drain `nextCommand(now)`; arm `pollTimeout()`. Never reads a clock.
 */
import type { Milli } from "./audio.ts";
import { ClauseCutter, type ClauseOptions, DEFAULT_CLAUSES, isSpoken } from "./clause-cutter.ts";
import type { Forecast } from "./forecast.ts";
import { completeAfterMs, NEVER_MS } from "./preparation.ts";
import type { Spending } from "./spending.ts";

/** What an answer is made with. */
export interface AnswerOptions {
  /** How clauses grow. */
  readonly clauses?: Partial<ClauseOptions> | undefined;
  /** Once there are words, how long the first clause waits for punctuation. Default: as long as some more words take, 300 ms at most. */
  readonly firstClauseMs?: Milli | undefined;
  /** Whether it is to be spoken; else there are no clauses. Default true. */
  readonly spoken?: boolean;
  /** What the model and the voice take; fed by this answer. */
  readonly model: Forecast;
  readonly voice: Forecast;
  /** What the recognition takes; without it partial transcripts are not trusted. */
  readonly ears?: Forecast | undefined;
  /** How long ago the caller's last sample came when this was begun. Default 0. */
  readonly sinceSpeechMs?: Milli | undefined;
  /** The bound on words generated before a turn was over. */
  readonly eager: Spending;
  /** What the second model takes; fed by this answer. */
  readonly second?: Forecast | undefined;
  /** A second model may be asked when the first is late; the bound on how often. Default: there is none. */
  readonly hedge?: Spending | undefined;
  /**
   * A first token later than this quantile of the forecast is late; less: sooner answers, more requests. Default: the
   * least, from 0.5 to 0.95, that keeps second requests in vain within `hedge`; 0.95 where the tail is short.
   */
  readonly hedgeAt?: number | undefined;
}

/** What the shell has to do. A run is one request to a model; what an abandoned one still says is void. */
export type AnswerCommand =
  | { readonly kind: "generate"; readonly run: number; readonly words: string | undefined; readonly second: boolean }
  | { readonly kind: "abandon"; readonly run: number }
  | { readonly kind: "speak"; readonly run: number; readonly clause: number; readonly written: string }
  /** The run's words count, and what was made of them so far is to be given out. */
  | { readonly kind: "adopt"; readonly run: number }
  /** All is said, or no model could say it. */
  | { readonly kind: "done"; readonly run: number };

/** With less speech than this ahead of the ear, the next clause need not be a whole sentence. */
const SHORT_LEAD_MS: Milli = 1500;
/** Clauses that are synthesised at a time: the one that sounds and the next. */
const AT_A_TIME = 2;
/** Requests that one unfinished turn may cost: a caller who says more and more pauses again and again. */
const MOST_EARLY_RUNS = 3;
/** A voice that is slower than this, in seconds of speech a second, is given one clause at a time: two would slow each other. */
const SLOW_VOICE = 2;
/** The first clause waits for punctuation as long as this many pieces of text probably take. */
const FIRST_CLAUSE_TOKENS = 2;
const FIRST_CLAUSE_MS: Milli = 300;
/** Whatever guesses cost: half of the answers cost one request, and the far tail is cut where a second model is configured. */
const HEDGE_SOONEST = 0.5;
const HEDGE_LATEST = 0.95;

interface Run {
  readonly id: number;
  readonly words: string | undefined;
  readonly second: boolean;
  readonly early: boolean;
  readonly startedAt: Milli;
  readonly cutter: ClauseCutter;
  firstTokenAt: Milli | undefined;
  lastTokenAt: Milli;
  overdueAt: Milli | undefined;
  /** The first clause's time has come before it had words enough: the next ones are taken at once. */
  overdue: boolean;
  tokens: number;
  ended: boolean;
  failed: boolean;
  done: boolean;
  clauses: number;
  speaking: number;
  audioMs: Milli;
  firstAudioAt: Milli | undefined;
}

interface Clause {
  readonly run: Run;
  readonly askedAt: Milli;
  firstAudioAt: Milli | undefined;
  laterMs: Milli; // audio after the first piece
  lastAudioAt: Milli;
}

/** The words as they are compared: what was said, whoever writes it down. */
export function sameWords(one: string, other: string): boolean {
  return plain(one) === plain(other);
}

function plain(text: string): string {
  return text
    .normalize("NFKC")
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M}]+/gu, " ")
    .trim();
}

/**
 * How late a first token is when a second model pays: where a fresh request, which takes `freshMs`, could not win by much, only
 * the far tail is.
 */
function affordableDelay(
  quantile: (q: number) => Milli | undefined,
  freshMs: Milli | undefined,
  hedge: Spending,
): Milli | undefined {
  const soonest = quantile(Math.min(HEDGE_LATEST, Math.max(HEDGE_SOONEST, 1 - hedge.affordable)));
  const latest = quantile(HEDGE_LATEST);
  const usual = freshMs ?? quantile(0.5);
  if (soonest === undefined || latest === undefined || usual === undefined) return undefined;
  return latest - soonest >= usual / 2 ? soonest : latest;
}

/** An answer under way. */
export class Answer {
  readonly #options: AnswerOptions;
  readonly #commands: AnswerCommand[] = [];
  readonly #clauses = new Map<number, Clause>();
  #runs: Run[] = []; // at most two: the one that counts, and one that was asked because it is late
  #count = 0;
  #earlyRuns = 0;
  #clauseCount = 0;
  #heard: { readonly words: string | undefined } | undefined; // final
  #committedAt: Milli | undefined;
  #adopted: number | undefined;
  #hedged = false;
  #guess: string | undefined; // the partial transcript that was asked about last, or could not be
  #voiceEndedAt: Milli | undefined;
  #partial: { readonly words: string; readonly at: Milli } | undefined;
  #closed = false;

  constructor(options: AnswerOptions) {
    this.#options = options;
  }

  /** What the caller said so far, as far as that is known. */
  handlePartial(now: Milli, words: string): void {
    this.#voiceEndedAt ??= now - (this.#options.sinceSpeechMs ?? 0);
    if (this.#heard !== undefined || (this.#partial && sameWords(this.#partial.words, words))) return;
    this.#partial = { words, at: now };
  }

  /** What the caller said; `undefined`: nobody needs to know, as the model hears, or the caller typed. */
  handleWords(now: Milli, words: string | undefined): void {
    if (this.#heard !== undefined || this.#closed) return;
    this.#heard = { words };
    this.#learn(now, words);
    const [run] = this.#runs;
    if (run && !this.#fits(run)) this.#drop(now, run);
    if (this.#runs.length === 0 && (this.#committedAt !== undefined || words === undefined || isSpoken(words)))
      this.#begin(now, words);
    this.#adopt();
  }

  /** The turn is over: this is to be answered. */
  handleCommitted(now: Milli): void {
    if (this.#closed || this.#committedAt !== undefined) return;
    this.#committedAt = now;
    if (this.#heard !== undefined && this.#runs.length === 0) this.#begin(now, this.#heard.words);
    this.#adopt();
  }

  /** The caller went on, or there is to be no answer: whatever was made is void. */
  handleClosed(now: Milli): void {
    this.#closed = true;
    for (const run of [...this.#runs]) this.#drop(now, run);
  }

  /** Whether `run` is one whose output still counts. */
  has(run: number): boolean {
    return this.#runs.some(({ id }) => id === run);
  }

  /** Whether this answer is being given. */
  get adopted(): boolean {
    return this.#adopted !== undefined;
  }

  /** The model wrote `delta`; or, without it, called a function. */
  handleText(now: Milli, id: number, delta?: string): void {
    const run = this.#find(id);
    if (!run) return;
    run.tokens += 1;
    this.#options.eager.handleSpent(1);
    run.lastTokenAt = now;
    if (run.firstTokenAt === undefined) this.#handleFirstToken(now, run);
    if (delta === undefined || this.#options.spoken === false) return;
    run.cutter.append(delta);
    if (isSpoken(delta) && !run.overdue) run.overdueAt ??= now + this.#firstClauseMs(now);
  }

  /** The model has no more to say, or broke off. */
  handleTextEnd(now: Milli, id: number, failed = false): void {
    const run = this.#find(id);
    if (!run || run.ended) return;
    run.ended = true;
    run.failed = failed;
    if (!failed) run.cutter.end();
    const { firstTokenAt, tokens } = run;
    if (firstTokenAt !== undefined && tokens > 10 && now > firstTokenAt && !run.second) {
      this.#options.model.record(now, "tokenRate", ((tokens - 1) * 1000) / Math.max(1, run.lastTokenAt - firstTokenAt));
    }
    if (failed && firstTokenAt === undefined) this.#handleMute(now, run);
  }

  /** The voice made `ms` more of a clause. */
  handleSpeech(now: Milli, clauseId: number, ms: Milli): void {
    const clause = this.#clauses.get(clauseId);
    if (!clause) return;
    const { run } = clause;
    run.firstAudioAt ??= now;
    run.audioMs += ms;
    if (clause.firstAudioAt === undefined) {
      clause.firstAudioAt = now;
      this.#options.voice.record(now, "firstAudio", now - clause.askedAt);
    } else clause.laterMs += ms;
    clause.lastAudioAt = now;
  }

  /** The voice has spoken a clause. */
  handleClauseEnd(now: Milli, clauseId: number): void {
    const clause = this.#clauses.get(clauseId);
    if (!clause) return;
    this.#clauses.delete(clauseId);
    clause.run.speaking -= 1;
    const { firstAudioAt, laterMs, lastAudioAt } = clause;
    if (firstAudioAt !== undefined && laterMs > 0 && lastAudioAt > firstAudioAt) {
      this.#options.voice.record(now, "speechRate", laterMs / (lastAudioAt - firstAudioAt));
    }
  }

  /** When to ask for commands again though nothing happened: a clause waits long enough, or a model is late. */
  pollTimeout(): Milli | undefined {
    const [run] = this.#runs;
    if (this.#closed) return undefined;
    const complete = this.#completeAt();
    if (complete !== undefined) return complete;
    if (!run) return undefined;
    const overdue = !run.cutter.begun && !run.ended ? run.overdueAt : undefined;
    const late = this.#lateAt(run);
    return overdue === undefined || (late !== undefined && late < overdue) ? late : overdue;
  }

  /** What is to be done now. */
  nextCommand(now: Milli): AnswerCommand | undefined {
    this.#advance(now);
    return this.#commands.shift();
  }

  #advance(now: Milli): void {
    if (this.#closed || this.#commands.length > 0) return;
    const complete = this.#completeAt();
    if (complete !== undefined && now >= complete) this.#begin(now, this.#partial!.words, true);
    const [run] = this.#runs;
    if (!run || this.#commands.length > 0) return;
    const late = this.#lateAt(run);
    if (late !== undefined && now >= late) {
      this.#hedged = true;
      this.#start(now, run.words, true);
    }
    this.#speak(now, run);
    const isDone =
      run.ended && run.speaking === 0 && (run.cutter.empty || run.failed || this.#options.spoken === false);
    if (!isDone || run.done || this.#adopted !== run.id || this.#commands.length > 0) return;
    run.done = true;
    this.#commands.push({ kind: "done", run: run.id });
  }

  /** Until the turn is over only the first clause is spoken: more would be wasted, and would not come sooner. */
  #speak(now: Milli, run: Run): void {
    if (this.#options.spoken === false) return;
    const adopted = this.#adopted === run.id;
    while (run.speaking < (adopted ? this.#atATime(now) : 1) && (adopted || !run.cutter.begun)) {
      const overdue = run.overdue || (run.overdueAt !== undefined && now >= run.overdueAt);
      const written = run.cutter.take({ urgent: this.#leadMs(now, run) < SHORT_LEAD_MS, overdue });
      if (written === undefined) {
        if (!overdue || run.cutter.begun) return;
        run.overdue = true;
        run.overdueAt = undefined;
        return;
      }
      const clause = ++this.#clauseCount;
      run.clauses += 1;
      run.speaking += 1;
      this.#clauses.set(clause, { run, askedAt: now, firstAudioAt: undefined, laterMs: 0, lastAudioAt: now });
      this.#commands.push({ kind: "speak", run: run.id, clause, written });
    }
  }

  /** How much speech is ahead of the ear, if it began to hear with the first of it. */
  #leadMs(now: Milli, run: Run): Milli {
    if (run.firstAudioAt === undefined || this.#committedAt === undefined) return run.audioMs;
    return run.audioMs - (now - Math.max(run.firstAudioAt, this.#committedAt));
  }

  #find(id: number): Run | undefined {
    return this.#runs.find((run) => run.id === id);
  }

  #firstClauseMs(now: Milli): Milli {
    const { firstClauseMs, model } = this.#options;
    if (firstClauseMs !== undefined) return firstClauseMs;
    const rate = model.quantile(now, "tokenRate", 0.5);
    return rate === undefined ? FIRST_CLAUSE_MS : Math.min(FIRST_CLAUSE_MS, (FIRST_CLAUSE_TOKENS * 1000) / rate);
  }

  #atATime(now: Milli): number {
    const rate = this.#options.voice.quantile(now, "speechRate", 0.5);
    return rate !== undefined && rate < SLOW_VOICE ? 1 : AT_A_TIME;
  }

  /** When the partial transcript is probably complete; `undefined` when it was asked about, or nothing is known of them. */
  #completeAt(): Milli | undefined {
    if (this.#heard || this.#committedAt !== undefined || !this.#partial || this.#voiceEndedAt === undefined) return;
    if (this.#partial.words === this.#guess || !isSpoken(this.#partial.words)) return undefined;
    const afterMs = completeAfterMs(this.#options.ears, this.#voiceEndedAt);
    return afterMs === undefined ? undefined : this.#voiceEndedAt + afterMs;
  }

  /** How much silence it took for a partial transcript to be the whole one. */
  #learn(now: Milli, words: string | undefined): void {
    if (words === undefined || this.#voiceEndedAt === undefined) return;
    const complete = this.#partial && sameWords(this.#partial.words, words);
    const tookMs = complete ? Math.max(0, this.#partial!.at - this.#voiceEndedAt) : NEVER_MS;
    this.#options.ears?.record(now, "partial", tookMs);
  }

  #fits(run: Run): boolean {
    const words = this.#heard?.words;
    return run.words === undefined ? words === undefined : words !== undefined && sameWords(run.words, words);
  }

  /** Asks the model, if that is within the bounds while the turn may still go on. */
  #begin(now: Milli, words: string | undefined, guessed = false): void {
    if (this.#closed) return;
    if (guessed) this.#guess = words;
    const [run] = this.#runs;
    if (run && words !== undefined && run.words !== undefined && sameWords(run.words, words)) return;
    const early = this.#committedAt === undefined;
    if (early && (this.#earlyRuns >= MOST_EARLY_RUNS || !this.#options.eager.allowed)) return;
    if (run) this.#drop(now, run);
    if (early) this.#earlyRuns += 1;
    this.#start(now, words, false);
  }

  #start(now: Milli, words: string | undefined, second: boolean): void {
    const run: Run = {
      id: ++this.#count,
      words,
      second,
      early: this.#committedAt === undefined,
      startedAt: now,
      cutter: new ClauseCutter({ ...DEFAULT_CLAUSES, ...this.#options.clauses }),
      firstTokenAt: undefined,
      lastTokenAt: now,
      overdueAt: undefined,
      overdue: false,
      tokens: 0,
      ended: false,
      failed: false,
      done: false,
      clauses: 0,
      speaking: 0,
      audioMs: 0,
      firstAudioAt: undefined,
    };
    this.#runs.push(run);
    this.#options.hedge?.handleSpent(1);
    this.#commands.push({ kind: "generate", run: run.id, words, second });
  }

  #adopt(): void {
    const [run] = this.#runs;
    if (this.#committedAt === undefined || this.#heard === undefined || !run || this.#adopted !== undefined) return;
    if (run.early) this.#options.eager.handleHit();
    this.#options.hedge?.handleChance();
    this.#adopted = run.id;
    this.#commands.push({ kind: "adopt", run: run.id });
  }

  /** The first to answer is the one that counts. */
  #handleFirstToken(now: Milli, run: Run): void {
    run.firstTokenAt = now;
    this.#forecastOf(run)?.record(now, "firstToken", now - run.startedAt);
    const slower = this.#runs.filter((other) => other !== run);
    for (const other of slower) {
      // What it would have taken is not known; at least this long.
      this.#forecastOf(other)?.record(now, "firstToken", now - other.startedAt);
      this.#forget(other);
    }
    if (slower.length === 0) return;
    if (run.second) this.#options.hedge?.handleHit();
    else this.#options.hedge?.handleMiss(1);
    this.#replace(run);
  }

  /** A model failed before its first word: the other one, asked already or now, takes its place. */
  #handleMute(now: Milli, run: Run): void {
    const [other] = this.#runs.filter((one) => one !== run);
    if (other) {
      this.#forget(run);
      this.#replace(other);
    } else if (this.#options.hedge !== undefined && !this.#hedged) {
      this.#hedged = true;
      this.#forget(run);
      this.#start(now, run.words, true);
      this.#replace(this.#runs[0]!);
    } else if (this.#committedAt === undefined) this.#forget(run); // asked again, and told, when the turn is over
  }

  #replace(run: Run): void {
    if (this.#adopted === undefined || this.#adopted === run.id) return;
    this.#adopted = run.id;
    this.#commands.push({ kind: "adopt", run: run.id });
  }

  #lateAt(run: Run): Milli | undefined {
    const { hedge, hedgeAt, model, second } = this.#options;
    if (!hedge?.allowed || this.#hedged || this.#committedAt === undefined || run.firstTokenAt !== undefined) return;
    const quantile = (q: number) => model.quantile(run.startedAt, "firstToken", q);
    const freshMs = second?.quantile(run.startedAt, "firstToken", 0.5);
    const late = hedgeAt === undefined ? affordableDelay(quantile, freshMs, hedge) : quantile(hedgeAt);
    return late === undefined ? undefined : Math.max(run.startedAt + late, this.#committedAt);
  }

  #forecastOf(run: Run): Forecast | undefined {
    return run.second ? this.#options.second : this.#options.model;
  }

  /** What it wrote is of no use. */
  #drop(_now: Milli, run: Run): void {
    if (run.early && this.#adopted === undefined) this.#options.eager.handleMiss(run.tokens);
    this.#forget(run);
  }

  #forget(run: Run): void {
    this.#runs = this.#runs.filter((one) => one !== run);
    for (const [id, clause] of this.#clauses) if (clause.run === run) this.#clauses.delete(id);
    this.#commands.push({ kind: "abandon", run: run.id });
  }
}
