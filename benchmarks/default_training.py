"""Which settings are good for the default training? Trains the small CNN in PyTorch, where a run takes half the time.

python benchmarks/default_training.py EPOCHS BATCH LR DROPOUT WARMUP [SEEDS]

The learning rate rises linearly from 0 to LR over the fraction WARMUP of all steps, then falls linearly to 0. Prints
for each seed the accuracy on 5,000 validation images, which are split off at random with that seed. The test set is not
used.
"""

import statistics
import sys

import numpy as np
import torch
from torch import nn

from cnn.data import fashion_mnist


def validation_accuracy(seed, epochs, batch, lr, dropout, warmup):
    """Train with one seed and return the validation accuracy."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    x, y, _, _ = fashion_mnist()
    x, y = (torch.tensor(x).float() / 255 - 0.2860) / 0.3530, torch.tensor(y)
    order = rng.permutation(len(x))
    held_out, train = order[:5000], order[5000:]
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, 10)),
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters())
    steps, step = epochs * -(-len(train) // batch), 0
    for _ in range(epochs):
        train = rng.permutation(train)
        for start in range(0, len(train), batch):
            part = torch.from_numpy(train[start : start + batch])
            progress = step / steps
            factor = progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)
            optimizer.param_groups[0]["lr"] = lr * factor
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[part]), y[part]).backward()
            optimizer.step()
            step += 1
    model.eval()
    with torch.no_grad():
        predicted = torch.cat([model(x[part]).argmax(dim=1) for part in torch.from_numpy(held_out).split(500)])
    return float((predicted == y[held_out]).float().mean())


def main(epochs, batch, lr, dropout, warmup, seeds=2):
    settings = int(epochs), int(batch), float(lr), float(dropout), float(warmup)
    accuracies = [validation_accuracy(seed, *settings) for seed in range(int(seeds))]
    print(*(f"{accuracy:.4f}" for accuracy in accuracies), f"mean {statistics.mean(accuracies):.4f}")


if __name__ == "__main__":
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    main(*sys.argv[1:])
