import type { TestEvent } from "node:test/reporters";

/** A reporter for Node's test runner: the files in which something failed, one on a line; "?" for one that is not told. */
export default async function* failedFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const told = new Set<string>();
  for await (const event of events) {
    if (event.type !== "test:fail") continue;
    const file = event.data.file ?? "?";
    if (!told.has(file)) yield `${file}\n`;
    told.add(file);
  }
}
