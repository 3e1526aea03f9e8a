"""How `cnn train --augment auto` was found: full trainings and trials with each kind of changes, on real images.

python benchmarks/research/augmentation.py SETS TEST_SETS [--seeds N] [--small] [--only NAME ...]
    SETS has a folder for each data set, with a folder of images for each class; TEST_SETS the same with other images.
    A second call continues with what is missing in docs/results/augmentation.jsonl.
python benchmarks/research/augmentation.py --table
    print what `auto` chooses, with other rules too, and the accuracy on the test images of each choice

Each line of the file is one training with its validation and test accuracy ("full"), or one trial with the loss of
each of its images ("trial"). With --small, the full trainings have images of 32 x 32 pixels, as the trials: so they
take a quarter of the time. A choice is made by the trials alone; the test images are only looked at in the table.
"""

import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import numpy as np

import cnn
from cnn import training
from cnn.cli import datasets, train_recipes, trial_losses, trials
from cnn.cli.augmentation import NAMES, image_size, transforms
from cnn.cli.train_settings import FOLDER_SETTINGS
from cnn.data.folder import image_folder

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "augmentation.jsonl"


def full(dataset, test, settings, name):
    """Train as `cnn train FOLDER --augment NAME` does: -> accuracy on the validation and the test images"""
    changed = dataclasses.replace(dataset, transforms=transforms(name, image_size(dataset)))
    cnn.manual_seed(settings.seed)
    plan = train_recipes.plan(changed, settings)
    for step in training.train(plan.model, plan.loader, epochs=settings.epochs):
        plan.after_step(step)
    inputs = ((datasets.model_inputs(plan.model, x), y) for x, y in (dataset.validation, test))
    return [plan.model.evaluate(x, y)[1] for x, y in inputs]


def run(arguments):
    """Run all trainings that are missing in the file, seed by seed and set by set."""
    done = {(row["kind"], row["set"], row["seed"], row["name"]) for row in rows()}
    kind = "small" if arguments.small else "full"
    for seed in range(arguments.seeds):
        for folder in sorted(path for path in arguments.sets.iterdir() if path.is_dir()):
            if arguments.only and folder.name not in arguments.only:
                continue
            missing = [(k, n) for n in NAMES for k in ("trial", kind) if (k, folder.name, seed, n) not in done]
            if not missing:
                continue
            dataset = datasets.load(str(folder), seed, quiet=True)
            grey = dataset.input_shape[0] == 1
            others = image_folder(arguments.test_sets / folder.name, image_size(dataset), 0.5, 0, grey)
            test = tuple(np.concatenate(parts) for parts in zip(others.train, others.validation, strict=True))
            settings = dataclasses.replace(FOLDER_SETTINGS, seed=seed)
            halves = trials.halve(dataset, seed)
            epochs = trials.trial_epochs(dataset, halves, settings.epochs)
            if arguments.small:
                parts = ((trials.reduced(x), y) for x, y in (dataset.train, dataset.validation, test))
                train, validation, test = parts
                dataset = dataclasses.replace(dataset, train=train, validation=validation, test=validation)
            for which, name in missing:
                began = time.perf_counter()
                row = {"kind": which, "set": folder.name, "seed": seed, "name": name}
                if which == "trial":
                    losses, accuracy = trials.trial(halves, dataclasses.replace(settings, epochs=epochs), name)
                    row |= {"accuracy": accuracy, "losses": losses.round(4).tolist()}
                    y, groups = trials.trial_labels(halves)
                    row |= {"labels": y.tolist(), "groups": groups}
                else:
                    row |= dict(zip(("validation", "test"), full(dataset, test, settings, name), strict=True))
                row |= {"images": len(dataset.train[0]), "seconds": round(time.perf_counter() - began, 1)}
                with RESULTS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print({key: value for key, value in row.items() if key != "losses"}, flush=True)


def rows():
    """Return the lines of the file."""
    return [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.exists() else []


def table():
    """Print the accuracy on test images with each kind of changes and with what the trials choose."""
    found = {(row["kind"], row["set"], row["seed"], row["name"]): row for row in rows()}
    for kind in ("full", "small"):
        keys = sorted({key[1:3] for key in found if key[0] == kind})
        complete = [key for key in keys if all((k, *key, name) in found for name in NAMES for k in ("trial", kind))]
        if not complete:
            continue
        print(f"{kind}: test accuracy in per cent; * is what the trials choose")
        print(f"{'set':16} seed  " + "".join(f"{name:>13}" for name in NAMES))
        chosen = {}
        for name, seed in complete:
            losses = {each: np.array(found["trial", name, seed, each]["losses"]) for each in NAMES}
            first = found["trial", name, seed, "none"]
            chosen[name, seed] = trial_losses.decide(losses.__getitem__, np.array(first["labels"]), first["groups"])
            accuracies = [100 * found[kind, name, seed, each]["test"] for each in NAMES]
            marks = ["*" if each == chosen[name, seed] else " " for each in NAMES]
            texts = [f"{accuracy:12.1f}{mark}" for accuracy, mark in zip(accuracies, marks, strict=True)]
            print(f"{name:16} {seed:4}  " + "".join(texts))
        print("auto minus the best fixed choice of each set, means over the seeds, with the paired standard error:")
        lost = []
        for name in sorted({name for name, _ in complete}):
            seeds = [seed for other, seed in complete if other == name]
            fixed = {each: [100 * found[kind, name, seed, each]["test"] for seed in seeds] for each in NAMES}
            auto = [100 * found[kind, name, seed, chosen[name, seed]]["test"] for seed in seeds]
            best = max(fixed, key=lambda each: np.mean(fixed[each]))
            difference = np.subtract(auto, fixed[best])
            error = difference.std(ddof=1) / math.sqrt(len(seeds)) if len(seeds) > 1 else math.nan
            print(f"{name:16} {difference.mean():+5.1f} +- {error:.1f}  ({best})")
            lost.append(difference.mean())
        print(f"mean over the sets {np.mean(lost):+.2f}")


def main():
    """Read the arguments, and run or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="?")
    parser.add_argument("test_sets", type=Path, nargs="?")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    cnn.set_num_threads(1)
    if arguments.table:
        table()
    else:
        run(arguments)


if __name__ == "__main__":
    main()
