/** Server-sent events (WHATWG HTML, section 9.2.6) from bytes cut anywhere. */

/** One event; `event` is "message" unless the stream names it. */
export interface SseEvent {
  readonly event: string;
  readonly data: string;
}

/** An event or a line was longer than any that makes sense: the peer is no event stream, or means harm. */
export class SseOverflow extends Error {
  override readonly name = "SseOverflow";
}

/** Characters of one event, at most: 30 s of base64 speech at 24 kHz are 2 Mi. */
const LONGEST_EVENT = 4 * 1024 * 1024;

/** Parses one event stream. */
export class SseParser {
  readonly #utf8 = new TextDecoder(); // drops the byte order mark, and holds a character that is cut in two
  readonly #longest: number;
  #line = "";
  #afterReturn = false; // a CR ended the last piece: the LF of the same line end may follow
  #event = "";
  #data: string[] = [];
  #dataLength = 0;

  constructor(longest = LONGEST_EVENT) {
    this.#longest = longest;
  }

  /** Takes bytes, gives the events that are whole. Throws {@link SseOverflow}. */
  push(bytes: Uint8Array): SseEvent[] {
    return this.#take(this.#utf8.decode(bytes, { stream: true }));
  }

  /** The stream ended: gives an event that lacks only its empty line, as some servers send their last. */
  end(): SseEvent[] {
    return this.#take(`${this.#utf8.decode()}\n\n`);
  }

  #take(text: string): SseEvent[] {
    const events: SseEvent[] = [];
    let from = 0;
    if (text !== "" && this.#afterReturn) {
      this.#afterReturn = false;
      if (text.startsWith("\n")) from = 1;
    }
    for (let at = nextLineEnd(text, from); at !== -1; at = nextLineEnd(text, from)) {
      const event = this.#endLine(this.#line + text.slice(from, at));
      this.#line = "";
      if (event) events.push(event);
      from = at + 1;
      if (text[at] !== "\r") continue;
      if (from === text.length) this.#afterReturn = true;
      else if (text[from] === "\n") from++;
    }
    this.#line += text.slice(from);
    if (this.#line.length + this.#dataLength > this.#longest) {
      throw new SseOverflow(`an event of more than ${this.#longest} characters`);
    }
    return events;
  }

  #endLine(line: string): SseEvent | undefined {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    if (colon === 0) return undefined; // a comment, sent to keep the connection alive
    const field = colon === -1 ? line : line.slice(0, colon);
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#event = value;
    if (field !== "data") return undefined;
    this.#data.push(value);
    this.#dataLength += value.length + 1;
    return undefined;
  }

  #dispatch(): SseEvent | undefined {
    const event = this.#data.length > 0 ? { event: this.#event || "message", data: this.#data.join("\n") } : undefined;
    this.#event = "";
    this.#data = [];
    this.#dataLength = 0;
    return event;
  }
}

function nextLineEnd(text: string, from: number): number {
  const feed = text.indexOf("\n", from);
  const carriage = text.indexOf("\r", from);
  if (feed === -1 || carriage === -1) return Math.max(feed, carriage);
  return Math.min(feed, carriage);
}
