"""How `cnn train --balance` was found: weights in the loss, or rare classes drawn more often?

python benchmarks/research/balance.py SETS TEST_SETS NAME ...
    SETS has a folder for each named data set, with a folder of images for each class; TEST_SETS the same with other
    images. Prints a line of JSON for each training: "balanced" is the mean over the classes of the share of their test
    images that are predicted correctly, "rare" the same for the third of the classes with the fewest images.

The training images are made uneven: the sizes of the classes fall from the largest to a twentieth of it, in a random
order of the classes. Images have 32 x 32 pixels.
"""

import json
import sys
from pathlib import Path

import numpy as np

import cnn
from cnn import training, zoo
from cnn.cli.augmentation import transforms
from cnn.cli.train_recipes import balanced_weights, standardize
from cnn.cli.trials import reduced
from cnn.core.rng import generator
from cnn.data import DataLoader, Normalize
from cnn.data.folder import image_folder
from cnn.loss import CrossEntropyLoss
from cnn.metrics import class_report
from cnn.optim import Adam

RATIO, EPOCHS, LR, SIDE = 20, 60, 3e-3, 32
WAYS = ("as they are", "weights", "drawn")


def uneven(x, y, rng):
    """Return a part of the samples with classes from the largest to 1 / RATIO of it, and the classes in this order."""
    order = rng.permutation(y.max() + 1)
    most = np.bincount(y).min()
    counts = [max(1, round(most * RATIO ** (-rank / (len(order) - 1)))) for rank in range(len(order))]
    kept = np.sort(np.concatenate([np.flatnonzero(y == k)[:n] for k, n in zip(order, counts, strict=True)]))
    return x[kept], y[kept], order


def train(x, y, classes, way, seed):
    """Train in one of the ways, and return the model."""
    cnn.manual_seed(seed)
    model = zoo.photo_cnn(x.shape[1:], classes)
    weight = balanced_weights(y, classes) if way == "weights" else None
    model.loss_func, model.optimizer = CrossEntropyLoss(weight=weight), Adam(lr=LR)
    model.preprocessing = standardize(x)
    changes = [*transforms("light", (SIDE, SIDE)), Normalize(**model.preprocessing)]
    draw_weights = "balanced" if way == "drawn" else None
    loader = DataLoader(x, y, 16, rng=generator(), transforms=changes, draw_weights=draw_weights)
    for step in training.train(model, loader, epochs=EPOCHS):
        model.optimizer.lr = LR * (1 - step.progress)
    return model


def main():
    """Train on each data set with two seeds in each way."""
    sets, test_sets, *names = sys.argv[1:]
    cnn.set_num_threads(1)
    for seed in (0, 1):
        for name in names:
            found = image_folder(Path(sets, name), 64, 0.2, seed)
            others = image_folder(Path(test_sets, name), 64, 0.5, 0, found.train[0].shape[1] == 1)
            x_test, y_test = (np.concatenate(parts) for parts in zip(others.train, others.validation, strict=True))
            x, y, order = uneven(reduced(found.train[0]), found.train[1], np.random.default_rng(seed))
            for way in WAYS:
                model = train(x, y, len(found.class_names), way, seed)
                report = class_report(y_test, model.predict(model.preprocess(reduced(x_test))), found.class_names)
                rare = report.recall[order[-len(order) // 3 :]].mean()
                row = {"set": name, "seed": seed, "way": way, "images": len(x)}
                row |= {"balanced": round(report.macro["recall"], 3), "rare": round(float(rare), 3)}
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
