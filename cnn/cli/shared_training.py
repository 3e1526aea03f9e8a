"""What the processes of `mpiexec -n N cnn train` need to train together: how process 0 sends it, how others read it."""

import dataclasses
from collections.abc import Callable, Generator
from typing import Any

import cnn
from cnn import training
from cnn.cli import augmentation, fine_tuning, pretrained, train_recipes
from cnn.cli.augmentation import Augmentation
from cnn.cli.datasets import Dataset, model_inputs
from cnn.cli.train_recipes import Plan
from cnn.cli.train_settings import Settings
from cnn.distributed.ranks import Ranks
from cnn.module import Array
from cnn.training import Step

TEXTS = ("name", "title", "source", "kind", "class_names", "data", "image_conversion")  # what is sent of a data set
PARTS = ("train", "validation")  # process 0 alone tests


def message(
    dataset: Dataset, settings: Settings, changes: Augmentation | None, plan: Plan
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return what process 0 sends to the others: values that JSON can hold, and arrays."""
    data = plan.features or dataset
    values = {
        "settings": dataclasses.asdict(settings),
        "dataset": {name: getattr(data, name) for name in TEXTS},
        "changes": None if changes is None else changes.name,
        "head": None if plan.features is None else plan.record,
    }
    arrays = {f"model.{name}": values for name, values in plan.model.state_dict().items()}
    for part in PARTS:
        arrays[f"{part}.x"], arrays[f"{part}.y"] = getattr(data, part)
    if plan.features is not None:
        arrays["train.x"] = plan.loader.x  # all versions
    return values, arrays


def prepare(values: dict[str, Any], arrays: dict[str, Array]) -> tuple[Dataset, Settings, Plan]:
    """Return the same training as that of process 0: -> (the data as the model takes them, the settings, the plan)"""
    settings = Settings(**values["settings"])
    train, validation = ((arrays[f"{part}.x"], arrays[f"{part}.y"]) for part in PARTS)
    dataset = Dataset(**values["dataset"], train=train, validation=validation, test=validation)
    weights = {name.removeprefix("model."): array for name, array in arrays.items() if name.startswith("model.")}
    cnn.manual_seed(settings.seed)
    if values["head"] is not None:
        start = pretrained.load(settings)
        assert start is not None  # there is a head
        plan = fine_tuning.plan_on_features(start, dataset, settings, values["head"], weights)
    else:
        if values["changes"] is not None:
            transforms = augmentation.transforms(values["changes"], augmentation.image_size(dataset))
            dataset = dataclasses.replace(dataset, transforms=transforms)
        plan = train_recipes.plan(dataset, settings)
        plan.model.load_state_dict(weights)
    return plan.features or dataset, settings, plan


def train(ranks: Ranks, data: Dataset, settings: Settings, plan: Plan) -> None:
    """Train together with process 0, which records and saves what comes of it."""
    step: Step | None = None
    speak_to_user(ranks, lambda: position(step))
    for step in steps(data, settings, plan, ranks=ranks, callbacks=plan.callbacks):
        plan.after_step(step)


def speak_to_user(ranks: Ranks, where: Callable[[], str]) -> None:
    """Let a wait without end say in which step it is, and what the user of the command may do."""
    ranks.set_words(
        where,
        stay="A second Ctrl-C in that process does so",
        come="If a step needs longer, give --stall-seconds more; otherwise see what stops that process or its machine. "
        "cnn train --resume RUN continues from the last checkpoint",
    )


def position(step: Step | None) -> str:
    """Say after which step a training is.

    Examples
    --------
    >>> position(None)
    'before the first step'
    """
    if step is None:
        return "before the first step"
    return f"after step {step.step} of {step.steps} in epoch {step.epoch} of {step.epochs}"


def steps(data: Dataset, settings: Settings, plan: Plan, **arguments: Any) -> Generator[Step, None, None]:
    """Return the steps of a training, see `cnn.training.train`."""
    return training.train(
        plan.model,
        plan.loader,
        validation_data=(model_inputs(plan.model, data.validation[0]), data.validation[1]),
        epochs=settings.epochs_recorded,
        class_weight=plan.class_weight,
        **arguments,
    )
