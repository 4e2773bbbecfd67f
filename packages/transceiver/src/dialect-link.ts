/** A pipe whose client speaks a dialect: translates events on their way, and is the same pipe otherwise. */
import type { Link, LinkCapabilities, LinkListener, Milli, Pcm, Utterance } from "@sluice/conversation";
import { betaDialect, type Dialect, type DialectName } from "@sluice/realtime";

const DIALECTS: Readonly<Record<DialectName, Dialect | undefined>> = { ga: undefined, beta: betaDialect };

/** Begins a conversation on `link` in the client's dialect; `begin` gets the link to speak to and gives who listens. */
export function inDialect(
  name: DialectName,
  link: Link,
  begin: (link: Link) => LinkListener | undefined,
): LinkListener | undefined {
  const dialect = DIALECTS[name];
  if (!dialect) return begin(link);
  const listener = begin(new DialectLink(link, dialect));
  return listener && new DialectListener(listener, dialect);
}

class DialectLink implements Link {
  readonly #link: Link;
  readonly #dialect: Dialect;

  constructor(link: Link, dialect: Dialect) {
    this.#link = link;
    this.#dialect = dialect;
  }

  get capabilities(): LinkCapabilities {
    return this.#link.capabilities;
  }

  sendEvent(event: { readonly type: string }): void {
    const written = this.#dialect.write(event);
    if (written) this.#link.sendEvent(written);
  }

  play(utterance: Utterance, pcm: Pcm): void {
    this.#link.play(utterance, pcm);
  }

  endUtterance(utterance: Utterance): void {
    this.#link.endUtterance(utterance);
  }

  flush(): void {
    this.#link.flush();
  }

  duck(gain: number, rampMs: Milli): void {
    this.#link.duck(gain, rampMs);
  }

  heard(itemId: string, positionMs: Milli): void {
    this.#link.heard?.(itemId, positionMs);
  }

  close(reason: string): void {
    this.#link.close(reason);
  }
}

class DialectListener implements LinkListener {
  readonly #listener: LinkListener;
  readonly #dialect: Dialect;

  constructor(listener: LinkListener, dialect: Dialect) {
    this.#listener = listener;
    this.#dialect = dialect;
  }

  onMessage(now: Milli, text: string): void {
    this.#listener.onMessage(now, this.#dialect.read(text));
  }

  onOpen: LinkListener["onOpen"] = (...input) => this.#listener.onOpen(...input);
  onEarlyAudio: LinkListener["onEarlyAudio"] = (...input) => this.#listener.onEarlyAudio(...input);
  onOrderedAudio: LinkListener["onOrderedAudio"] = (...input) => this.#listener.onOrderedAudio(...input);
  onSent: LinkListener["onSent"] = (...input) => this.#listener.onSent(...input);
  onUtteranceEnded: LinkListener["onUtteranceEnded"] = (...input) => this.#listener.onUtteranceEnded(...input);
  onClosed: LinkListener["onClosed"] = (...input) => this.#listener.onClosed(...input);
}
