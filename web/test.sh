#!/usr/bin/env bash
# Opens pages of many nets in Chromium: numbers, requests, keyboard, axe. PYTHON and CHROMIUM may name other programs,
# PAGES a folder in which the pages stay for the next run. Arguments are passed to Playwright.
set -euo pipefail
cd "$(dirname "$0")"
./build.sh --verify
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}
if [ ! -x "$CHROMIUM" ]; then
  echo "There is no $CHROMIUM: install the package chromium, or set CHROMIUM to the browser's file" >&2
  exit 1
fi
if [ -z "${PAGES:-}" ]; then
  PAGES=$(mktemp -d)
  trap 'rm -rf "$PAGES"' EXIT
fi
export PAGES
if [ ! -f "$PAGES/numbers.json" ]; then
  PYTHONPATH=$(realpath ..) "${PYTHON:-python3}" tests/pages.py "$PAGES"
fi
npx playwright test "$@"
