#!/usr/bin/env bash
# Opens pages of the site that scripts/docs.sh has built, in light and dark and 320 pixels wide: axe, and what is cut off.
# Arguments are passed to Playwright.
set -euo pipefail
cd "$(dirname "$0")"
./build.sh --verify
npx playwright test --config site.config.ts "$@"
