"""Example images, and readers for the files of run folders."""

import json
from pathlib import Path

from PIL import Image


def write_image(name, size=(60, 40), background=255, square=0, mode="L", **options):
    """Write an image of a square in the middle of a background."""
    image = Image.new("RGB", size, (background,) * 3)
    third = min(size) // 3
    corner = ((size[0] - third) // 2, (size[1] - third) // 2)
    image.paste((square,) * 3, (*corner, corner[0] + third, corner[1] + third))
    image.convert(mode).save(name, **options)
    return Path(name)


def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def history(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def config(folder):
    return json.loads((folder / "config.json").read_text(encoding="utf-8"))
