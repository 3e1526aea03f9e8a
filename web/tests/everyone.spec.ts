import { expect, test, type Page } from "@playwright/test";
import { LOOKS, tooWide, violations } from "./looks";
import { NAMES, open } from "./open";

// a layer of each kind of arithmetic, and one without
const KINDS = {
  row: ["Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "AvgPool2d", "GroupNorm", "Flatten", "Linear", "Softmax"],
  branches: ["Sum", "Product", "Concat"],
};

/** Open every answer, and the images of the first mistake. */
const openAnswers = (page: Page): Promise<void> =>
  page.evaluate(() => {
    document.querySelectorAll("details").forEach((element) => (element.open = true));
    document.querySelector<HTMLElement>(".confusion .mistake button")?.click();
  });

/** Open the tables of all maps, and return how many there are. */
async function openTables(page: Page): Promise<number> {
  const closed = page.locator("figure button[aria-expanded=false]");
  const count = await closed.count();
  await closed.evaluateAll((buttons) => buttons.forEach((button) => (button as HTMLElement).click()));
  await expect(closed).toHaveCount(0);
  return count;
}

for (const [look, options] of Object.entries(LOOKS)) {
  for (const name of NAMES) {
    test(`${name}, ${look}: axe finds nothing, and nothing is cut off`, async ({ browser }) => {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      await open(page, name);
      await page.getByLabel("Beside each map").check();
      await openAnswers(page);
      expect(await violations(page, "html")).toEqual([]);
      expect(await tooWide(page)).toEqual([]);
      expect(await openTables(page)).toBeGreaterThan(8);
      expect(await tooWide(page)).toEqual([]);
      await context.close();
    });
  }

  // of small images, because axe needs minutes for the thousands of cells of others
  test(`row, ${look}: axe finds nothing with all tables open`, async ({ browser }) => {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    await open(page, "row");
    expect(await openTables(page)).toBeGreaterThan(20);
    expect(await violations(page, "html")).toEqual([]);
    await context.close();
  });

  for (const [name, kinds] of Object.entries(KINDS)) {
    test(`${name}, ${look}: axe finds nothing in the arithmetic of each kind of layer`, async ({ browser }) => {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      await open(page, name);
      for (const kind of kinds) {
        const title = await page.locator(`#map .chips button[title$=" ${kind}"]`).first().getAttribute("title");
        const layer = title!.slice(0, -kind.length - 1);
        await page.evaluate((text) => void (location.hash = text), `#layer=${encodeURIComponent(layer)}`);
        await expect(page.locator("#arithmetic select")).toHaveValue(layer);
        await openTables(page);
        expect(await violations(page, "#arithmetic")).toEqual([]);
        expect(await tooWide(page)).toEqual([]);
      }
      await context.close();
    });
  }
}
