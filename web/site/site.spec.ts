import { existsSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "@playwright/test";
import { LOOKS, tooWide, violations } from "../tests/looks";

const SITE = join(realpathSync(".."), "docs/_build/html");

// a page of each kind: of text, code, formulas, tables, images, questions, a notebook, a name, the commands
const PAGES = [
  "docs/index",
  "docs/learn",
  "docs/first_nets",
  "docs/photos_to_model",
  "docs/how_to/nan",
  "docs/understand/batch_norm",
  "docs/glossary",
  "docs/performance",
  "docs/own_images",
  "docs/reference/index",
  "docs/reference/api/cnn.layers/Conv2d",
  "docs/reference/commands/train",
  "models/spiral_dataset",
];

for (const [look, options] of Object.entries(LOOKS)) {
  for (const name of PAGES) {
    test(`${name}, ${look}: axe finds nothing, and nothing is cut off`, async ({ browser }) => {
      const file = join(SITE, `${name}.html`);
      expect(existsSync(file), `${file}: bash scripts/docs.sh builds it`).toBe(true);
      const context = await browser.newContext({ ...options, reducedMotion: "reduce" });
      const page = await context.newPage();
      await page.goto(pathToFileURL(file).href);
      await page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
      expect(await violations(page, "html")).toEqual([]);
      expect(await tooWide(page)).toEqual([]);
      await context.close();
    });
  }
}
