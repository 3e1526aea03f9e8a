import { defineConfig } from "@playwright/test";
import config from "./playwright.config";

/** For pages of the site that scripts/docs.sh has built: npx playwright test --config site.config.ts */
export default defineConfig({ ...config, testDir: "site" });
