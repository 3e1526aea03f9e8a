"""Batches of one sample, on which a BatchNorm may not work, are found before the first step."""

from typing import Any

from cnn.data.loader import DataLoader
from cnn.errors import InputError
from cnn.layers.batchnorm import BatchNorm
from cnn.module import Array, Module, evaluating, forward_hook
from cnn.training.evaluation import EVALUATION_BATCH_SIZE, batches_in_order
from cnn.training.inputs import as_batch, dtype_of


def check_batches_of_one(model: Any, loader: DataLoader, validation_data: Any, evaluate_train: bool) -> None:
    """Raise an error if a batch would be one sample with one value per channel, on which a BatchNorm cannot work.

    In training that is every BatchNorm; in evaluation one without running statistics.
    """
    norms = {id(module): name for name, module in model.named_modules() if isinstance(module, BatchNorm)}
    if not norms:
        return
    samples, batch_size = loader.samples, loader.batch_size
    if (batch_size == 1 or samples % batch_size == 1) and (batch_size == 1 or not loader.drop_last):
        found = _norm_of_single_values(model, loader, norms)
        if found:
            raise InputError(f"{_counted(samples, batch_size)}, on which {found}, cannot train: {_fix(loader)}")
    modules = dict(model.named_modules())
    untracked = {key: name for key, name in norms.items() if not modules[name].track_running_stats}
    for what, data in (("validation_data", validation_data), ("evaluate_train", loader if evaluate_train else None)):
        if data is None or not untracked:
            continue
        if isinstance(data, DataLoader):
            samples, batch_size, fix = data.samples, data.batch_size, "change the batch_size of the loader"
        else:
            samples, batch_size, fix = len(data[0]), EVALUATION_BATCH_SIZE, "leave one sample out"
        if batch_size == 1 or samples % batch_size == 1:
            found = _norm_of_single_values(model, data, untracked)
            if found:
                raise InputError(
                    f"{what}: {_counted(samples, batch_size)}, for which {found}, has no statistics in evaluation: "
                    f"{fix}, or set track_running_stats=True"
                )


def _norm_of_single_values(model: Any, data: Any, norms: dict[int, str]) -> str:
    """Name the first of the norms that gets one value per channel of each sample; "" if there is none."""
    found: list[tuple[str, Module]] = []

    def note(module: Module, y: Array) -> None:
        if id(module) in norms and y[0].size == module.num_features:  # type: ignore[attr-defined]
            found.append((norms[id(module)], module))

    x, y = next(iter(batches_in_order(data))) if isinstance(data, DataLoader) else data
    x, _ = as_batch(x[:1], y[:1], model, dtype_of(model))
    with evaluating(), forward_hook(note):
        model(x.repeat(2, axis=0))  # two, because a norm without running statistics may refuse one
    if not found:
        return ""
    return f"layer {found[0][0]}, {found[0][1]!r}, which gets one value per channel of each sample"


def _counted(samples: int, batch_size: int) -> str:
    if samples == 1:
        return "1 sample is a batch of one"
    if batch_size == 1:
        return "each batch is one sample"
    return f"{samples} samples in batches of {batch_size} leave a batch of one"


def _fix(loader: DataLoader) -> str:
    samples, batch_size = loader.samples, loader.batch_size
    sizes = (size for size in range(max(batch_size, 2), samples + 1) if samples % size != 1)
    fix = next((f"use batch_size={size}" for size in sizes), "it needs more samples")
    return fix + " or drop_last=True" if batch_size > 1 and samples > 1 else fix
