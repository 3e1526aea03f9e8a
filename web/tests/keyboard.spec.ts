import { expect, test, type Page } from "@playwright/test";
import { number, open } from "./open";

const MOST = 120; // presses of the tab key

/** Press the tab key until an element that fits has the focus. */
async function tabTo(page: Page, selector: string): Promise<void> {
  for (let presses = 0; presses < MOST; presses++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((text) => document.activeElement?.matches(text) ?? false, selector)) return;
  }
  throw new Error(`the tab key does not lead to ${selector}`);
}

const numbers = async (page: Page, caption: string): Promise<number[]> => {
  const cells = page.locator("#arithmetic .square").filter({ hasText: caption }).locator("td");
  return (await cells.allTextContents()).map((text) => number(text.replace(" padding", "")));
};

test("the keyboard alone leads from the gallery to a product and to a gradient", async ({ page }) => {
  await open(page, "small_cnn");
  await tabTo(page, "#predict .choice:nth-child(2)");
  await page.keyboard.press("Enter");
  await expect(page.locator("#predict .choice:nth-child(2)")).toHaveAttribute("aria-pressed", "true");

  await tabTo(page, "#map .chips button");
  await page.keyboard.press("ArrowDown");
  await expect(page.locator("#map h3")).toHaveText("ReLU 1");
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await expect(page.locator("#map h3")).toHaveText("Conv2d 0");

  await tabTo(page, "#arithmetic [role=grid]");
  await page.keyboard.press("Home");
  await page.keyboard.press("PageUp");
  for (const _ of [1, 2, 3, 4]) await page.keyboard.press("ArrowRight");
  for (const _ of [1, 2, 3, 4, 5, 6, 7, 8]) await page.keyboard.press("ArrowDown");
  expect(page.url()).toContain("layer=0&channel=0&y=8&x=4");
  const said = page.locator("[aria-live=polite]");
  await expect(said).toContainText("channel 0, row 8, column 4: ");
  const [window, kernel, products] = [
    await numbers(page, "window"),
    await numbers(page, "kernel"),
    await numbers(page, "products"),
  ];
  expect(products.length).toBe(9);
  products.forEach((product, i) => expect(product).toBeCloseTo(window[i]! * kernel[i]!, 3));

  await tabTo(page, "#backward .grid[aria-label='Gradient in Conv2d 0']");
  await page.keyboard.press("ArrowRight");
  const gradient = await page.locator("#backward [data-number=gradient]").textContent();
  await expect(said).toHaveText(`channel 0, row 8, column 5: ${gradient}`);
});

test("a map has one tab stop", async ({ page }) => {
  await open(page, "small_cnn");
  expect(await page.locator("#map .grid [tabindex]").count()).toBe(0);
  const grid = page.locator("#map .grid").first();
  await grid.focus();
  const before = await grid.getAttribute("aria-activedescendant");
  await expect(page.locator(`[id="${before}"]`)).toHaveRole("gridcell");
});
