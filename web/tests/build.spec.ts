import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "@playwright/test";

test("a page that is not what the sources build is found", async ({}, info) => {
  expect(execFileSync("node", ["build.mjs", "--verify"], { encoding: "utf8" })).toContain("is what web/src builds");
  const page = readFileSync("../cnn/explore/page.html", "utf8");
  const file = info.outputPath("page.html");
  for (const other of [page.replace("max-width", "max-height"), page.replace("use strict", "use  strict"), ""]) {
    writeFileSync(file, other);
    const { status, stderr } = spawnSync("node", ["build.mjs", "--verify", file], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stderr).toContain("is not what web/src builds: run web/build.sh");
  }
});
