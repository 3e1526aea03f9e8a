import { readFileSync } from "node:fs";
import { expect, test, type Page } from "@playwright/test";
import { number } from "./open";

const DOCS = new URL("../../docs/", import.meta.url).pathname;
const LESSON = readFileSync(`${DOCS}lesson_ten_things.md`, "utf8");
interface Link {
  file: string;
  fragment: string;
}

const LINKS: Link[] = [...LESSON.matchAll(/\]\((example\/fashion\.html)(#[^)]*)\)/g)].map(([, file, fragment]) => ({
  file: file!,
  fragment: fragment!,
}));

/** Follow a link, and wait for the number that it leads to; the page is loaded only if it is not open yet. */
async function follow(page: Page, { file, fragment }: Link): Promise<void> {
  await page.goto(`file://${DOCS}${file}${fragment}`);
  await page.waitForSelector("main[data-ready]");
  const to = new URLSearchParams(fragment.slice(1));
  const [image, layer] = [to.get("image"), to.get("layer")];
  const place = ["channel", "y", "x"].map((name) => to.get(name));
  if (place.includes(null)) return;
  await page.waitForSelector(`#map [data-number=value][data-place="${[image, layer, ...place].join(" ")}"]`);
}

const linkWith = (part: string): Link => LINKS.find(({ fragment }) => fragment.includes(part))!;

test("each link of the lesson opens the place that it promises", async ({ page }) => {
  expect(LINKS.length).toBeGreaterThan(15);
  const messages: string[] = [];
  page.on("console", (message) => messages.push(message.text()));
  page.on("pageerror", (error) => messages.push(error.message));
  const sections = new Set<string>();
  for (const link of LINKS) {
    const to = new URLSearchParams(link.fragment.slice(1));
    const section = to.get("section")!;
    if (!sections.has(section)) await page.goto("about:blank"); // so that the page opens as from the lesson
    sections.add(section);
    await follow(page, link);
    await expect(page.locator(`#${section}`)).toBeInViewport();
    if (to.has("weight")) {
      await expect(page.locator("#backward [data-number='weight sum']")).toHaveAttribute(
        "data-index",
        to.get("weight")!,
      );
    }
  }
  expect(messages).toEqual([]);
});

/** What the lesson says, and where: a part of a link, what is read there, and the number that the lesson gives. */
const SAYS: [string, string, number][] = [
  ["layer=0&channel=7&y=19", "#arithmetic [data-number=engine]", 1.53],
  ["image=0&layer=1&channel=6", "#arithmetic [data-number=engine]", -2.82],
  ["layer=2&channel=6&y=2&x=2", "#map [data-number=value]", 0.84],
  ["layer=2&channel=15", "#map [data-number=value]", 0],
  ["weight=15,0,1,1", "#backward [data-number='weight sum']", 0],
  ["layer=4&channel=6", "#arithmetic [data-number=engine]", 1.226],
  ["image=1&layer=19&channel=79", "#map [data-number=value]", 5],
  ["weight=4,0,2,2", "#backward [data-number='weight sum']", -5.4],
  ["weight=4,0,2,2", "#backward [data-number='weight gradient']", -5.4],
];

test("the numbers of the lesson are those of the page", async ({ page }) => {
  for (const [part, selector, value] of SAYS) {
    await follow(page, linkWith(part));
    const shown = number((await page.locator(selector).textContent())!);
    const digits = String(value).split(".")[1]?.length ?? 0;
    expect(Math.abs(shown - value), `${part}: ${shown}`).toBeLessThanOrEqual(10 ** -digits / 2);
  }
});

const text = async (page: Page, part: string, selector: string): Promise<string> => {
  await follow(page, linkWith(part));
  return (await page.locator(selector).innerText()).replace(/\s+/g, " ");
};

test("what the lesson says of sums, contributions and p − y is on the page", async ({ page }) => {
  const sums = await text(page, "layer=3&channel=5&y=14", "#arithmetic [aria-label='Sums of all input channels']");
  const rows = [...sums.matchAll(/(\d+) (−?[\d.e−]+)/g)].map(([, channel, sum]) => [channel!, number(sum!)] as const);
  expect(rows.length).toBe(32);
  expect(rows.filter(([, sum]) => sum === 0).length).toBe(22);
  const largest = [...rows].sort((a, b) => b[1] - a[1]).slice(0, 3);
  expect(largest.map(([channel]) => channel)).toEqual(["20", "3", "28"]);
  await expect(page.locator("#arithmetic .sums")).toContainText("288 terms");

  const against = await text(
    page,
    "image=1&layer=22&channel=6&y=0&x=0&section=arithmetic",
    "#arithmetic tr:nth-child(2)",
  );
  expect(against).toMatch(/^79 1\.60\d+ −0\.59\d+ −0\.95\d+$/);
  const speaks = await text(page, "image=0&layer=22&channel=6&y=0&x=0&section=arithmetic", "#arithmetic tbody");
  expect(speaks).toMatch(/product 85 [\d.]+ [\d.]+ 0\.\d+ 87 [\d.]+ [\d.]+ 0\.\d+ /);

  const loss = await text(page, "image=1&layer=22&channel=6&y=0&x=0&section=backward", "[aria-label='p minus y']");
  expect(loss).toMatch(/the net has Shirt [\d.]+ 1 −0\.996\d+ −0\.996\d+ Coat 0\.968\d+ 0 0\.968\d+ 0\.968\d+ /);
  const shift = await text(page, "image=0&layer=1&channel=15", "#arithmetic .formula");
  expect(shift).toContain("0.0772808");
});

test("the winner of max pooling gets all of the gradient", async ({ page }) => {
  await follow(page, linkWith("layer=4&channel=6"));
  const window = page.locator("#arithmetic .square td");
  expect((await window.allInnerTexts()).map((each) => each.split(/\s/)[0])).toEqual([
    "1.226",
    "1.13",
    "1.166",
    "1.204",
  ]);
  const gradients = [];
  for (const [y, x] of [
    [4, 10],
    [4, 11],
    [5, 10],
    [5, 11],
  ]) {
    await page.evaluate((place) => void (location.hash = place), `#image=1&layer=3&channel=6&y=${y}&x=${x}`);
    const output = page.locator(`#backward [data-number=gradient][data-place="1 3 6 ${y} ${x}"]`);
    gradients.push(number((await output.textContent())!));
  }
  expect(gradients[0]).toBeCloseTo(0.109, 3);
  expect(gradients.slice(1)).toEqual([0, 0, 0]);
});
