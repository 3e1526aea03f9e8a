"""How should images become squares, and what should lie under transparent pixels?

    python benchmarks/research/image_reading.py fit FOLDER ... [--seeds 3] [--epochs 30] [--image-size 64]
    python benchmarks/research/image_reading.py background FOLDER ...

trains photo-cnn on each folder of images, as `cnn train FOLDER --val 0.3` does, with each way to read them, and prints
the accuracy on the held-out images after the last epoch: the mean over the seeds, each of which has another split. Each
way is compared with the first one seed by seed; +- is the standard error of the mean difference. docs/decisions/010
quotes the results.
"""

import argparse
import math
import statistics

import cnn
from cnn import training
from cnn.cli import datasets, train_recipes
from cnn.cli.datasets import model_inputs
from cnn.cli.train_settings import settings_for
from cnn.data.image_fit import BACKGROUNDS, FITS

WAYS = {"fit": FITS, "background": BACKGROUNDS}


def accuracy(folder: str, seed: int, epochs: int, image_size: int, **way: str) -> float:
    """Train once, and return the accuracy on the held-out images."""
    dataset = datasets.load(folder, seed, quiet=True, image_size=image_size, validation=0.3, **way)
    settings = settings_for(folder, epochs=epochs, seed=seed, image_size=image_size)
    cnn.manual_seed(seed)
    plan = train_recipes.plan(dataset, settings)
    for step in training.train(plan.model, plan.loader, epochs=epochs, callbacks=plan.callbacks):
        plan.after_step(step)
    x, y = dataset.validation
    return plan.model.evaluate(model_inputs(plan.model, x), y)[1]


def main() -> None:
    """Compare the ways on each folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compare", choices=WAYS)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--image-size", type=int, default=64)
    args = parser.parse_args()
    cnn.set_num_threads(1)
    for folder in args.folders:
        results = {
            way: [
                100 * accuracy(folder, seed, args.epochs, args.image_size, **{args.compare: way})
                for seed in range(args.seeds)
            ]
            for way in WAYS[args.compare]
        }
        first = next(iter(results.values()))
        for way, values in results.items():
            differences = [a - b for a, b in zip(values, first, strict=True)]
            error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0
            shown = " ".join(f"{value:.1f}" for value in values)
            print(
                f"{folder}  {way:8}  {statistics.mean(values):.1f} %  ({shown})  "
                f"{statistics.mean(differences):+.1f} +- {error:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
