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
  "docs/from_pytorch",
  "docs/how_to",
  "docs/how_to/nan",
  "docs/how_to/own_layer",
  "docs/understand/index",
  "docs/understand/convolution",
  "docs/understand/winograd",
  "docs/life_of_a_batch",
  "docs/glossary",
  "docs/errors",
  "docs/performance",
  "docs/onnx",
  "docs/reference/index",
  "docs/reference/api/cnn.layers/Conv2d",
  "docs/reference/commands/train",
  "models/spiral",
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
