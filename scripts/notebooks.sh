#!/usr/bin/env bash
# Sets up .venv with everything that the notebooks need, including PyTorch, and runs all three from top to bottom:
#   bash scripts/notebooks.sh         the fast setting: checks all claims in a few minutes; the files are not changed
#   bash scripts/notebooks.sh full    the full setting, about a quarter of an hour; the outputs are written into models/
set -euo pipefail
source "$(dirname "$0")/environment.sh"

echo "Installing the library and the requirements of its notebooks ..." >&2
"$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[notebooks]"
install_images
"$python" scripts/notebooks.py "$@"
