/** Word error rate: the fewest words that were changed, dropped or added, of those that were said. */

/** How what was heard differs from what was said. */
export interface WordErrors {
  readonly said: number;
  readonly substituted: number;
  readonly deleted: number;
  readonly inserted: number;
  /** All three, of what was said; 0 when nothing was said and nothing heard. */
  readonly rate: number;
}

/** Aligns `heard` to `said` with the fewest errors (Levenshtein). */
export function wordErrors(said: readonly string[], heard: readonly string[]): WordErrors {
  // Per cell: errors, and how many of them are substitutions, deletions and insertions.
  type Cell = readonly [errors: number, substituted: number, deleted: number, inserted: number];
  let row: Cell[] = heard.map((_, at): Cell => [at + 1, 0, 0, at + 1]);
  row.unshift([0, 0, 0, 0]);
  for (const [place, word] of said.entries()) {
    const next: Cell[] = [[place + 1, 0, place + 1, 0]];
    for (const [at, other] of heard.entries()) {
      const [diagonal, above, left] = [row[at]!, row[at + 1]!, next[at]!];
      if (word === other) next.push(diagonal);
      else if (diagonal[0] <= above[0] && diagonal[0] <= left[0])
        next.push([diagonal[0] + 1, diagonal[1] + 1, diagonal[2], diagonal[3]]);
      else if (above[0] <= left[0]) next.push([above[0] + 1, above[1], above[2] + 1, above[3]]);
      else next.push([left[0] + 1, left[1], left[2], left[3] + 1]);
    }
    row = next;
  }
  const [errors, substituted, deleted, inserted] = row[heard.length]!;
  return { said: said.length, substituted, deleted, inserted, rate: said.length > 0 ? errors / said.length : errors };
}

/** The errors of several as one: rates weigh by words. */
export function sumErrors(all: readonly WordErrors[]): WordErrors {
  const sum = (pick: (one: WordErrors) => number) => all.reduce((total, one) => total + pick(one), 0);
  const [said, substituted, deleted, inserted] = [
    sum((one) => one.said),
    sum((one) => one.substituted),
    sum((one) => one.deleted),
    sum((one) => one.inserted),
  ];
  const errors = substituted + deleted + inserted;
  return { said, substituted, deleted, inserted, rate: said > 0 ? errors / said : errors };
}
