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

/** Two places that belong together; one side is absent where a word was dropped or added. */
export interface Pair {
  readonly said: number | undefined;
  readonly heard: number | undefined;
}

/** `heard` beside `said`, with the fewest errors (Levenshtein), in order. */
export function align(said: readonly string[], heard: readonly string[]): Pair[] {
  const width = heard.length + 1;
  const cost = new Uint32Array((said.length + 1) * width);
  for (let at = 0; at < width; at++) cost[at] = at;
  for (let place = 1; place <= said.length; place++) {
    cost[place * width] = place;
    for (let at = 1; at < width; at++) {
      const same = said[place - 1] === heard[at - 1] ? 0 : 1;
      const [diagonal, above, left] = [(place - 1) * width + at - 1, (place - 1) * width + at, place * width + at - 1];
      cost[place * width + at] = Math.min(cost[diagonal]! + same, cost[above]! + 1, cost[left]! + 1);
    }
  }
  const pairs: Pair[] = [];
  for (let [place, at] = [said.length, heard.length]; place > 0 || at > 0; ) {
    const here = cost[place * width + at]!;
    const same = place > 0 && at > 0 && said[place - 1] === heard[at - 1] ? 0 : 1;
    // What could be dropped here or earlier is dropped here, at the end: the rest matches as early as it can.
    if (place > 0 && here === cost[(place - 1) * width + at]! + 1) pairs.push({ said: --place, heard: undefined });
    else if (place > 0 && at > 0 && here === cost[(place - 1) * width + at - 1]! + same) {
      pairs.push({ said: --place, heard: --at });
    } else pairs.push({ said: undefined, heard: --at });
  }
  return pairs.reverse();
}

/** The errors of `heard`. */
export function wordErrors(said: readonly string[], heard: readonly string[]): WordErrors {
  return countErrors(said, heard, align(said, heard));
}

/** The errors of some pairs. */
export function countErrors(said: readonly string[], heard: readonly string[], pairs: readonly Pair[]): WordErrors {
  let [words, substituted, deleted, inserted] = [0, 0, 0, 0];
  for (const pair of pairs) {
    if (pair.said !== undefined) words += 1;
    if (pair.said === undefined) inserted += 1;
    else if (pair.heard === undefined) deleted += 1;
    else if (said[pair.said] !== heard[pair.heard]) substituted += 1;
  }
  return errorsOf(words, substituted, deleted, inserted);
}

/** The errors of several as one: rates weigh by words. */
export function sumErrors(all: readonly WordErrors[]): WordErrors {
  const sum = (pick: (one: WordErrors) => number) => all.reduce((total, one) => total + pick(one), 0);
  return errorsOf(
    sum((one) => one.said),
    sum((one) => one.substituted),
    sum((one) => one.deleted),
    sum((one) => one.inserted),
  );
}

function errorsOf(said: number, substituted: number, deleted: number, inserted: number): WordErrors {
  const errors = substituted + deleted + inserted;
  return { said, substituted, deleted, inserted, rate: said > 0 ? errors / said : errors };
}
