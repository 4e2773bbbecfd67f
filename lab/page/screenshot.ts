/** Pictures of the report: `npm run lab -- screenshot` takes them for `docs/`; whoever changes the page looks at them. */
import { pathToFileURL } from "node:url";
import { launchChromium } from "../../test/chromium.ts";

/** Writes the first screen, the whole and each chapter (`…-1.png`) of the page at `html` as PNG files. */
export async function takeScreenshots(html: string, first: string, whole: string): Promise<void> {
  const browser = await launchChromium();
  try {
    const page = await browser.newPage({ viewport: { width: 1120, height: 1000 }, deviceScaleFactor: 1.5 });
    await page.goto(pathToFileURL(html).href);
    await page.evaluate(() => document.fonts.ready);
    await page.screenshot({ path: first });
    await page.screenshot({ path: whole, fullPage: true });
    for (const [at, chapter] of (await page.locator(".chapter").all()).entries())
      await chapter.screenshot({ path: whole.replace(/\.png$/, `-${at + 1}.png`) });
  } finally {
    await browser.close();
  }
}
