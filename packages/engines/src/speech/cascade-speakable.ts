/** Written text as a voice should say it: no Markdown, no addresses letter by letter, abbreviations as words. */

/** Makes the clauses of one reply speakable; remembers over clauses whether a block of code is open. */
export class Speakable {
  readonly #english: boolean;
  #inCode = false;

  /** `language`: BCP 47; words for signs and abbreviations are known in English only, the default. */
  constructor(language?: string) {
    this.#english = language === undefined || /^en\b/i.test(language);
  }

  /** What to say for `clause`; empty for code, rules and pictures. */
  take(clause: string): string {
    if (!this.#inCode && isPlain(clause)) return tidied(clause);
    const prose = this.#withoutCode(clause);
    const plain = withoutMarkdown(prose);
    const worded = withoutSymbols(this.#english ? inEnglish(plain) : withAddresses(plain, ".", "@"));
    return tidied(worded);
  }

  /** Blocks fenced by three backticks or tildes are looked at, not listened to. */
  #withoutCode(clause: string): string {
    const parts = clause.split(/(?:```|~~~)/);
    const spoken: string[] = [];
    for (const [index, part] of parts.entries()) {
      if (index > 0) this.#inCode = !this.#inCode;
      // The first line of a fence names the language of the code.
      if (!this.#inCode) spoken.push(part);
    }
    return spoken.join(" ");
  }
}

/** Words, and what they are joined by, as most first clauses are: nothing that the patterns below could change. */
function isPlain(text: string): boolean {
  return /^[\p{L}\p{M} ,;:'’?!]*\.? *$/u.test(text) && !/\b(?:vs|etc)\b/i.test(text);
}

function tidied(text: string): string {
  return text
    .replace(/\s+/g, " ")
    .replace(/ ([.,;:!?])/g, "$1")
    .replace(/([.!?])(?: ?[.,;:])+/g, "$1")
    .trim();
}

function withoutMarkdown(text: string): string {
  return text
    .trim()
    .replace(/^[^\S\n]*(?:[-*_][^\S\n]*){3,}$/gm, "") // a rule
    .replace(/^(?=[^\n]*-{3})[ \t:|-]+$/gm, "") // the line under a table's head
    .replace(/^[^\S\n]*#{1,6}[^\S\n]+(.*?)[ #]*$/gm, "$1.")
    .replace(/^[^\S\n]*>[^\S\n]?/gm, "")
    .replace(/^[^\S\n]*(?:[-*+•]|\d{1,2}[.)])[^\S\n]+(?:\[[ xX]\][^\S\n]+)?/gm, (marker) =>
      /\d/.test(marker) ? marker : "",
    )
    .replace(/!\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/\[([^\]]+)\]\([^)]*\)/g, "$1")
    .replace(/\[\^?\d+\]/g, "") // a footnote
    .replace(/`([^`]*)`/g, "$1")
    .replace(/(\*\*\*|\*\*|___|__|~~)(?=\S)/g, "")
    .replace(/(?<=\S)(\*\*\*|\*\*|___|__|~~)/g, "")
    .replace(/(?<![\p{L}\p{N}])[*_](?=\S)|(?<=\S)[*_](?![\p{L}\p{N}])/gu, "")
    .replace(/^[^\S\n]*\||\|[^\S\n]*$/gm, "")
    .replace(/[^\S\n]*\|[^\S\n]*/g, ", ")
    .replace(/<\/?[a-z][^<>]*>/gi, " ")
    .replace(/\\([\\`*_{}[\]()#+.!>-])/g, "$1")
    .replace(/\n+/g, (_, at: number, whole: string) => (/[.!?:;,…。！？]\s*$/.test(whole.slice(0, at)) ? " " : ". "));
}

const URL = /\b(?:https?:\/\/|www\.)([^\s/?#]+)(?:[/?#][^\s]*?)?(?=[.,;:!?)]*(?:\s|$))/gi;
const EMAIL = /\b([\w.+-]+)@([\w-]+(?:\.[\w-]+)+)\b/g;

/** Of an address the host is said, not its path. */
function withAddresses(text: string, dot: string, at: string): string {
  const say = (name: string) =>
    name
      .replace(/^www\./i, "")
      .replace(/:\d+$/, "")
      .replaceAll(".", dot);
  return text
    .replace(URL, (_, host: string) => say(host))
    .replace(EMAIL, (_, user: string, host: string) => `${user.replaceAll(".", dot)}${at}${say(host)}`);
}

const PICTURE =
  /\p{Extended_Pictographic}|\p{Regional_Indicator}|[\u{1F3FB}-\u{1F3FF}]|\u{200D}|\u{FE0E}|\u{FE0F}|\u{20E3}/gu;

/** Pictures and the invisible signs that make them up. */
function withoutSymbols(text: string): string {
  return text.replace(PICTURE, (sign) => (/[©®™]/.test(sign) ? sign : " "));
}

const ENGLISH: readonly (readonly [RegExp, string])[] = [
  [/\be\.\s?g\.,?/gi, "for example,"],
  [/\bi\.\s?e\.,?/gi, "that is,"],
  [/\betc\./gi, "et cetera."],
  [/\bvs\.?(?=\s)/gi, "versus"],
  [/\bapprox\.(?=\s)/gi, "approximately"],
  [/\bDr\.(?=\s+\p{Lu})/gu, "Doctor"],
  [/\bMr\.(?=\s)/g, "Mister"],
  [/\bMrs\.(?=\s)/g, "Missus"],
  [/\bMs\.(?=\s)/g, "Miz"],
  [/\bProf\.(?=\s)/g, "Professor"],
  [/\bSt\.(?=\s+\p{Lu})/gu, "Saint"],
  [/\bNo\.\s?(?=\d)/g, "number "],
  [/\bJan\.(?=\s+\d)/g, "January"],
  [/\bFeb\.(?=\s+\d)/g, "February"],
  [/\bAug\.(?=\s+\d)/g, "August"],
  [/\bSept?\.(?=\s+\d)/g, "September"],
  [/\bOct\.(?=\s+\d)/g, "October"],
  [/\bNov\.(?=\s+\d)/g, "November"],
  [/\bDec\.(?=\s+\d)/g, "December"],
  [/(\d)\s?%/g, "$1 percent"],
  [/(\d)\s?°\s?C\b/g, "$1 degrees Celsius"],
  [/(\d)\s?°\s?F\b/g, "$1 degrees Fahrenheit"],
  [/(\d)\s?°/g, "$1 degrees"],
  [/(\d)\s?km\/h\b/g, "$1 kilometers per hour"],
  [/(\d)\s?mph\b/g, "$1 miles per hour"],
  [/(\d)\s?km\b/g, "$1 kilometers"],
  [/(\d)\s?kg\b/g, "$1 kilograms"],
  [/(\d)\s?cm\b/g, "$1 centimeters"],
  [/(\d)\s?mm\b/g, "$1 millimeters"],
  [/(\d)\s?ms\b/g, "$1 milliseconds"],
  [/(\d)\s?GB\b/g, "$1 gigabytes"],
  [/(\d)\s?MB\b/g, "$1 megabytes"],
  [/(?<=\d)\s?[×x]\s?(?=\d)/g, " times "],
  [/\b24\/7\b/g, "24 7"],
  [/(?<![\d/])(\d+)\s?\/\s?(\d+)(?![\d/])/g, "$1 over $2"],
  [/\s&\s/g, " and "],
  [/(?<=\s)=(?=\s)/g, "equals"],
  [/(?<=\s)\+(?=\s|\d)/g, "plus "],
  [/≈\s?/g, "about "],
  [/→/g, " to "],
  [/#(?=\d)/g, "number "],
];

const CURRENCIES: Readonly<Record<string, readonly [one: string, many: string, part: string]>> = {
  $: ["dollar", "dollars", "cents"],
  "€": ["euro", "euros", "cents"],
  "£": ["pound", "pounds", "pence"],
  "¥": ["yen", "yen", "sen"],
  "₹": ["rupee", "rupees", "paise"],
};
const MONEY = /([$€£¥₹])\s?(\d+)(?:\.(\d{1,2})(?!\d))?(\.\d+)?(?:\s?(thousand|million|billion|trillion|k|K|M|bn)\b)?/g;
const SCALES: Readonly<Record<string, string>> = { k: "thousand", K: "thousand", M: "million", bn: "billion" };

/** "5-10" but not a telephone number, nor a date. */
const RANGE = /(?<![\p{L}\d.–-])(\d{1,4})\s?[–-]\s?(\d{1,4})(?![\d–-]|\.\d)/gu;

function inEnglish(text: string): string {
  let spoken = withAddresses(text, " dot ", " at ")
    .replace(/(?<=\d),(?=\d{3}(?!\d))/g, "") // a voice reads 1,234 as two numbers
    .replace(MONEY, (_, sign: string, whole: string, part?: string, rest?: string, scale?: string) =>
      money(sign, whole, part, rest, scale),
    )
    .replace(RANGE, (range, from: string, to: string) =>
      Number(from) < Number(to) && (to.length < 4 || from.length === 4) ? `${from} to ${to}` : range,
    );
  for (const [pattern, words] of ENGLISH) spoken = spoken.replace(pattern, words);
  return spoken;
}

function money(sign: string, whole: string, part = "", rest = "", scale?: string): string {
  const [one, many, parts] = CURRENCIES[sign]!;
  if (scale !== undefined) return `${whole}${part && `.${part}`} ${SCALES[scale] ?? scale} ${many}`;
  if (rest !== "") return `${whole}${rest} ${many}`;
  const units = `${whole} ${whole === "1" ? one : many}`;
  return part === "" || part === "00" ? units : `${units} and ${Number(part.padEnd(2, "0"))} ${parts}`;
}
