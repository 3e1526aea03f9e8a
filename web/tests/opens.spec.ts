import { expect, test } from "@playwright/test";
import { NAMES, open } from "./open";

for (const name of NAMES) {
  test(`${name} opens from disk, asks for nothing and says nothing`, async ({ page }) => {
    const { requests, messages, milliseconds } = await open(page, name);
    await page.evaluate(() => new Promise((done) => setTimeout(done, 500)));
    expect(requests).toEqual([]);
    expect(messages).toEqual([]);
    console.log(`${name}: opened in ${milliseconds} ms`);
    for (const id of ["predict", "map", "arithmetic", "backward", "why", "weights", "questions"]) {
      await expect(page.locator(`#${id} h2`)).toBeVisible();
    }
    expect(await page.locator(".questions li").count()).toBe(8);
    await expect(page.locator("header")).toContainText("This page contains the images that it shows");
  });
}

test("the address leads to a number", async ({ page }) => {
  await open(page, "small_cnn", "#image=3&layer=3&channel=5&y=4&x=7&section=arithmetic");
  await expect(page.locator("#map [data-number=value]")).toHaveAttribute("data-place", "3 3 5 4 7");
  await expect(page.locator("#arithmetic h2")).toBeInViewport();
  await page.locator("#arithmetic").getByLabel("Column", { exact: true }).fill("8");
  expect(page.url()).toContain("#image=3&layer=3&channel=5&y=4&x=8");
});

test("an address with nonsense leads to the nearest number", async ({ page }) => {
  const { messages } = await open(page, "small_cnn", "#image=99&layer=none&channel=-4&y=abc&x=999&weight=a,b");
  expect(messages).toEqual([]);
  await expect(page.locator("#map [data-number=value]")).toHaveAttribute("data-place", /^11 0 0 14 27$/);
});

test("without JavaScript images and probabilities remain", async ({ browser }) => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(`file://${process.env["PAGES"] ?? "/tmp/cnn-pages"}/small_cnn.html`);
  await expect(page.locator("noscript img, main.static img").first()).toBeVisible();
  await expect(page.locator("main.static table").first()).toContainText("probability");
  await context.close();
});

test("a map becomes a table", async ({ page }) => {
  await open(page, "small_cnn", "#image=0&layer=0&channel=1&y=2&x=3");
  await page.locator("#map").getByRole("button", { name: "Show numbers of Output of Conv2d 0" }).click();
  const value = await page.locator("#map [data-number=value]").textContent();
  await expect(page.locator("#map td.chosen")).toHaveText(value!);
});

test("a cell of the confusion matrix opens images", async ({ page }) => {
  await open(page, "small_cnn");
  const cell = page.locator(".confusion .mistake button").first();
  await cell.click();
  await expect(cell).toHaveAttribute("aria-expanded", "true");
  const name = (await cell.getAttribute("aria-label"))!.replace(/^\d+ of /, "");
  await expect(page.locator("#weights").getByRole("img", { name, exact: true }).first()).toBeVisible();
});

test("a finite difference agrees with the gradient", async ({ page }) => {
  await open(page, "small_cnn");
  const text = await page.locator("#backward [data-number='weight gradient']").textContent();
  const sums = page.locator("#backward [aria-label='The gradient in this weight'] [data-number=engine]");
  await expect(sums).toHaveText(text!);
  await expect(page.locator("#backward .differs")).toHaveCount(0);
});
