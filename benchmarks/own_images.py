"""`cnn train FOLDER` on real images: against simple baselines, against PyTorch, and with other options.

python benchmarks/own_images.py CACHE RESULTS [--sets ...] [--seeds ...] [--programs ...] [--variant NAME=OPTIONS ...]
python benchmarks/own_images.py CACHE RESULTS --table

The sets are those of own_image_sets.py, which fetches them into CACHE. RESULTS is a file of JSON lines: each run adds
one, and a run that is there is not repeated. Programs: `cnn`, the command with its defaults; `logistic` and `svm`,
scikit-learn's classifiers on 16 x 16 pixels, with a C that cross-validation on the training images chose; `torch`,
the same net, loss, optimizer, schedule, number of epochs and validation images in PyTorch, with PyTorch's initial
weights, fed by the loader of this library with the same random changes. All are tested on the same images, which
nothing has chosen by. A variant is the command with more options, such as --variant "light=--augment light".
scikit-learn and torch are needed for their programs only.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import own_image_sets as sets
import recipes
from own_image_tables import DEFAULT, PROGRAMS, Result, tables

import cnn
from cnn.cli import augmentation, datasets, train_recipes
from cnn.cli.train_settings import settings_for
from cnn.data.folder import image_folder

BASELINE_SIZE = 16  # pixels
SIZES_OF_C = {"logistic": (1e-4, 1e-3, 1e-2, 1e-1), "svm": (0.1, 1.0, 10.0, 100.0)}


def train(name: str, cache: Path, seed: int, options: list[str]) -> Result:
    """Run `cnn train` with options, then `cnn evaluate` on the test images."""
    to_train, to_test = sets.folders(cache, name)
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder, "run"))
        trained = command("train", str(to_train), "--seed", str(seed), "--out", run, "--quiet", *options)
        tested = command("evaluate", run, "--data", str(to_test))
    found = {"accuracy": tested["accuracy"], "loss": tested["loss"], "changes": trained["augmentation"]["chosen"]}
    return found | {"trials": trained["augmentation"].get("trials", [])}


def command(*arguments: str) -> Result:
    """Run a command of the library and return its JSON."""
    line = [sys.executable, "-m", "cnn", *arguments, "--json"]
    done = subprocess.run(line, check=True, text=True, stdout=subprocess.PIPE)
    found: Result = json.loads(done.stdout)
    return found


def train_torch(name: str, cache: Path, seed: int, changes: str) -> Result:
    """Train the same net in PyTorch with the same settings, and with the random changes of this name."""
    import torch

    to_train, to_test = sets.folders(cache, name)
    chosen = settings_for(str(to_train), seed=seed)
    dataset = datasets.load(str(to_train), seed, quiet=True, image_size=chosen.image_size, validation=chosen.validation)
    dataset = replace(dataset, transforms=augmentation.transforms(changes, augmentation.image_size(dataset)))
    cnn.manual_seed(seed)
    plan = train_recipes.plan(dataset, chosen)
    model = recipes.counterpart(plan.model, seed, "cpu")
    made = recipes.loss_optimizer_schedule(model, chosen, len(plan.loader))
    recipes.train_epochs(dataset, plan, chosen.epochs, model, *made)
    test = pixels(to_test, chosen.image_size, dataset.input_shape[0] == 1, dataset.image_conversion["background"])
    loss, accuracy = recipes.evaluate(model, plan, test, torch.nn.CrossEntropyLoss())
    return {"accuracy": accuracy, "loss": loss, "changes": changes}


def pixels(folder: Path, size: int, grey: bool, background: str) -> tuple[np.ndarray, np.ndarray]:
    """Return all images of a folder and their labels, with transparent pixels as in training."""
    found = image_folder(folder, size, grey=grey, background=background)
    return tuple(np.concatenate(pair) for pair in zip(found.train, found.validation, strict=True))


def fit_simple(program: str, name: str, cache: Path, seed: int) -> Result:
    """Fit a classifier of scikit-learn to small versions of the images that `cnn train` trains on."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    to_train, to_test = sets.folders(cache, name)
    found = image_folder(to_train, BASELINE_SIZE, seed=seed, grey=False)
    x, y = found.train
    x_test, y_test = pixels(to_test, BASELINE_SIZE, False, found.background)
    classifier = LogisticRegression(max_iter=500, tol=1e-3) if program == "logistic" else SVC()
    pipeline = make_pipeline(StandardScaler(), classifier)
    step = pipeline.steps[-1][0]
    folds = StratifiedKFold(4, shuffle=True, random_state=seed)
    search = GridSearchCV(pipeline, {f"{step}__C": SIZES_OF_C[program]}, cv=folds)
    search.fit(x.reshape(len(x), -1), y)
    return {"accuracy": search.score(x_test.reshape(len(x_test), -1), y_test), "C": search.best_params_[f"{step}__C"]}


def run(program: str, name: str, args: argparse.Namespace, seed: int, options: list[str]) -> Result:
    """Run a program; PyTorch with the random changes that the command chose for this set and seed."""
    cache = args.cache
    if program == "cnn":
        return train(name, cache, seed, options)
    if program == "torch":
        chosen = {key(result): result for result in stored(args.results)}.get((name, "cnn", DEFAULT, seed))
        if chosen is None:
            raise ValueError(f"run the program cnn on {name} with seed {seed} first: it chooses the random changes")
        return train_torch(name, cache, seed, chosen["changes"])
    return fit_simple(program, name, cache, seed)


def stored(results: Path) -> list[Result]:
    """Return the results that are there."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


def key(result: Result) -> tuple[str, str, str, int]:
    return result["set"], result["program"], result["variant"], result["seed"]


def run_all(args: argparse.Namespace, variants: dict[str, list[str]]) -> None:
    """Run what is not there: the first seed of everything first."""
    args.results.parent.mkdir(parents=True, exist_ok=True)
    done = {key(result) for result in stored(args.results)}
    for seed in args.seeds:
        for name in args.sets:
            for program in args.programs:
                for variant in variants if program == "cnn" else [DEFAULT]:
                    if (name, program, variant, seed) in done:
                        continue
                    began = time.perf_counter()
                    result: Result = {"set": name, "program": program, "variant": variant, "seed": seed}
                    result |= run(program, name, args, seed, variants.get(variant, []))
                    result["seconds"] = round(time.perf_counter() - began, 1)
                    with args.results.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(result) + "\n")
                    print(f"{name} {program} {variant} {seed}: {result['accuracy']:.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--sets", nargs="+", choices=sets.SETS, default=list(sets.SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--variant", action="append", default=[], metavar="NAME=OPTIONS")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        print(tables([result for result in stored(args.results) if result["seed"] in args.seeds], args.sets))
        return
    variants = {DEFAULT: []}
    for variant in args.variant:
        name, _, options = variant.partition("=")
        variants[name] = shlex.split(options)
    sets.fetch(args.cache / "packages")
    for name in args.sets:
        sets.build(args.cache, name)
    run_all(args, variants)


if __name__ == "__main__":
    main()
