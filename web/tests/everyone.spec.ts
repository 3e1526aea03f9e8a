import AxeBuilder from "@axe-core/playwright";
import { expect, test } from "@playwright/test";
import { NAMES, open } from "./open";

const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1200, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1200, height: 900 } },
  narrow: { colorScheme: "light", viewport: { width: 320, height: 700 } },
} as const;

for (const name of NAMES) {
  for (const [look, options] of Object.entries(LOOKS)) {
    test(`${name}, ${look}: axe finds nothing, and nothing is cut off`, async ({ browser }) => {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      await open(page, name);
      await page.getByLabel("Beside each map").check();
      await page.evaluate(() => document.querySelectorAll("details").forEach((element) => (element.open = true)));
      const found = await new AxeBuilder({ page }).analyze();
      expect(found.violations.map(({ id, nodes }) => [id, nodes[0]?.html, nodes[0]?.failureSummary])).toEqual([]);
      const width = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(width).toBeLessThanOrEqual(options.viewport.width);
      await context.close();
    });
  }
}
