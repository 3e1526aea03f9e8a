#!/usr/bin/env bash
# From a fresh clone to a trained model in one command, on Debian, Ubuntu, macOS and most other systems with bash:
#   1. a virtual environment in .venv, with this package in it;
#   2. the Fashion-MNIST images: from the package of Debian and Ubuntu if there is apt-get (it asks for your password
#      if you are not root); otherwise the library downloads them, 30 MB, when it needs them;
#   3. training, which takes minutes, prints how long it will take, and writes a folder in runs/.
# It leaves behind: .venv and runs in this folder, pip's cache, and the system packages that it had to install:
# dataset-fashion-mnist and, if they were missing, Python and its venv module.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

echo "Installing the library ..." >&2
# with the compiled kernels, which train two to three times as fast; without them if Numba cannot be installed
"$python" -m pip install --quiet --disable-pip-version-check -e ".[fast]" ||
    "$python" -m pip install --quiet --disable-pip-version-check -e .

install_images

.venv/bin/cnn train fashion-mnist
