import { expect, test } from "@playwright/test";
import { isRounded, NAMES, NETS, number, numbers, open } from "./open";

interface Shown {
  value: string;
  gradient: string | null;
  differs: number;
  sum: string | null;
  code: string | null;
}

/** Code with its numbers in one notation: Python writes 1e-05 for 0.00001. */
const plain = (code: string | null): string | null =>
  code?.replace(/(?<![\w.])\d+(\.\d+)?(e-?\d+)?/g, (text) => String(Number(text))) ?? null;

for (const name of [...NAMES, ...NETS]) {
  const count = NAMES.includes(name) ? 200 : 80;
  test(`numbers in ${count} places of ${name} are those of the engine`, async ({ page }) => {
    const all = numbers(name).places;
    expect(all.length).toBe(count);
    await open(page, name);
    await page.evaluate(() => {
      // these take most of the time to draw, and show none of the numbers that are compared
      for (const id of ["predict", "why", "weights", "questions"]) document.getElementById(id)!.style.display = "none";
    });
    const shown = await page.evaluate(async (list) => {
      const found: Shown[] = [];
      for (const { image, layer, channel, y = 0, x = 0 } of list) {
        location.hash = `#image=${image}&layer=${encodeURIComponent(layer)}&channel=${channel}&y=${y}&x=${x}`;
        const key = [image, layer, channel, y, x].join(" ");
        const output = (): Element | null =>
          [...document.querySelectorAll("#map [data-number=value]")].find(
            (element) => element.getAttribute("data-place") === key,
          ) ?? null;
        for (let tries = 0; tries < 500 && !output(); tries++) await new Promise((done) => setTimeout(done, 5));
        const gradient = [...document.querySelectorAll("#backward [data-number=gradient]")].find(
          (element) => element.getAttribute("data-place") === key,
        );
        found.push({
          value: output()?.textContent ?? "nothing",
          gradient: gradient?.textContent ?? null,
          differs: document.querySelectorAll("#arithmetic .differs, #backward .differs").length,
          sum: document.querySelector("#arithmetic [data-number=sum]")?.textContent ?? null,
          code: document.querySelector("#arithmetic pre")?.textContent ?? null,
        });
      }
      return found;
    }, all);
    const wrong = all.flatMap((place, i) => {
      const { value, gradient, differs, sum, code } = shown[i]!;
      const right =
        isRounded(value, place.value) &&
        (place.gradient === null ? gradient === null : gradient !== null && isRounded(gradient, place.gradient)) &&
        differs === 0 &&
        plain(code) === plain(place.code) &&
        (sum === null) === (place.code === null);
      return right ? [] : [{ place, shown: shown[i] }];
    });
    expect(wrong).toEqual([]);
    expect(shown.filter(({ sum }) => sum !== null).length).toBeGreaterThan(30);
  });

  test(`the gradients in weights of ${name} are those of the engine`, async ({ page }) => {
    await open(page, name);
    const all = numbers(name).weights;
    expect(all.length).toBeGreaterThan(0);
    for (const { layer, weight, gradient, size } of all) {
      const address = `#image=0&layer=${encodeURIComponent(layer)}&weight=${weight.join(",")}`;
      await page.evaluate((fragment) => void (location.hash = fragment), address);
      const sum = page.locator(`#backward [data-number='weight sum'][data-index='${weight.join(",")}']`);
      const text = (await sum.textContent())!;
      expect(Math.abs(number(text) - gradient)).toBeLessThanOrEqual(1e-5 * (size + Math.abs(gradient)));
    }
  });
}
