// Puts the program of cnn/explore/page.html into pages that were made with an older one: node tests/renew.mjs FOLDER
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const template = readFileSync(new URL("../../cnn/explore/page.html", import.meta.url), "utf8");
const folder = process.argv[2];
for (const name of readdirSync(folder).filter((each) => each.endsWith(".html"))) {
  const text = readFileSync(join(folder, name), "utf8");
  const parts = {
    title: /<title>(.*?)<\/title>/s.exec(text)[1],
    static: /it needs no connection\.<\/p>\n(.*?)\n<\/main>/s.exec(text)[1],
    header: /id="header">(.*?)<\/script>/s.exec(text)[1],
    block: /id="block">(.*?)<\/script>/s.exec(text)[1],
  };
  writeFileSync(
    join(folder, name),
    template.replace(/\{\{(\w+)\}\}/g, (_, part) => parts[part]),
  );
}
