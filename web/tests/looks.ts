/** How a page is looked at, and what is wrong with it then. */

import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";

export const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1200, height: 900 } },
  dark: { colorScheme: "dark", viewport: { width: 1200, height: 900 } },
  narrow: { colorScheme: "light", viewport: { width: 320, height: 700 } },
} as const;

/** What axe finds in a part of the page. */
export async function violations(page: Page, part: string): Promise<unknown[]> {
  // without lists of all that is right, which take most of the time
  const found = await new AxeBuilder({ page })
    .include(part)
    .options({ resultTypes: ["violations"], rules: { "target-size": { enabled: true } } })
    .analyze();
  return found.violations.map(({ id, nodes }) => [id, nodes[0]?.html, nodes[0]?.failureSummary]);
}

/** What reaches beyond the right edge of the window, if the page can be scrolled there. */
export const tooWide = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const all = [...document.querySelectorAll("body *")].filter((each) => each.getBoundingClientRect().right > width);
    return all.map((each) => `${each.tagName} ${each.className} ${each.getBoundingClientRect().right}`);
  });
