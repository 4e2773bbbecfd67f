/**
 * Words that a listener says without wanting the floor, and words that ask for it at once. Small on purpose: a word that is
 * missing costs what every word costs, a wrong one costs an interruption that is not heard.
 */

/** By language: what only says "I listen". A phrase is written with spaces. */
const BACKCHANNELS: Readonly<Record<string, string>> = {
  en: "mhm,mm,mmm,mm-hmm,mm-hm,mmhmm,hm,hmm,uh-huh,uh huh,ah,oh,aha,yeah,yep,yup,ok,okay,right,i see,sure,got it",
  de: "mhm,hm,hmm,aha,ach so,achso,ja,jaja,genau,okay,ok,klar,stimmt,verstehe,gut",
  fr: "mhm,hm,hum,ah,oui,ouais,d'accord,ok,okay,je vois,voilà,ah bon",
  es: "mhm,ajá,aha,ah,sí,si,vale,ok,okay,claro,ya,ya veo,entiendo",
  it: "mhm,ah,aha,sì,ok,okay,certo,capito,va bene,esatto,già",
  pt: "mhm,aham,uhum,ah,sim,tá,ok,okay,certo,claro,entendi,pois",
  nl: "mhm,hm,aha,ja,oké,ok,okay,precies,juist,snap ik",
  ja: "うん,うんうん,はい,ええ,へえ,なるほど,そうですね,そうですか,そう",
  zh: "嗯,嗯嗯,对,好,好的,是的,哦,啊,行",
};

/** By language: what begins a turn that must not wait. */
const STOPS: Readonly<Record<string, string>> = {
  en: "stop,wait,no,hold on,hang on,pause,quiet,enough,shut up,listen",
  de: "stopp,stop,halt,warte,warten sie,nein,moment,ruhe,genug,hör auf",
  fr: "stop,attends,attendez,non,arrête,arrêtez,silence,assez",
  es: "para,pare,alto,espera,espere,no,basta,silencio",
  it: "ferma,fermo,fermati,stop,aspetta,aspetti,no,basta,silenzio",
  pt: "pare,para,espera,espere,não,chega,silêncio",
  nl: "stop,wacht,nee,genoeg,stil,hou op",
  ja: "待って,ちょっと待って,ストップ,やめて,いや,違う",
  zh: "停,等等,等一下,不,不是,别说了,安静",
};

const known = new Map<string, ReadonlySet<string>>();

/** Whether these are nothing but a backchannel, said up to three times. */
export function isBackchannel(words: string, language?: string): boolean {
  const list = listOf("backchannel", BACKCHANNELS, language);
  const text = normalise(words);
  if (text === "" || list.has(text)) return text !== "";
  const parts = text.split(" ");
  return parts.length <= 3 && parts.every((part) => list.has(part));
}

/** Whether these begin, or end, with a word that asks for the floor. */
export function isStopWord(words: string, language?: string): boolean {
  const text = normalise(words);
  for (const stop of listOf("stop", STOPS, language)) {
    if (text === stop || text.startsWith(`${stop} `) || text.endsWith(` ${stop}`)) return true;
  }
  return false;
}

/** The words of one language, or of all when it is not known. */
function listOf(
  kind: string,
  lists: Readonly<Record<string, string>>,
  language: string | undefined,
): ReadonlySet<string> {
  const primary = language?.toLowerCase().split("-")[0] ?? "";
  const own = lists[primary] === undefined ? "" : primary;
  const key = `${kind}:${own}`;
  let words = known.get(key);
  if (!words) {
    const chosen = own === "" ? Object.values(lists).join(",") : lists[own]!;
    words = new Set(chosen.split(",").map(normalise));
    known.set(key, words);
  }
  return words;
}

/** Letters and apostrophes in lower case, one space between words. */
function normalise(words: string): string {
  return words
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{N}']+/gu, " ")
    .trim();
}
