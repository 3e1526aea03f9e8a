"""Check that a wheel contains only the package cnn, with its py.typed marker: python scripts/check_wheel.py FILE"""

import sys
import zipfile

names = zipfile.ZipFile(sys.argv[1]).namelist()
unexpected = [name for name in names if not name.startswith(("cnn/", "cnn-"))]
if unexpected or "cnn/py.typed" not in names:
    sys.exit(f"the wheel must contain only cnn, with cnn/py.typed; it also contains {unexpected}")
print(f"the wheel contains {len(names)} files, all of them in cnn or its metadata")
