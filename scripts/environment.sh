# Sourced by the other scripts: makes the virtual environment .venv beside this folder, with Python 3.11 or newer.
# Sets $python to its interpreter. On Debian and Ubuntu it installs what the system lacks for that; elsewhere it says what to do.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

has() { command -v "$1" > /dev/null 2>&1; }

# Runs apt-get as root, or through sudo; fails where neither is there.
apt_get() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive apt-get "$@"
    elif has sudo; then
        echo "sudo apt-get $*" >&2
        sudo DEBIAN_FRONTEND=noninteractive apt-get "$@"
    else
        return 1
    fi
}

# Installs Debian packages, with the list of packages fetched first.
install_packages() {
    has apt-get && apt_get update -qq && apt_get install -qq -y "$@" > /dev/null
}

# Prints the newest interpreter that is new enough.
find_python() {
    for name in python3.14 python3.13 python3.12 python3.11 python3 python; do
        if has "$name" && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

base=$(find_python) || { install_packages python3 python3-venv && base=$(find_python); } || {
    echo "This needs Python 3.11 or newer, and none was found. Install one and run this again." >&2
    exit 1
}
if [ ! -x .venv/bin/python ]; then
    echo "Making the virtual environment .venv with $("$base" --version) ..." >&2
    "$base" -m venv .venv > /dev/null 2>&1 || {
        rm -rf .venv  # Debian's python3 comes without what makes environments
        version=$("$base" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        install_packages "python$version-venv" && "$base" -m venv .venv
    } || {
        echo "Could not make a virtual environment: install your system's package for Python's venv module." >&2
        exit 1
    }
fi
python=.venv/bin/python
