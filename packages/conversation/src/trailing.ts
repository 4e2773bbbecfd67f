/** Whether a transcript so far ends as a sentence does, or hangs in the air. */

/** Words that do not end what somebody wants to say: conjunctions, prepositions, articles, auxiliaries, fillers. */
const HANGING: Readonly<Record<string, string>> = {
  en:
    "and or but so because if when while although that which who whose than then as like to of in on at by for from with since " +
    "about into over under between through without the a an my your his her its our their this these those is are was were " +
    "be been am do does did have has had will would can could should may might must not very really just i'm it's we're " +
    "they're there's um uh uhm er erm hmm well actually i we you they he she want need please maybe and",
  de:
    "und oder aber denn weil wenn als dass ob obwohl damit sondern wie zu von in im an am auf bei mit nach für über unter aus " +
    "durch ohne um gegen der die das den dem des ein eine einen einem einer mein meine dein deine sein ihre unser ist sind " +
    "war waren bin hat haben hatte habe wird werden kann könnte muss soll will möchte würde nicht sehr äh ähm also ich wir",
  fr:
    "et ou mais donc car que qui si quand lorsque parce comme de du des à au aux en dans sur sous par pour avec sans chez " +
    "vers le la les un une mon ma mes ton ta son sa ses notre votre leur ce cette ces est sont était suis ai a ont très " +
    "pas euh ben alors je nous vous",
  es:
    "y o pero porque que si cuando como aunque de del a al en con sin por para sobre entre hasta desde el la los las un una " +
    "mi tu su nuestro este esta es son era soy está he ha han muy no eh pues este yo quiero",
};

const all: ReadonlySet<string> = new Set(Object.values(HANGING).join(" ").split(" "));
const known = new Map<string, ReadonlySet<string>>();

/** What the words say of the end: from -1 (they hang) to 1 (they end); 0 when they say nothing. */
export function endOfWords(words: string, language?: string): number {
  const text = words.trim();
  if (text === "") return 0;
  if (/(\.\.\.|…|[,;:،、，–—-])$/u.test(text)) return -0.9;
  const last = /[\p{L}\p{M}\p{N}']+(?=[^\p{L}\p{N}]*$)/u.exec(text)?.[0].toLowerCase() ?? "";
  // Engines put a full stop behind whatever they have heard so far: the word before it knows better.
  if (hangingWords(language).has(last)) return /[?]$/u.test(text) ? 0.2 : -1;
  if (/[?？؟!！]["'”’»)]*$/u.test(text)) return 1;
  if (isUnfinishedNumber(text)) return -0.6;
  if (/[.。।]["'”’»)]*$/u.test(text)) return 0.8;
  return text.split(/\s+/u).length >= 3 ? 0.3 : 0.1;
}

function hangingWords(language: string | undefined): ReadonlySet<string> {
  const own = HANGING[language?.toLowerCase().split("-")[0] ?? ""];
  if (own === undefined) return all;
  let words = known.get(own);
  if (!words) known.set(own, (words = new Set(own.split(" "))));
  return words;
}

/** Two or more groups of digits at the end, as numbers are dictated, and fewer than eleven digits in all. */
function isUnfinishedNumber(text: string): boolean {
  const dictated = /(?:\d+[\s.-]+)+\d+[\s.]*$/u.exec(text)?.[0];
  return dictated !== undefined && dictated.replace(/\D/gu, "").length < 11;
}
