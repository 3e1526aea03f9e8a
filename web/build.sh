#!/usr/bin/env bash
# Builds cnn/explore/page.html from web/src. With --verify: checks that the committed file is what the sources build.
set -euo pipefail
cd "$(dirname "$0")"

OLDEST=18 # as package-lock.json says of the tools
if ! command -v node > /dev/null || ! command -v npm > /dev/null; then
  echo "web/ needs Node $OLDEST or newer, with npm: install the packages nodejs and npm" >&2
  exit 1
fi
if [ "$(node -p 'parseInt(process.versions.node)')" -lt "$OLDEST" ]; then
  echo "web/ needs Node $OLDEST or newer, but $(command -v node) is $(node --version)" >&2
  exit 1
fi
# npm writes this file last
if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund
fi
npx tsc --noEmit
node build.mjs "$@"
