/** What is said in a call of the pipes bench: a long prompt and its long answer, then short ones, all in tone words. */
import { WORDS } from "../../tone-speech/lexicon.ts";
import { STEP_MS, speakTones, WORD_MS } from "../../tone-speech/voice.ts";

/** A turn: no word of the call is said twice by the same side, so that each is found again. */
export interface Turn {
  readonly prompt: readonly string[];
  readonly answer: readonly string[];
}

const SHORT_WORDS = 4;

/** A long turn of `promptWords` and `answerWords`, and `shortTurns` short ones. */
export function writeTurns(promptWords: number, answerWords: number, shortTurns: number): Turn[] {
  const take = (words: readonly string[]) => {
    let at = 0;
    return (count: number) => words.slice(at, (at += count));
  };
  const [prompts, answers] = [take(WORDS), take([...WORDS].reverse())];
  const turns: Turn[] = [{ prompt: prompts(promptWords), answer: answers(answerWords) }];
  for (let turn = 0; turn < shortTurns; turn++)
    turns.push({ prompt: prompts(SHORT_WORDS), answer: answers(SHORT_WORDS) });
  return turns;
}

/** How long so many words take. */
export function lengthMs(words: number): number {
  return (words - 1) * STEP_MS + WORD_MS;
}

/** A prompt as the microphone hears it, 48 kHz. */
export function speakPrompt(words: readonly string[]): Int16Array {
  return speakTones(words.join(" "), 48_000).pcm;
}

/** What to answer to what was recognised: by the turn that most of its words belong to. */
export function answerTo(turns: readonly Turn[], heard: string): string {
  const words = heard.split(" ");
  const count = ({ prompt }: Turn) => words.filter((word) => prompt.includes(word)).length;
  const best = turns.reduce((one, other) => (count(other) > count(one) ? other : one));
  return count(best) === 0 ? "" : best.answer.join(" ");
}
