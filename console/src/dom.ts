/** A few lines in place of a framework: find, make and fill elements. */

/** The element with `id`, which is in the page. */
export function find<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no #${id}`);
  return element as Kind;
}

/** Attributes by name; `false` and `undefined` leave one out. */
export type Attributes = Record<string, string | number | boolean | undefined>;

/** A new element. Strings become text, never markup. */
export function make<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** Sets custom properties that the style sheet draws from; a content security policy may forbid style attributes. */
export function draw<Kind extends HTMLElement>(element: Kind, properties: Record<string, string | number>): Kind {
  for (const [name, value] of Object.entries(properties)) element.style.setProperty(`--${name}`, String(value));
  return element;
}

/** Whole milliseconds, or a dash. */
export function ms(value: number | undefined): string {
  return value === undefined || !Number.isFinite(value) ? "–" : `${Math.round(value)}`;
}
