#!/usr/bin/env bash
# From a fresh clone to a trained model, in one command, on Debian, Ubuntu, macOS and most other systems with bash:
#   1. a virtual environment in .venv, with this package in it;
#   2. the Fashion-MNIST images: Debian's and Ubuntu's package of them where there is apt-get (it asks for your password
#      if you are not root); otherwise the library downloads them, 30 MB, when it needs them;
#   3. training, which takes minutes, says how many, and leaves a folder in runs/.
# What it leaves behind: .venv and runs here, pip's cache, and the system packages that it had to install: dataset-fashion-mnist
# and, where they were missing, Python and its module venv.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

echo "Installing the library ..." >&2
# with the compiled kernels, which train two to three times as fast; without them where Numba has no package
"$python" -m pip install --quiet --disable-pip-version-check -e ".[fast]" ||
    "$python" -m pip install --quiet --disable-pip-version-check -e .

install_images

.venv/bin/cnn train fashion-mnist
