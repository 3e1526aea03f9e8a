"""How should an image of any proportions become square: squashed, cropped, or padded?

    python benchmarks/research/fit.py FOLDER ... [--seeds 3] [--epochs 30]

trains photo-cnn on each folder of images, as `cnn train FOLDER --val 0.3` does, with each of the three, and prints the
accuracy on the held-out images after the last epoch: the mean over the seeds, each of which has another split. A fit
is compared with "squashed" seed by seed; +- is the standard error of the mean difference. docs/decisions/010 quotes it.
"""

import argparse
import math
import statistics

import cnn
from cnn import training
from cnn.cli import datasets, train_recipes
from cnn.cli.datasets import model_inputs
from cnn.data.image_fit import FITS, SQUASHED


def accuracy(folder: str, fit: str, seed: int, epochs: int) -> float:
    """Train once, and return the accuracy on the held-out images."""
    dataset = datasets.load(folder, seed, quiet=True, validation=0.3, fit=fit)
    settings = train_recipes.settings_for(folder, epochs=epochs, seed=seed)
    cnn.manual_seed(seed)
    plan = train_recipes.plan(dataset, settings)
    for step in training.train(plan.model, plan.loader, epochs=epochs, callbacks=plan.callbacks):
        plan.after_step(step)
    x, y = dataset.validation
    return plan.model.evaluate(model_inputs(plan.model, x), y)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()
    cnn.set_num_threads(1)
    for folder in args.folders:
        results = {fit: [100 * accuracy(folder, fit, seed, args.epochs) for seed in range(args.seeds)] for fit in FITS}
        for fit, values in results.items():
            differences = [a - b for a, b in zip(values, results[SQUASHED], strict=True)]
            error = statistics.stdev(differences) / math.sqrt(len(differences)) if len(differences) > 1 else 0
            shown = " ".join(f"{value:.1f}" for value in values)
            print(
                f"{folder}  {fit:8}  {statistics.mean(values):.1f} %  ({shown})  "
                f"{statistics.mean(differences):+.1f} +- {error:.1f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
