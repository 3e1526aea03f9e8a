// How long from the drop of an image to the probabilities? For a page that `cnn explore RUN --live` serves:
// node drop_time.mjs ADDRESS IMAGE. Prints the median of ten, in milliseconds, and the slowest.
import { readFileSync } from "node:fs";
import { chromium } from "@playwright/test";

const TIMES = 10;
const [address, image] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium" });
const page = await browser.newPage();
await page.goto(address);
await page.waitForSelector("main[data-ready]");
const base64 = readFileSync(image).toString("base64");
const times = [];
for (let i = 0; i <= TIMES; i++) {
  const time = await page.evaluate(
    async ([content, name]) => {
      const data = new DataTransfer();
      data.items.add(new File([Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0))], name));
      const status = document.querySelector(".live [role=status]");
      const start = performance.now();
      document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
      await new Promise((found) => {
        const watch = new MutationObserver(() => {
          if (!status.textContent.includes(`${name}, in`)) return;
          watch.disconnect();
          found();
        });
        watch.observe(status, { childList: true, subtree: true, characterData: true });
      });
      return performance.now() - start;
    },
    [base64, `image ${i}`],
  );
  if (i > 0) times.push(Math.round(time)); // the first warms up
  await page.waitForTimeout(500);
}
times.sort((a, b) => a - b);
console.log(`${(times[TIMES / 2 - 1] + times[TIMES / 2]) / 2} ms, the slowest ${times[TIMES - 1]} ms`);
await browser.close();
