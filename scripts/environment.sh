# Sourced by the other scripts: makes the virtual environment .venv in the clone, with Python 3.11 or newer, and sets
# $python to its interpreter. On Debian and Ubuntu it installs missing system packages; elsewhere it says what to do.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

has() { command -v "$1" > /dev/null 2>&1; }

fail() {
    echo "$*" >&2
    exit 1
}

# Runs apt-get as root, or with sudo (and prints that); fails if neither is possible.
apt_get() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive apt-get "$@"
    elif has sudo; then
        echo "sudo apt-get $*" >&2
        sudo env DEBIAN_FRONTEND=noninteractive apt-get "$@"
    else
        return 1
    fi
}

# Installs Debian packages. If updating the package lists fails, it tries anyway.
install_packages() {
    has apt-get || return 1
    apt_get update -qq || true
    apt_get install -qq -y "$@" > /dev/null
}

# Installs the Fashion-MNIST images if the system has a package of them.
install_images() {
    if [ ! -d /usr/share/datasets/fashion-mnist ] && has apt-get; then
        echo "Installing the images (package dataset-fashion-mnist) ..." >&2
        install_packages dataset-fashion-mnist || echo "That did not work; they will be downloaded instead." >&2
    fi
}

# Prints the name of the newest suitable interpreter.
find_python() {
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if has "$name" && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

# Makes a new .venv with the interpreter $1.
make_venv() {
    rm -rf .venv
    "$1" -m venv .venv
}

case "$(uname -s)" in MINGW* | MSYS* | CYGWIN*) fail "On Windows, use the three lines for PowerShell in docs/install.md." ;; esac

base=$(find_python) ||
    { install_packages python3 python3-venv && base=$(find_python); } ||
    { install_packages python3.12 python3.12-venv && base=$(find_python); } ||
    { install_packages python3.11 python3.11-venv && base=$(find_python); } ||
    fail "This needs Python 3.11 or newer, and none was found. Install one and run this again."

python=.venv/bin/python
if ! "$python" -m pip --version > /dev/null 2>&1; then # there is none yet, or making it was interrupted
    echo "Making the virtual environment .venv with $("$base" --version) ..." >&2
    if ! problem=$(make_venv "$base" 2>&1); then
        # Debian's python3 comes without the venv module
        version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_packages "python$version-venv" && make_venv "$base" || fail "Could not make a virtual environment: $problem"
    fi
fi
