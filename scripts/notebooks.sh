#!/usr/bin/env bash
# Sets up .venv with all that the notebooks need, PyTorch included, and runs the three from top to bottom:
#   bash scripts/notebooks.sh         the fast setting: do all claims hold? minutes; the files stay as they are
#   bash scripts/notebooks.sh full    the full setting, about a quarter of an hour; what they show is written into models/
set -euo pipefail
source "$(dirname "$0")/environment.sh"

echo "Installing the library and what its notebooks need ..." >&2
"$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[notebooks]"
install_images
"$python" scripts/notebooks.py "$@"
