"""Make a set of images of random proportions from a few photographs: which photograph is this window from?

    python benchmarks/research/photo_windows.py FOLDER PHOTO ...

writes FOLDER/PHOTO/0.png and so on: a window in each of 30 separate parts of each photograph, 1:3 to 3:1, all
proportions equally likely. docs/decisions/010 uses it.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

COLUMNS, ROWS = 6, 5
SIDE = 1920  # photographs are made smaller first
MOST = 3  # the largest ratio of the sides


def main() -> None:
    """Cut the windows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("photos", nargs="+", type=Path)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    for photo in args.photos:
        image = Image.open(photo).convert("RGB")
        image.thumbnail((SIDE, SIDE))
        width, height = image.width // COLUMNS, image.height // ROWS
        (args.folder / photo.stem).mkdir(parents=True)
        for i in range(COLUMNS * ROWS):
            ratio, longer = MOST ** rng.uniform(-1, 1), min(width, height) * rng.uniform(0.7, 1)
            w, h = (longer, longer / ratio) if ratio > 1 else (longer * ratio, longer)
            x = i // ROWS * width + rng.uniform(0, width - w)
            y = i % ROWS * height + rng.uniform(0, height - h)
            window = image.crop((int(x), int(y), int(x + w), int(y + h)))
            window.save(args.folder / photo.stem / f"{i}.png")


if __name__ == "__main__":
    main()
