#!/usr/bin/env bash
# Sets up .venv with all that the tests need, PyTorch included, and runs them; arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

echo "Installing the library and what its tests need ..." >&2
"$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
"$python" -m pytest "$@"
