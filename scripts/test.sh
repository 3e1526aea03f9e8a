#!/usr/bin/env bash
# Sets up .venv with everything that the tests need, including PyTorch, and runs them; arguments are passed to pytest.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

echo "Installing the library and the requirements of its tests ..." >&2
"$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
"$python" -m pytest "$@"
