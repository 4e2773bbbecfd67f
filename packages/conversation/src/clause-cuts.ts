/** Where a text may be cut for a voice: after a sentence, at a pause within it, or at least between two words. */

/** A place to cut, behind the white space that follows what comes before. */
export interface Cut {
  readonly end: number;
  readonly kind: "sentence" | "clause" | "word";
}

/** Closing quotes and brackets belong to what they close, and so does Markdown's emphasis. */
const CLOSERS = "[\"'”’»)\\]」』）】*_]*";
const CANDIDATES = new RegExp(
  [
    `(?<sentence>[.!?…]+${CLOSERS}\\s+|[。！？｡।؟۔።]+${CLOSERS}\\s*|\\s*\\n\\s*)`,
    `(?<clause>(?:[,;:،؛]${CLOSERS}|\\s[–—-]|[–—)])\\s+|[，、；：]\\s*)`,
    "(?<word>\\s+)",
  ].join("|"),
  "gu",
);

/** A full stop after one of these ends no sentence; English, German, French, Spanish, Italian. */
const ABBREVIATIONS: ReadonlySet<string> = new Set(
  (
    "mr mrs ms mx dr prof st sr jr rev hon gen col sgt capt lt mt vs etc e.g eg i.e ie cf al approx dept est fig no nos " +
    "vol pp inc ltd co corp ave blvd rd u.s u.k a.m p.m ph.d jan feb mar apr jun jul aug sep sept oct nov dec mon tue " +
    "wed thu fri sat sun z.b bzw ca d.h evtl ggf inkl nr str usw u.a vgl mme mlle env ex p.ex av sra srta ud uds pág " +
    "sig dott avv"
  ).split(" "),
);

/** Characters of a text without spaces after which a word's end is looked for. */
const NO_SPACE_RUN =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]{8,}/gu;

let segmenter: Intl.Segmenter | undefined; // takes milliseconds to make

/** The cuts of `text` in order; unless it is `whole`, none at its very end, where more may come that changes its meaning. */
export function cutsOf(text: string, whole: boolean): Cut[] {
  const cuts: Cut[] = [];
  for (const { 0: match, index, groups } of text.matchAll(CANDIDATES)) {
    const end = index + match.length;
    if (text.slice(0, index).trim() === "" || (end === text.length && !whole)) continue;
    if (insideLink(text, end)) continue;
    const kind = groups?.sentence !== undefined ? "sentence" : groups?.clause !== undefined ? "clause" : "word";
    cuts.push({ end, kind: kind === "sentence" && isAbbreviated(text, index, match) ? "word" : kind });
  }
  return withWordCuts(text, cuts);
}

/** "Dr. Who", "J. Doe", "3. May", "e.g. this": a point, but not at the end. */
function isAbbreviated(text: string, index: number, match: string): boolean {
  if (!/^\.[^.!?\n]*$/.test(match)) return false;
  const word = /\S*$/.exec(text.slice(Math.max(0, index - 20), index))?.[0].replace(/^["'“‘«([*_]+/, "") ?? "";
  return ABBREVIATIONS.has(word.toLowerCase()) || /^\p{L}$/u.test(word) || /^\d{1,2}$/.test(word);
}

/** Within `[text](address)`, which only together says what is to be spoken. */
function insideLink(text: string, end: number): boolean {
  const open = text.lastIndexOf("[", end - 1);
  if (open === -1 || end - open > 300) return false;
  const close = text.indexOf("]", open);
  if (close === -1 || close >= end) return true;
  return text[close + 1] === "(" && !text.slice(close, end).includes(")");
}

/** Languages without spaces: the ends of words by dictionary. */
function withWordCuts(text: string, cuts: Cut[]): Cut[] {
  const runs = [...text.matchAll(NO_SPACE_RUN)];
  if (runs.length === 0) return cuts;
  segmenter ??= new Intl.Segmenter(undefined, { granularity: "word" });
  const taken = new Set(cuts.map(({ end }) => end));
  for (const { 0: run, index } of runs) {
    for (const { index: at } of segmenter.segment(run)) {
      if (at > 0 && !taken.has(index + at)) cuts.push({ end: index + at, kind: "word" });
    }
  }
  return cuts.sort((a, b) => a.end - b.end);
}
