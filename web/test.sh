#!/usr/bin/env bash
# Opens pages of five nets in Chromium: numbers, requests, keyboard, axe. PYTHON and CHROMIUM may name other programs.
set -euo pipefail
cd "$(dirname "$0")"
./build.sh --verify
PAGES=${PAGES:-$(mktemp -d)}
export PAGES
if [ ! -f "$PAGES/numbers.json" ]; then
  PYTHONPATH=$(realpath ..) "${PYTHON:-python3}" tests/pages.py "$PAGES"
fi
npx playwright test "$@"
