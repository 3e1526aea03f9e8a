// Builds the one file cnn/explore/page.html from src; with --verify, checks that it, or a file that is named after that,
// is what the sources build.
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { build } from "esbuild";

const page = new URL("../cnn/explore/page.html", import.meta.url);

async function bundled(entry) {
  const options = { entryPoints: [new URL(entry, import.meta.url).pathname], bundle: true, minify: true, write: false };
  const result = await build({ ...options, format: "iife", target: "es2022", charset: "utf8", legalComments: "none" });
  return result.outputFiles[0].text.trim();
}

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

const script = await bundled("src/main.tsx");
const style = await bundled("src/style.css");
if (/<\/(script|style)/i.test(script + style)) throw new Error("the program would end its own element");

const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{title}}</title>
<style>${style}</style>
</head>
<body>
<div id="app"></div>
<noscript>
<main class="static">
<h1>{{title}}</h1>
<p>This page contains the images below. With JavaScript it shows every number of the net; it needs no connection.</p>
{{static}}
</main>
</noscript>
<script type="application/json" id="header">{{header}}</script>
<script type="application/octet-stream" id="block">{{block}}</script>
<script>${script}</script>
</body>
</html>
`;

const [option, file] = process.argv.slice(2);
if (option === "--verify") {
  if (readFileSync(file ?? page, "utf8") !== html) {
    console.error("cnn/explore/page.html is not what web/src builds: run web/build.sh and commit the result");
    process.exit(1);
  }
  console.log("cnn/explore/page.html is what web/src builds");
} else {
  writeFileSync(page, html);
  console.log(
    `cnn/explore/page.html: ${(html.length / 1000).toFixed(1)} kB (script ${script.length}, style ${style.length})`,
  );
}
