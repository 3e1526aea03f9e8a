"""Made-up images, and what is read of run folders."""

import json
from pathlib import Path

from PIL import Image


def write_image(name, size=(60, 40), ground=255, thing=0, mode="L", **options):
    """A square thing in the middle of a ground, written to a file."""
    image = Image.new("RGB", size, (ground,) * 3)
    third = min(size) // 3
    place = ((size[0] - third) // 2, (size[1] - third) // 2)
    image.paste((thing,) * 3, (*place, place[0] + third, place[1] + third))
    image.convert(mode).save(name, **options)
    return Path(name)


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def config(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))
