"""How `cnn train` trains: each recipe makes a net, what it learns from, and what happens after each step.

`fast` and `best` are for Fashion-MNIST, whose validation images chose their settings; docs/decisions/007 tells how.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cnn.cli.settings import Settings
from cnn.cli.tasks import Task, build, inputs, normalize
from cnn.core.rng import generator
from cnn.data import AlternatingFlip, DataLoader, RandomCrop, RandomErasing
from cnn.errors import InputError
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam, AdamW, OneCycleLR, decay_groups
from cnn.sequential import Sequential
from cnn.training import Scheduled, Step


@dataclass(frozen=True, eq=False)
class Plan:
    """What is trained, and how.

    Attributes
    ----------
    model : Sequential
        With loss and optimizer.
    loader : DataLoader
        The training samples.
    callbacks : list of callable
        Called after each step, and kept in checkpoints.
    after_step : callable
        The same, for what there is nothing of to keep.
    schedule, text : str
        What the learning rate does, for config.json; and the recipe in a few words, for people.
    """

    model: Sequential
    loader: DataLoader
    callbacks: list[Any]
    after_step: Callable[[Step], None]
    schedule: str
    text: str


def plan(task: Task, chosen: Settings) -> Plan:
    """Prepare the training that the settings ask for; the default generator draws weights and the order of samples."""
    return {None: usual, "fast": fast, "best": best}[chosen.recipe](task, chosen)


def usual(task: Task, chosen: Settings) -> Plan:
    """Adam, and a learning rate that falls in a straight line to 0: small last steps find a better place at no cost."""
    model = build(task, chosen)
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam(lr=chosen.lr)
    if task.transforms:
        changes: list[Any] = [*task.transforms, normalize(model)]
        loader = DataLoader(*task.train, chosen.batch_size, rng=generator(), transforms=changes)
    else:
        x, y = task.train
        loader = DataLoader(inputs(model, x), y, chosen.batch_size, rng=generator())

    def fall(step: Step) -> None:
        step.model.optimizer.lr = chosen.lr * (1 - step.progress)

    return Plan(model, loader, [], fall, "linear to 0", f"Adam, lr {chosen.lr:g} falling to 0")


def fast(task: Task, chosen: Settings) -> Plan:
    """Images that are mirrored in every other epoch, with labels a little softened, by AdamW in one cycle."""
    return one_cycle(task, chosen, [AlternatingFlip()], "mirrored")


def best(task: Task, chosen: Settings) -> Plan:
    """`fast` for long: so that nothing is learned by heart, images are shifted too, and a quarter loses a box."""
    changes = [RandomCrop(padding=1), AlternatingFlip(), RandomErasing(p=0.25)]
    return one_cycle(task, chosen, changes, "shifted, mirrored and erased in part")


def one_cycle(task: Task, chosen: Settings, changes: list[Any], words: str) -> Plan:
    """AdamW, whose learning rate rises in a fifth of all steps and falls to 0 in the others, on changed images."""
    model = build(task, chosen)
    model.loss_func = CrossEntropyLoss(label_smoothing=0.1)
    model.optimizer = AdamW(decay_groups(model, weight_decay=0.05), betas=(0.9, 0.99))
    changes = [*changes, normalize(model)]
    loader = DataLoader(*task.train, chosen.batch_size, rng=generator(), transforms=changes)
    schedule = OneCycleLR(
        model.optimizer,
        max_lr=chosen.lr,
        total_steps=chosen.epochs * len(loader),
        pct_start=0.2,
        anneal_strategy="linear",
        cycle_momentum=False,
    )
    if len(loader) * chosen.epochs < 10:
        raise InputError("a recipe takes 10 steps at least: give it a smaller --batch-size or more --epochs")
    text = f"AdamW, lr up to {chosen.lr:g} and down to 0, images {words}"
    return Plan(model, loader, [Scheduled(schedule, every="step")], lambda step: None, "one cycle", text)
