#!/usr/bin/env bash
# Sets up .venv with everything that the site needs and builds it into docs/_build, with warnings as errors; open
# docs/_build/html/index.html in a browser. Notebooks are shown as they are stored. Arguments are passed to sphinx-build.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

echo "Installing the library and the requirements of its site ..." >&2
"$python" -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs]"
"$python" -m sphinx --quiet --fail-on-warning --keep-going --jobs 2 --conf-dir docs "$@" . docs/_build/html
"$python" scripts/check_docs.py
