/** The examples that are pages do what they say, in a real browser against a real server. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { build } from "vite";
import { startSluice } from "../../lab/sluice.ts";
import { microphoneWav, silence, speak } from "../../lab/speech.ts";
import { launchChromium } from "../chromium.ts";

const types: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };

/** Opens an example as if the server served it. */
async function open(browser: Browser, folder: string, origin: string, name: string): Promise<Page> {
  const page = await browser.newPage();
  await page.route(
    (url) => url.origin === origin && extname(url.pathname) in types,
    async (route) => {
      const path = new URL(route.request().url()).pathname;
      await route.fulfill({ body: await readFile(join(folder, path)), contentType: types[extname(path)]! });
    },
  );
  await page.goto(`${origin}/${name}.html`);
  return page;
}

test("the example pages talk", { concurrency: true }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-pages-"));
  const root = join(import.meta.dirname, "..", "..", "examples", "browser");
  await build({
    root,
    configFile: false,
    logLevel: "silent",
    resolve: { conditions: ["sluice-source", "module", "browser"] },
    build: {
      target: "es2024",
      outDir: folder,
      emptyOutDir: true,
      rollupOptions: { input: ["talk", "react"].map((name) => join(root, `${name}.html`)) },
    },
  });
  const server = await startSluice();
  const words = await speak("Good morning.");
  const browser = await launchChromium({ microphoneWav: await microphoneWav([silence(1500), words, silence(12_000)]) });
  try {
    await Promise.all([
      t.test("talk", async () => {
        const page = await open(browser, folder, server.url, "talk");
        await page.click("#talk");
        await page.waitForFunction(() =>
          /answered after \d+ ms/.test(document.querySelector("#state")?.textContent ?? ""),
        );
        assert.match((await page.locator("#transcript").textContent()) ?? "", /assistant: /);
        await page.click("#talk");
        await page.waitForFunction(() => document.querySelector("#state")?.textContent === "closed");
      }),
      t.test("react", async () => {
        const page = await open(browser, folder, server.url, "react");
        await page.click("button");
        await page.waitForFunction(() => /connected over \w+/.test(document.querySelector("p")?.textContent ?? ""));
        await page.waitForFunction(() =>
          /assistant: .*heard you/.test(document.querySelector("ol")?.textContent ?? ""),
        );
        await page.click("button");
        await page.waitForFunction(() => /^idle/.test(document.querySelector("p")?.textContent ?? ""));
      }),
    ]);
  } finally {
    await browser.close();
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
