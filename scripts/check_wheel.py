"""Check that a wheel holds the package cnn alone, with its mark that it is typed: python scripts/check_wheel.py FILE"""

import sys
import zipfile

names = zipfile.ZipFile(sys.argv[1]).namelist()
strangers = [name for name in names if not name.startswith(("cnn/", "cnn-"))]
if strangers or "cnn/py.typed" not in names:
    sys.exit(f"the wheel must hold cnn alone, with cnn/py.typed; it also holds {strangers}")
print(f"the wheel holds {len(names)} files, all of them in cnn or about it")
