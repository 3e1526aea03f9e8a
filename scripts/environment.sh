# Sourced by the other scripts: makes the virtual environment .venv in the clone, with Python 3.11 or newer, and sets $python
# to its interpreter. On Debian and Ubuntu it installs what the system lacks for that; elsewhere it says what to do.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

has() { command -v "$1" > /dev/null 2>&1; }

fail() {
    echo "$*" >&2
    exit 1
}

# Runs apt-get as root, or through sudo, and says so; fails where neither is there.
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

# Installs Debian packages. A list of packages that could not be fetched is no reason not to try.
install_packages() {
    has apt-get || return 1
    apt_get update -qq || true
    apt_get install -qq -y "$@" > /dev/null
}

# Installs the Fashion-MNIST images, where there is a package of them.
install_images() {
    if [ ! -d /usr/share/datasets/fashion-mnist ] && has apt-get; then
        echo "Installing the images (package dataset-fashion-mnist) ..." >&2
        install_packages dataset-fashion-mnist || echo "That did not work; they will be downloaded instead." >&2
    fi
}

# Prints the name of the newest interpreter that is new enough.
find_python() {
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if has "$name" && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

# Makes .venv anew with the interpreter $1.
make_venv() {
    rm -rf .venv
    "$1" -m venv .venv
}

case "$(uname -s)" in MINGW* | MSYS* | CYGWIN*) fail "On Windows, use the three lines for PowerShell in README.md." ;; esac

base=$(find_python) ||
    { install_packages python3 python3-venv && base=$(find_python); } ||
    { install_packages python3.12 python3.12-venv && base=$(find_python); } ||
    { install_packages python3.11 python3.11-venv && base=$(find_python); } ||
    fail "This needs Python 3.11 or newer, and none was found. Install one and run this again."

python=.venv/bin/python
if ! "$python" -m pip --version > /dev/null 2>&1; then # none yet, or one that was interrupted while it was made
    echo "Making the virtual environment .venv with $("$base" --version) ..." >&2
    if ! problem=$(make_venv "$base" 2>&1); then
        # Debian's python3 comes without what makes environments
        version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_packages "python$version-venv" && make_venv "$base" || fail "Could not make a virtual environment: $problem"
    fi
fi
