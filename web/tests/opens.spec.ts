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
    await expect(page.locator("header")).toContainText(/This page contains the (image|sample)s that it shows/);
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

test("an address leads to a heading in a section", async ({ page }) => {
  await open(page, "small_cnn", "#image=0&layer=0&weight=1,0,2,2&section=one-weight");
  await expect(page.locator("#one-weight")).toBeInViewport();
  await expect(page.locator("#one-weight")).toBeFocused();
  await page.evaluate(() => void (location.hash = "#section=confusion"));
  await expect(page.locator("#confusion")).toBeInViewport();
});

test("a page of a large net explains what it has, and marks what was left out", async ({ page }) => {
  const { messages } = await open(page, "left_out");
  await expect(page.locator("header")).toContainText(
    /these are left out: the outputs of \d+ of \d+ layers; the gradients in \d+ layers/,
  );
  await expect(page.locator("#arithmetic .sums")).toContainText("The net has");
  const missing = page.locator("#map .chips .missing");
  await expect(page.locator("#map")).toContainText("A broken line around a layer: its numbers were left out");
  await expect(missing.first()).toHaveAccessibleName(/, left out$/);
  await expect(page.locator("#map .chips button:not(.missing)").first()).toHaveAccessibleName(/^Input, 1 × 28 × 28$/i);
  await missing.first().click();
  await expect(page.locator("#map .note")).toContainText("The numbers of this layer were left out");
  expect(messages).toEqual([]);
});

test("a layer without arithmetic says so, and not that numbers were left out", async ({ page }) => {
  await open(page, "edges", "#layer=3"); // batch norm without running statistics
  const note = page.locator("#arithmetic .note");
  await expect(note).toContainText(
    "There is no arithmetic here for BatchNorm2d(num_features=6, track_running_stats=False)",
  );
  await page.evaluate(() => void (location.hash = "#layer=5")); // a user's layer that is called ReLU
  await expect(note).toContainText("There is no arithmetic here for ReLU");
  await page.evaluate(() => void (location.hash = "#layer=6"));
  await expect(note).toContainText("There is no arithmetic here for ConvTranspose2d(");
});

test("the mean of a window says whether padding counts", async ({ page }) => {
  await open(page, "edges", "#layer=7&y=0&x=0");
  await expect(page.locator("#arithmetic")).toContainText("divided by 6, the cells that count, with padding");
  await page.evaluate(() => void (location.hash = "#layer=9&y=0&x=0"));
  await expect(page.locator("#arithmetic")).toContainText(/divided by \d+, the cells that count(, without padding)?\./);
});

test("a depthwise convolution reads one channel", async ({ page }) => {
  await open(page, "edges", "#layer=2&channel=4&y=1&x=1");
  const sums = page.locator("#arithmetic [aria-label='Sums of all input channels'] tbody th[scope=row]");
  await expect(sums).toHaveText(["4"]);
  await expect(page.locator("#arithmetic [data-window]")).toHaveAttribute("data-window", "4");
});

const SAYS = {
  yes_or_no: /The net says (yes to class 0|yes to no class)\./,
  many_labels: /The net says yes to /,
  regression: /This net has no classes: these are its outputs/,
  class_per_place: /The net says a class for each of 9 × 8 places.*class \d\d+\.\d % of the places/,
  number_per_place: /a number for each channel and place, the first 32 of them.*channel 0, row 1, column 7/,
  edges: /The true class is class 0\. The net says class 0\./,
};
for (const [name, text] of Object.entries(SAYS)) {
  test(`${name} says what its answer is`, async ({ page }) => {
    const { messages } = await open(page, name);
    await expect(page.locator("#predict")).toContainText(text);
    await expect(page.locator("main")).not.toContainText(/NaN|undefined|Infinity/);
    expect(messages).toEqual([]);
    if (name !== "edges") await expect(page.locator("#backward")).toContainText("Its gradient in the outputs is");
  });
}

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
