import { defineConfig } from "@playwright/test";

export default defineConfig({
  testDir: "tests",
  outputDir: "test-results",
  workers: 2,
  fullyParallel: true,
  timeout: 240_000,
  reporter: "list",
  use: { launchOptions: { executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium" } },
});
