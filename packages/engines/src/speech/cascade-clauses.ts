/** The clauses of a reply while it is written: how much is taken at a time depends on how soon the voice needs more. */
import type { Milli } from "@sluice/conversation";
import { settlesAtOnce } from "../ahead.ts";
import { ClauseCutter, type ClauseOptions, DEFAULT_CLAUSES, isSpoken } from "./cascade-cutter.ts";
import type { Speakable } from "./cascade-speakable.ts";

/** A clause as it is written, and as it is said. */
export interface Clause {
  readonly written: string;
  readonly spoken: string;
}

/** How much speech is ahead of the ear, if it began to hear with the first of it. */
export class Lead {
  #since: Milli | undefined;
  #audioMs: Milli = 0;

  add(ms: Milli): void {
    this.#since ??= performance.now();
    this.#audioMs += ms;
  }

  get ms(): Milli {
    return this.#since === undefined ? 0 : this.#audioMs - (performance.now() - this.#since);
  }
}

/** How {@link cutClauses} cuts. */
export interface CutOptions {
  readonly clauses?: Partial<ClauseOptions> | undefined;
  /** Once there are words, how long the first clause waits for punctuation, in milliseconds. Default 300. */
  readonly firstClauseMs?: Milli | undefined;
}

/** With less speech than this ahead of the ear, the next clause need not be a whole sentence. */
const SHORT_LEAD_MS = 1500;

/** Cuts `text` as it comes. A clause is taken when it is asked for, of all that is written by then. */
export async function* cutClauses(
  text: AsyncIterable<string>,
  speakable: Speakable,
  lead: Lead,
  { clauses, firstClauseMs = 300 }: CutOptions,
): AsyncGenerator<Clause> {
  const cutter = new ClauseCutter({ ...DEFAULT_CLAUSES, ...clauses });
  const source = text[Symbol.asyncIterator]();
  let pending: Promise<IteratorResult<string>> | undefined = source.next();
  let overdueAt = Number.POSITIVE_INFINITY;
  let failure: { readonly error: unknown } | undefined;
  try {
    while (!cutter.empty) {
      while (pending && (await settlesAtOnce(pending))) {
        const next: IteratorResult<string> | undefined = await pending.catch((error: unknown) => {
          failure = { error };
          return undefined;
        });
        pending = next && next.done !== true ? source.next() : undefined;
        if (next?.done === true) cutter.end();
        else if (next) {
          cutter.append(next.value);
          if (isSpoken(next.value)) overdueAt = Math.min(overdueAt, performance.now() + firstClauseMs);
        }
      }
      const overdue = performance.now() >= overdueAt;
      const written = cutter.take({ urgent: lead.ms < SHORT_LEAD_MS, overdue });
      if (written !== undefined) yield { written, spoken: speakable.take(written) };
      else if (failure)
        throw failure.error; // the clauses before it were whole, and are said
      else if (pending) await settledBy(pending, cutter.begun || overdue ? Number.POSITIVE_INFINITY : overdueAt);
    }
  } finally {
    source.return?.().then(undefined, () => {});
  }
}

/** Waits until `pending` settled, or until `at`. */
async function settledBy(pending: Promise<unknown>, at: Milli): Promise<void> {
  const settled = pending.then(
    () => {},
    () => {},
  );
  if (at === Number.POSITIVE_INFINITY) return settled;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(() => resolve(), Math.max(0, at - performance.now()));
  });
  await Promise.race([settled, late]);
  clearTimeout(timer);
}
