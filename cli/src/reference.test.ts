import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { describeSettings } from "./reference.ts";

const FILE = join(import.meta.dirname, "..", "..", "docs", "configuration.md");
const MARKED = /(<!-- settings:[^>]*-->\n)[\s\S]*(<!-- \/settings -->)/;

test("docs/configuration.md lists every setting as the command line has it", () => {
  const text = readFileSync(FILE, "utf8");
  const wanted = text.replace(MARKED, (_, open, close) => `${open}\n${describeSettings()}\n${close}`);
  if (process.env.UPDATE) writeFileSync(FILE, wanted);
  else assert.equal(text, wanted, "bring it up to date by: UPDATE=1 npm test -- cli/src/reference");
});
