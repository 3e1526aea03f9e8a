"""How long does an epoch of Fashion-MNIST take, data loading included, here and in PyTorch? Prints seconds and ratios.

python benchmarks/epoch.py [IMAGES [ROUNDS]]

The default model is trained as `cnn train` does it. PyTorch trains its counterpart with a DataLoader over a
TensorDataset, and with plain indexing of tensors. After a warm-up the programs take turns, ROUNDS times, on the first
IMAGES images (default 5 and 12,000), with the same number of threads and batches of 64. PyTorch's faster memory format
counts. Seconds are scaled to all 60,000 images.
"""

import statistics
import sys
import time

import torch
from torch.utils.data import DataLoader, TensorDataset

import cnn
from cnn import training, zoo
from cnn.bench import pytorch
from cnn.bench.machine import OtherPrograms
from cnn.cli.train_recipes import standardize
from cnn.cli.train_settings import IMAGE_SETTINGS as SETTINGS
from cnn.data import fashion_mnist
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

WARMUP = 20 * SETTINGS.batch_size  # images
TARGETS = {  # of our time by PyTorch's
    "DataLoader": 0.7,
    "indexing": 0.9,
}


def our_epoch(model, x, y):
    for _ in training.train(model, x, y, epochs=1, batch_size=SETTINGS.batch_size, rng=0):
        pass


def with_loader(x, y):
    return DataLoader(TensorDataset(x, y), batch_size=SETTINGS.batch_size, shuffle=True)


def with_indexing(x, y):
    for part in torch.randperm(len(x)).split(SETTINGS.batch_size):
        yield x[part], y[part]


def their_epoch(model, optimizer, batches, memory_format):
    loss_func = torch.nn.CrossEntropyLoss()
    for x, y in batches:
        optimizer.zero_grad()
        loss_func(model(x.contiguous(memory_format=memory_format)), y).backward()
        optimizer.step()


def programs(x, y):
    """Return functions by name; ``function(count)`` trains on ``count`` images."""
    cnn.manual_seed(0)
    model = zoo.small_cnn()
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam(lr=SETTINGS.lr)
    model.preprocessing = standardize(x)
    x = model.preprocess(x)
    found = {"cnn": lambda count: our_epoch(model, x[:count], y[:count])}
    theirs_x, theirs_y = torch.from_numpy(x), torch.from_numpy(y).long()
    for loading, batches in (("DataLoader", with_loader), ("indexing", with_indexing)):
        for name in pytorch.FORMATS:
            memory_format = getattr(torch, name if name == pytorch.CHANNELS_LAST else "contiguous_format")
            counterpart = pytorch.counterpart(model, without_softmax=True).to(memory_format=memory_format)
            optimizer = torch.optim.Adam(counterpart.parameters(), lr=SETTINGS.lr)

            def run(count, counterpart=counterpart, optimizer=optimizer, batches=batches, memory_format=memory_format):
                their_epoch(counterpart, optimizer, batches(theirs_x[:count], theirs_y[:count]), memory_format)

            found[f"{loading}, {name}"] = run
    return found


def main(images=12_000, rounds=5):
    x, y, _, _ = fashion_mnist()
    images = min(images, len(x))
    runs = programs(x, y)
    seconds = {name: [] for name in runs}
    with pytorch.threads(cnn.get_num_threads()), OtherPrograms() as others:
        for run in runs.values():
            run(min(WARMUP, images))
        for _ in range(rounds):
            for name, run in runs.items():
                time.sleep(0.02)  # OpenMP's threads keep spinning for some time
                began = time.perf_counter()
                run(images)
                seconds[name].append((time.perf_counter() - began) * len(x) / images)
    print(f"an epoch of {len(x):,} images, from {rounds} rounds of {images:,}; {cnn.get_num_threads()} threads")
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    for name, median in medians.items():
        print(f"{median:8.2f} s  {name}")
    for loading, target in TARGETS.items():
        better = min((name for name in medians if name.startswith(loading)), key=medians.get)
        ratio = medians["cnn"] / medians[better]
        pairs = sorted(a / b for a, b in zip(seconds["cnn"], seconds[better], strict=True))
        verdict = "reached" if ratio <= target else "not reached"
        spread = f"round by round {pairs[0]:.2f} to {pairs[-1]:.2f}"
        print(f"ours by PyTorch's with {better}: {ratio:.2f} ({spread}), at most {target}: {verdict}")
    if others.share is not None:
        print(f"other programs took {others.share:.0%} of the processors during the measurement")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
