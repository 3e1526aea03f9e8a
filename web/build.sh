#!/usr/bin/env bash
# Builds cnn/explore/page.html from web/src. With --verify: checks that the committed file is what the sources build.
set -euo pipefail
cd "$(dirname "$0")"
[ -d node_modules ] || PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund
npx tsc --noEmit
node build.mjs "$@"
