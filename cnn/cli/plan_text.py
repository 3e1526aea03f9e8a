"""What `cnn train` prints before it trains."""

from pathlib import Path

from cnn.cli.augmentation import Augmentation
from cnn.cli.datasets import Dataset
from cnn.cli.formatting import count_text, sample_shape_text
from cnn.cli.imbalance import uneven_note
from cnn.cli.train_recipes import Plan
from cnn.cli.train_settings import Settings
from cnn.sequential import Sequential


def start_text(dataset: Dataset, settings: Settings, plan: Plan, changes: Augmentation | None, folder: Path) -> str:
    """Return the plan, with the folder of the run; the folder alone if the plan was printed before the features."""
    if plan.features is not None:
        return _folder_line(folder)
    return plan_text(dataset, settings, plan.model, plan.text, changes, folder=folder)


def plan_text(
    dataset: Dataset,
    settings: Settings,
    trained: Sequential,
    how: str,
    changes: Augmentation | None,
    whole: Sequential | None = None,
    folder: Path | None = None,
) -> str:
    """Return the data, the model, the settings and the folder of a training, and what to know about the data.

    Parameters
    ----------
    dataset, settings : Dataset, Settings
        What is trained on, and the options.
    trained, how : Sequential, str
        The layers that are trained, and the optimizer.
    changes : Augmentation or None
        The random changes of images.
    whole : Sequential, optional
        The model that is saved, if it has more layers.
    folder : Path, optional
        The folder of the run, if there is one already.
    """
    train, validation, test = (f"{len(part[0]):,}" for part in (dataset.train, dataset.validation, dataset.test))
    classes = len(dataset.class_names)
    parameters = f"{sum(parameter.size for parameter in trained.parameters()):,} parameters"
    if whole is not None:
        total = f"{sum(parameter.size for parameter in whole.parameters()):,}"
        parameters = f"{parameters.replace(' ', f' of {total} ', 1)} are trained"
    shape = dataset.input_shape
    shape_text = sample_shape_text(shape) if dataset.has_images else f"{shape[0]} coordinates"
    held_out = f"{validation} more for validation, {test} more for the final test"
    if not dataset.has_test:
        held_out = f"{validation} more for validation; there are no test {dataset.kind}"
    lines = [
        f"Training on {dataset.title}",
        f"  data      {train} {dataset.kind} of {shape_text}, {classes} classes; {dataset.source}",
        f"            {held_out}",
        f"  model     {settings.model}, {parameters}",
        f"  settings  {count_text(settings.epochs_recorded, 'epoch')}, batch size {settings.batch_size}, {how}, "
        f"seed {settings.seed}{_options(settings)}",
    ]
    lines += [changes.text()] if changes is not None else []
    lines += [_folder_line(folder)] if folder is not None else []
    lines += [f"  {line}" for line in dataset.notes]
    if changes is not None:
        note = uneven_note(dataset.train[1], dataset.class_names, bool(settings.balance))
        lines += [f"  {note}"] if note else []
    return "\n".join(lines)


def _folder_line(folder: Path) -> str:
    return f"  folder    {folder}; Ctrl-C saves the run so far"


def _options(settings: Settings) -> str:
    """Return the options that change what is learned or kept."""
    balance = ", --balance" if settings.balance else ""
    return balance + (f", --keep-best {settings.keep_best}" if settings.keep_best else "")
