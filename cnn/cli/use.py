"""The commands that use a trained model or a data set: evaluate, predict, summary, data."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import cnn.data
from cnn.cli import image_files, runs, tasks
from cnn.cli.settings import DATA_SETS
from cnn.cli.terminal import note, say
from cnn.cli.words import counted, preprocessing_text, sample_text
from cnn.core.files import write_bytes
from cnn.data.images import printable
from cnn.metrics import accuracy_interval, class_report
from cnn.module import Array
from cnn.sequential import Sequential


def evaluate(args: argparse.Namespace) -> int:
    """Print loss and accuracy on a test set."""
    path = runs.find_model(args.run)
    model, config = Sequential.load(path), runs.read_config(path)
    name = args.data or config.get("data")
    if name is None:
        raise ValueError(f"{path} does not say what it was trained on: add --data NAME, as --data fashion-mnist")
    try:
        tasks.data_set(str(name))
    except ValueError as error:
        raise ValueError(f"{path.with_name(runs.CONFIG)}: {error}; --data NAME gives another") from None
    if name in DATA_SETS:
        _check_fit(model, *tasks.expected(name), name)  # before the data are fetched
        task = tasks.load(name, int(config.get("seed", 0)))
        (x, y), which = task.test, f"test {task.things}"
    else:
        task, (x, y), which = _own_images(model, str(name), config)
    loss, accuracy = model.evaluate(tasks.inputs(model, x), y)
    if args.json:
        say(
            json.dumps(
                {"model": str(path), "data": name, "samples": len(x), "loss": loss, "accuracy": accuracy}, indent=2
            )
        )
        return 0
    say(f"{path} on {task.title}, {len(x):,} {which}")
    say(f"loss      {loss:.4f}")
    right = round(accuracy * len(x))
    low, high = accuracy_interval(right, len(x))
    say(f"accuracy  {accuracy:.4f}  ({right:,} of {len(x):,} right; 95 % interval {low:.3f} to {high:.3f})")
    say(str(class_report(y, model.predict(tasks.inputs(model, x)), task.class_names)))
    return 0


def _own_images(model: Sequential, folder: str, config: dict[str, Any]) -> tuple[tasks.Task, tuple[Array, Array], str]:
    """Read a folder as the model reads images: -> (task, samples and labels, what they are).

    Of the folder that the model was trained on, the part that it did not learn from; of another one all.
    """
    shape = model.input_shape or ()
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise ValueError(f"the model reads inputs of {sample_text(shape)}, no images: give another --data")
    task = tasks.load(
        folder,
        int(config.get("seed", 0)),
        image_size=(shape[1], shape[2]),
        validation=config.get("validation"),
        grey=shape[0] == 1,
    )
    _check_fit(model, task.things, task.input_shape, task.class_names, folder)
    for line in task.skipped:
        note(line)
    if task.has_test:
        return task, task.test, "test images"
    if is_same_file(folder, str(config.get("data", ""))):
        return task, task.validation, "validation images, as it has no folder of test images"
    x, y = (np.concatenate(pair) for pair in zip(task.train, task.validation, strict=True))
    return task, (x, y), "images"


def _check_fit(model: Sequential, things: str, shape: tuple[int, ...], class_names: list[str], name: str) -> None:
    if model.input_shape is not None and tuple(model.input_shape) != shape:
        raise ValueError(
            f"the model reads inputs of {sample_text(model.input_shape)}, but {name} has {things} of "
            f"{sample_text(shape)}: give another --data"
        )
    if model.class_names is not None and list(model.class_names) != class_names:
        raise ValueError(
            f"the model knows the classes {_list(model.class_names)}, but {name} has {_list(class_names)}: "
            "give another --data"
        )


def _list(names: list[str]) -> str:
    return f"{', '.join(names[:3])} and {len(names) - 3} more" if len(names) > 4 else ", ".join(names)


def predict(args: argparse.Namespace) -> int:
    """Print the likeliest classes of each image; an image that cannot be read is named and passed over."""
    path = runs.find_model(args.run)
    model = Sequential.load(path)
    if model.input_shape is None:
        raise ValueError(
            f"{path} does not hold the shape of its inputs: set model.input_shape = (1, 28, 28) before save"
        )
    results: list[dict[str, Any]] = []
    shown = []
    for image in args.images:
        try:
            seen = image_files.look(image, model.input_shape, args.invert, model.preprocessing)
        except (OSError, ValueError) as error:
            results.append({"image": image, "error": str(error)})
            note(f"error: {error}")
            continue
        if seen.nearly_one_colour:
            where = f"see {args.show_input}" if args.show_input else "--show-input FILE shows what the net saw"
            note(f"warning: {printable(image)}: the image is nearly one colour; {where}")
        shown.append(seen.pixels)
        classes = _classes(model, seen, args.top)
        results.append(
            {"image": image, "inverted": seen.inverted, "border_brightness": seen.border, "classes": classes}
        )
        if not args.json:
            say("\n" * (len(shown) > 1) + f"{printable(image)}  ({seen.size[0]} x {seen.size[1]} pixels, {seen.why})")
            for row in classes:
                say(f"  {100 * row['probability']:5.1f} %  {row['name']}")
    if args.json:
        say(json.dumps({"model": str(path), "images": results}, indent=2))
    if args.show_input is not None and shown:
        write_bytes(args.show_input, image_files.enlarged(shown))
        note(f"what the net saw is in {args.show_input}")
    return 0 if len(shown) == len(args.images) else 1


def _classes(model: Sequential, seen: image_files.Seen, top: int) -> list[dict[str, Any]]:
    probabilities = model.predict_proba(model.preprocess(seen.pixels[None]))[0]
    names = model.class_names or [f"class {k}" for k in range(len(probabilities))]
    likeliest = np.argsort(-probabilities, kind="stable")[:top]
    return [{"name": names[k], "probability": float(probabilities[k])} for k in likeliest]


def summary(args: argparse.Namespace) -> int:
    """Print what a model is, and how it was trained if that is known."""
    path = runs.find_model(args.run)
    model, config = Sequential.load(path), runs.read_config(path)
    say(str(path))
    if config:
        say(_training(config))
    if model.class_names:
        say(f"classes: {', '.join(model.class_names)}")
    if model.preprocessing:
        say(f"inputs: {preprocessing_text(model.preprocessing)}")
    say()
    if model.input_shape is None:
        say(repr(model))
        raise ValueError(
            f"{path} does not hold the shape of its inputs, so there is no table: set model.input_shape before save"
        )
    say(repr(model.summary()))
    return 0


def _training(config: dict[str, Any]) -> str:
    """Say how a run went; a config.json that a person changed may lack any part."""
    known = {"batch_size": "batches of {}", "lr": "lr {}", "seed": "seed {}", "status": "{}"}
    parts = [f"recipe {config['recipe']}"] if "recipe" in config else []
    parts += [counted(config["epochs"], "epoch")] if "epochs" in config else []
    parts += [form.format(config[key]) for key, form in known.items() if key in config]
    if isinstance(config.get("test_accuracy"), float):
        parts.append(f"test accuracy {config['test_accuracy']:.4f}")
    return f"{config.get('model', 'a model')} trained on {config.get('data', 'unknown data')}: {', '.join(parts)}"


def data(args: argparse.Namespace) -> int:
    """Fetch a data set if it is not here yet, and print what it is."""
    facts = _spiral() if args.data == "spiral" else _published(args.data)
    if args.json:
        say(json.dumps(facts, indent=2))
        return 0
    for key in ("title", "source", "licence", "citation", "homepage", "path"):
        if key in facts:
            say(f"{key:9} {facts[key]}")
    things = "points" if args.data == "spiral" else "images"
    say(f"{things:9} {facts['train']:,} to train on, {facts['test']:,} to test with")
    say(f"{'classes':9} {', '.join(facts['classes'])}")
    return 0


def _spiral() -> dict[str, Any]:
    return {
        "name": "spiral",
        "title": "The spiral",
        "source": "made by cnn.data.spiral: nothing to fetch",
        "citation": "Stanford CS231n, Putting it together: Minimal Neural Network Case Study",
        "train": len(tasks.SPIRAL_CLASSES) * tasks.SPIRAL_POINTS,
        "test": len(tasks.SPIRAL_CLASSES) * tasks.SPIRAL_TEST_POINTS,
        "classes": tasks.SPIRAL_CLASSES,
    }


def _published(name: str) -> dict[str, Any]:
    info = cnn.data.dataset_info(name)
    dataset = cnn.data.load_dataset(info)
    _, y_train, _, y_test = dataset.arrays
    return {
        "name": info.name,
        "title": info.title,
        "source": dataset.source,
        "licence": info.licence,
        "citation": info.citation,
        "homepage": info.homepage,
        "path": str(dataset.folder),
        "train": len(y_train),
        "test": len(y_test),
        "classes": list(info.class_names),
    }


def is_same_file(a: str | Path, b: str | Path) -> bool:
    """Tell whether two names mean one file that is there."""
    try:
        return Path(a).samefile(b)
    except OSError:
        return False
