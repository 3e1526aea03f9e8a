"""`cnn explore`: make one HTML file in which one sees what a net does with images, or serve it."""

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

import cnn.explore
from cnn.cli import datasets, explore_live, labelled_images, model_arguments, run_folders, run_images
from cnn.cli.formatting import sample_shape_text, training_text
from cnn.cli.parser import Parser
from cnn.cli.predict_images import expand_patterns, files_in, looks_like_an_image, read_for_model
from cnn.cli.terminal import print_stderr, print_stdout
from cnn.core.files import parse_json
from cnn.core.text import printable
from cnn.explore.gallery import COUNT
from cnn.module import Array
from cnn.sequential import Sequential

DESCRIPTION = "Make a page in which you look inside a net: every number, forward and backward."
EXAMPLE = """\
example:
  cnn explore runs/fashion-mnist-1
writes fashion-mnist-1.html. It opens in a browser from disk, asks no server for anything, and can be sent by mail. It
shows 12 test images: some right, some wrong, and those of which the net is least sure. Of each it contains every
activation and every gradient, as the net computed them.

example, with images of your own:
  cnn explore runs/flowers-1 --images photos --out flowers.html
  cnn explore --model fashion --images shoe.jpg bag.jpg
The page contains the images that you give. In a folder with one folder for each class of the net, the true classes are
known. Of a large folder a sample is taken.

example, with an area to draw, for images that you drop or paste, or choose as files:
  cnn explore --model fashion --live
This writes no file, and needs no images to start. It serves the page on this machine alone, and prints its address.
Each image goes to the net, and comes back with every number. Ctrl-C ends the server."""

Found = tuple[Array, Array | None, list[str], list[str]]  # images, true classes, names, notes


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `cnn explore`."""
    model_arguments.add_arguments(parser)
    images = f"image files, patterns or folders (default: some of the run's test images); at most {COUNT} are shown"
    parser.add_argument("--images", nargs="+", metavar="IMAGE", help=images)
    out = "the file to write; an old one is replaced (default: the name of the run, in the current folder)"
    parser.add_argument("--out", type=Path, metavar="FILE.html", help=out)
    explore_live.add_arguments(parser)


def check(args: argparse.Namespace) -> None:
    """Check the name of the file, and expand patterns in the names of the images."""
    if args.out is not None and args.out.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"argument --out: expected a name that ends in .html, got {str(args.out)!r}")
    if args.images and "" in args.images:
        raise ValueError("argument --images: the name is empty: write . for the current folder")
    explore_live.check(args)
    args.images = expand_patterns(args.images) if args.images else None


def run(args: argparse.Namespace) -> int:
    """Write the page and print what it is, or serve it; return the exit status."""
    path = model_arguments.find_model(args.run)
    model, config = model_arguments.load_model(path), run_folders.read_config(path)
    name = path.stem if path.name != run_folders.MODEL else path.resolve().parent.name
    if model.input_shape is None:
        raise ValueError(
            f"{path} does not contain the shape of its inputs: set model.input_shape = (1, 28, 28) before save"
        )
    with explore_live.listen(args.port, model) if args.live else nullcontext() as listener:
        if args.images:
            x, y, names, notes = _given(args.images, model)
        elif args.live and config.get("data") is None:
            x, y, names, notes = explore_live.nothing_drawn(model)
        else:
            x, y, names, notes = _of_run(path, model, config)
        if config:
            notes.insert(0, f"{training_text(config)}.")
        print_stderr("computing every activation and gradient ...")
        page = cnn.explore.page(model, x, y, names=names, title=f"Inside {name}", history=_history(path), notes=notes)
        if listener is not None:
            return explore_live.serve(page, model, x, listener)
    out = args.out or Path(f"{name}.html")
    page.save(out)
    print_stdout(f"{printable(out)}: {len(page.text) / 1e6:.1f} MB; it contains the images that it shows")
    return 0


def _of_run(path: Path, model: Sequential, config: dict[str, Any]) -> Found:
    """Return images on which the net of a run was not trained."""
    name = config.get("data")
    if name is None:
        _check_images(model)
        raise ValueError(
            f"{printable(path)} does not name its training data: give images, --images FOLDER or FILE ..., "
            "or draw them with --live"
        )
    if name in datasets.NAMES:
        if datasets.expected(name)[1] != tuple(model.input_shape or ()):
            raise ValueError(f"the model does not take images of {name}: give others, --images FOLDER or FILE ...")
        data = datasets.load(name, int(config.get("seed", 0)))
        x, y = data.test
        one = "image" if data.has_images else "point"
        return x, y, [f"test {one} {i}" for i in range(len(x))], [f"Data: test {data.kind} of {data.title}."]
    if not Path(name).is_dir():
        raise ValueError(f"the folder of the run, {printable(name)}, is gone: give images, --images FOLDER or FILE ...")
    print_stderr(f"reading the images in {printable(name)} ...")
    saved = run_images.read(path.parent)
    images = labelled_images.load(Path(name), model, saved)
    for line in images.told:
        print_stderr(line)
    names = [f"image {i}" for i in range(len(images.x))]
    return images.x, images.y, names, [f"Data: {images.what}, from the folder {printable(Path(name).name)}."]


def _given(given: list[str], model: Sequential) -> Found:
    """Return the images that were given, at most as many as a page shows."""
    shape = _check_images(model)
    listed = [[file for file in files_in(each) if looks_like_an_image(file)] for each in given if Path(each).is_dir()]
    files = [file for folder in listed for file in folder] + [each for each in given if not Path(each).is_dir()]
    if not files:
        raise ValueError(
            f"there is no image in {', '.join(map(printable, given))}: give others, --images FOLDER or FILE"
        )
    notes = []
    if len(files) > COUNT:
        notes = [f"A sample: {COUNT} of {len(files):,} images that were given, at equal distances."]
        files = [files[i * len(files) // COUNT] for i in range(COUNT)]
    read, kept = [], []
    for file in files:
        try:
            read.append(read_for_model(file, shape, preprocessing=model.preprocessing))
            kept.append(file)
        except (OSError, ValueError) as error:
            if len(files) == 1:
                raise
            print_stderr(f"left out: {error}")
    if not read:
        raise ValueError("none of the images can be read")
    if any(image.inverted for image in read):
        notes.append("Dark objects on white were inverted, because the net has learned from light ones on black.")
    folders = [Path(file).resolve().parent.name for file in kept]
    classes = model.class_names or []
    y = np.array([classes.index(name) for name in folders]) if all(name in classes for name in folders) else None
    return np.stack([image.pixels for image in read]), y, [Path(file).name for file in kept], notes


def _check_images(model: Sequential) -> tuple[int, ...]:
    """Return the shape of the model's inputs, after checking that image files can be read for it."""
    shape = model.input_shape or ()
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model takes {sample_shape_text(shape)}, not images: use cnn.explore.page in Python")
    return shape


def _history(path: Path) -> list[dict[str, float]]:
    """Return the metrics of each epoch of a run, as far as they are there."""
    file = path.with_name(run_folders.HISTORY)
    if path.name != run_folders.MODEL or not file.is_file():
        return []
    lines = [parse_json(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [{k: v for k, v in line.items() if isinstance(v, (int, float))} for line in lines if isinstance(line, dict)]
