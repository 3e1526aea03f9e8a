// Makes the pictures of the README and of docs/look_inside.md from the page in docs/example: node pictures.mjs
import { chromium } from "@playwright/test";

const docs = new URL("../docs/", import.meta.url).pathname;
const MARGIN = 12; // pixels around a section
const PICTURES = [
  ["arithmetic", "#image=1&layer=3&channel=5&y=0&x=7", 960],
  ["map", "#image=1&layer=3&channel=5&y=0&x=7", 960],
  ["why", "#image=1&layer=3&channel=5&y=0&x=7", 860],
];

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium" });
// higher than the page, so that nothing is scrolled and no part follows the window
const page = await browser.newPage({ viewport: { width: 1200, height: 14_000 }, colorScheme: "light" });
for (const [section, fragment, height] of PICTURES) {
  await page.goto("about:blank");
  await page.goto(`file://${docs}example/fashion.html${fragment}`);
  await page.waitForSelector("main[data-ready]");
  await page.getByLabel("Beside each map").check();
  await page.waitForTimeout(1000); // until the images are drawn
  const title = await page.locator(`#${section} h2`).boundingBox();
  const { x, width } = await page.locator(`#${section}`).boundingBox();
  const clip = { x: x - MARGIN, y: title.y - MARGIN, width: width + 2 * MARGIN, height };
  await page.screenshot({ path: `${docs}explore_${section}.png`, clip });
}
await browser.close();
