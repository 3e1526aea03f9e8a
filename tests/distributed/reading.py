"""Which samples each rank reads, asserted in all of them; test_training.py runs it under mpiexec."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import cnn
from cnn.data import DataLoader, HorizontalFlip, Normalize, RandomCrop
from cnn.data import applying as applying_module
from cnn.data.mixing import Mixup
from cnn.data.reading import take
from cnn.layers import Conv2d, Flatten, Linear
from cnn.optim import SGD
from tests.distributed.cases import LOGITS

SAMPLES, BATCH = 22, 6  # the last batch has 4


def net():
    layers = [Conv2d(3, 2, 3, padding=1, rng=1), Flatten(), Linear(2 * 8 * 8, 3, rng=2)]
    return cnn.Sequential(layers, LOGITS, SGD(lr=0.1)).to(np.float64)


class Files:
    """The images of a folder, each read when it is asked for."""

    def __init__(self, folder):
        self.paths = sorted(folder.glob("*.png"))

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, position):
        with Image.open(self.paths[position]) as image:
            return np.moveaxis(np.asarray(image), -1, 0)


def lazy(files):
    """Images that are read one by one, and a list of those that were."""
    found = []

    class Lazy:
        def __len__(self):
            return SAMPLES

        def __getitem__(self, position):
            found.append(position)
            return files[position]

    return Lazy(), found


def own_part(ranks):
    """How many of the samples of an epoch are this rank's; one without samples in a batch runs its first."""
    sizes = [BATCH] * (SAMPLES // BATCH) + [SAMPLES % BATCH]
    parts = [ranks.part(size) for size in sizes]
    return sum(max(1, part.stop - part.start) for part in parts)


def trained(x, y, ranks, validation=None, transforms=(), forget=lambda: None):
    """Train one epoch, and return the weights; ``forget`` is called after the data have been compared."""
    model = net()

    loader = DataLoader(x, y, batch_size=BATCH, rng=3, transforms=transforms, prefetch=0)
    begin = cnn.training.shared_run.SharedRun._begin

    def begin_and_forget(run, resumed):
        begin(run, resumed)
        forget()

    cnn.training.shared_run.SharedRun._begin = begin_and_forget
    model.fit(loader, epochs=1, validation_data=validation, verbose_freq=0, ranks=ranks)
    cnn.training.shared_run.SharedRun._begin = begin
    return model.state_dict()


def equal_to_one_process(found, x, y, transforms=()):
    for name, values in trained(x, y, None, transforms=transforms).items():
        np.testing.assert_allclose(found[name], values, rtol=0, atol=1e-10, err_msg=name)


def of_a_mapped_file(ranks, folder, x, y):
    """Rows of training and validation, with random transforms and without."""
    rows = []

    def counting(data, positions, name):
        if name == "x":
            rows.extend(positions.tolist())
        return take(data, positions, name)

    applying_module.take = counting
    for transforms in ((), (HorizontalFlip(), RandomCrop(1))):
        found = trained(folder / "x.npy", y, ranks, transforms=transforms, forget=rows.clear)
        assert len(rows) == own_part(ranks), (ranks, rows)
        assert len(set(rows)) == len(rows)
        if ranks.size <= SAMPLES % BATCH:  # no rank without samples in a batch, so none is read twice
            assert sorted(position for each in ranks.gather_json(rows) for position in each) == list(range(SAMPLES))
        applying_module.take = take
        equal_to_one_process(found, folder / "x.npy", y, transforms)
        applying_module.take = counting
    validation = DataLoader(folder / "x.npy", y, batch_size=BATCH)
    trained(x, y, ranks, validation, forget=rows.clear)
    assert len(rows) == 2 * own_part(ranks)
    applying_module.take = take


def of_files(ranks, folder, x, y):
    """Files of a folder that are read one by one, with random transforms."""
    files = Files(folder / "images")
    data, found = lazy(files)
    transforms = (RandomCrop(1), Normalize([0.5] * 3, [0.5] * 3))
    weights = trained(data, y, ranks, transforms=transforms, forget=found.clear)
    read = set(found)
    assert len(read) == own_part(ranks), (ranks, found)
    equal_to_one_process(weights, files, y, transforms)


def of_a_mix(ranks, folder, x, y):
    """A transform that mixes samples, and one of your own that does not say that it does not, needs all of them."""
    for transform in (Mixup(classes=3), lambda x, y, rng: (x, y)):
        data, found = lazy(x)
        weights = trained(data, y, ranks, transforms=(transform,), forget=found.clear)
        assert set(found) == set(range(SAMPLES))
        equal_to_one_process(weights, x, y, (transform,))

    def own(x, y, rng):
        return x + rng.uniform()[:, None, None, None], y

    own.mixes_samples = False
    data, found = lazy(x)
    weights = trained(data, y, ranks, transforms=(own,), forget=found.clear)
    assert len(set(found)) == own_part(ranks)
    equal_to_one_process(weights, x, y, (own,))


def main():
    folder = Path(sys.argv[1])
    ranks = cnn.distributed.world()
    ranks.stall_seconds = 60
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(SAMPLES, 3, 8, 8)), rng.integers(0, 3, SAMPLES)
    if ranks.rank == 0:
        np.save(folder / "x.npy", x)
        (folder / "images").mkdir()
        for number in range(SAMPLES):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
    ranks.add([0])  # the files are there
    for check in (of_a_mapped_file, of_files, of_a_mix):
        check(ranks, folder, x, y)
    sys.stdout.write(f"rank {ranks.rank} has come to the end\n")


if __name__ == "__main__":
    main()
