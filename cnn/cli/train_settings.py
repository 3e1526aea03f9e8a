"""The settings of `cnn train`: the defaults for each kind of data, and what the options change."""

from dataclasses import dataclass, replace
from typing import Any

from cnn.cli.datasets import DEFAULT_IMAGE_SIZE, DEFAULT_VALIDATION, NAMES
from cnn.core.text import printable
from cnn.errors import InputError

MODELS = ("fashion-cnn", "mlp", "photo-cnn", "small-cnn")


@dataclass(frozen=True)
class Settings:
    """The settings of a training; config.json of a run folder contains them under these names.

    Attributes
    ----------
    model : str
        One of `MODELS`.
    epochs, batch_size : int
    lr : float
        The initial learning rate of Adam; for a recipe, the highest learning rate.
    seed : int
        For the initial weights, the order of the samples, the validation set and the points of the spiral.
    image_size : int or None
        Side in pixels to which the images of a folder are resized; None for named data sets, and until the net to start
        from is known.
    validation : float or None
        Fraction of the images of a folder that is held out, unless it has a folder of validation images.
    group_by : str or None
        A pattern of file names whose images are held out together.
    recipe : str or None
        One of `RECIPES`; None for the default training.
    augment : str or None
        For a folder: one of `augmentation.NAMES`, or "auto"; None for named data sets.
    balance : bool or None
        For a folder: whether rare classes count more; None for named data sets.
    keep_best : str or None
        For a folder: one of `keep_best.METRICS`; None for the weights of the last epoch.
    pretrained : bool or None
        For a folder: whether to start from a net that has seen ImageNet.
    start : str or None
        For a folder: the run or model file to start from, of ``--from``.
    fine_tune : int or None
        With one of the two: epochs of the upper layers, after ``epochs`` of the head.
    """

    model: str
    epochs: int
    batch_size: int
    lr: float
    seed: int = 0
    image_size: int | None = None
    validation: float | None = None
    group_by: str | None = None
    recipe: str | None = None
    augment: str | None = None
    balance: bool | None = None
    keep_best: str | None = None
    pretrained: bool | None = None
    start: str | None = None
    fine_tune: int | None = None

    @property
    def epochs_recorded(self) -> int:
        """The epochs of the training whose metrics are recorded: the last one, if the head is trained before it."""
        return self.epochs if self.fine_tune is None else self.fine_tune


IMAGE_SETTINGS = Settings("small-cnn", epochs=4, batch_size=64, lr=2e-3)
POINT_SETTINGS = Settings("mlp", epochs=100, batch_size=32, lr=1e-2)
FOLDER_SETTINGS = Settings(
    "photo-cnn",
    epochs=50,
    batch_size=16,
    lr=3e-3,
    image_size=DEFAULT_IMAGE_SIZE,
    validation=DEFAULT_VALIDATION,
    augment="auto",
)
HEAD_SETTINGS = replace(
    FOLDER_SETTINGS, model="efficientnet-lite0", epochs=40, batch_size=32, lr=2e-3, image_size=None, augment="none"
)
FOLDER_OPTIONS = {
    "image_size": "--image-size",
    "validation": "--val",
    "group_by": "--group-by",
    "augment": "--augment",
    "balance": "--balance",
    "keep_best": "--keep-best",
    "pretrained": "--pretrained",
    "start": "--from",
    "fine_tune": "--fine-tune",
}
OPTIONS = {
    **FOLDER_OPTIONS,
    "model": "--model",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "lr": "--lr",
    "seed": "--seed",
    "recipe": "--recipe",
}
RECIPES = {
    "fast": Settings("fashion-cnn", epochs=4, batch_size=128, lr=1e-2, recipe="fast"),
    "best": Settings("fashion-cnn", epochs=28, batch_size=128, lr=1e-2, recipe="best"),
}


def check_combination(chosen: dict[str, Any]) -> None:
    """Raise an error if chosen settings (those not None) exclude each other.

    Raises
    ------
    ValueError
        With both options, and why.

    Examples
    --------
    >>> check_combination({"pretrained": True, "model": "photo-cnn"})
    Traceback (most recent call last):
    ...
    ValueError: --model is not for --pretrained, which has a net of its own: omit one of them
    """
    given = {name for name, value in chosen.items() if value is not None}
    if {"pretrained", "start"} <= given:
        raise ValueError("--pretrained and --from both name a net to start from: omit one of them")
    origin = next((OPTIONS[name] for name in ("pretrained", "start") if name in given), None)
    if {"pretrained", "image_size"} <= given:
        raise ValueError("--image-size is not for --pretrained, whose net has a size of its own: omit one of them")
    if origin is None:
        if "fine_tune" in given:
            raise ValueError("--fine-tune is for a net that was trained before: add --pretrained or --from FILE")
        return
    reasons = {
        "model": "which has a net of its own",
        "recipe": "which trains in another way",
    }
    for name, reason in reasons.items():
        if name in given:
            raise ValueError(f"{OPTIONS[name]} is not for {origin}, {reason}: omit one of them")
    if chosen.get("augment") == "auto":
        raise ValueError(f"--augment auto tries trainings from random weights, unlike {origin}: omit it")


def settings_for(data: str, **chosen: Any) -> Settings:
    """Return the default settings for a data set or a folder, with the chosen ones (those not None) instead.

    Raises
    ------
    ValueError
        If the model cannot read the data, or a chosen setting does not apply to them.

    Examples
    --------
    >>> settings_for("fashion-mnist", epochs=2, lr=None).epochs
    2
    """
    chosen = {name: value for name, value in chosen.items() if value is not None}
    defaults = POINT_SETTINGS if data == "spiral" else IMAGE_SETTINGS if data in NAMES else FOLDER_SETTINGS
    if "pretrained" in chosen or "start" in chosen:
        defaults = HEAD_SETTINGS
    if "recipe" in chosen:
        if data != "fashion-mnist":
            raise ValueError(f"--recipe {chosen['recipe']} is for fashion-mnist, on which its settings were chosen")
        if chosen["recipe"] not in RECIPES:
            raise InputError(f"unknown recipe {printable(str(chosen['recipe']))}; known: {', '.join(RECIPES)}")
        defaults = RECIPES[chosen["recipe"]]
    for name, option in FOLDER_OPTIONS.items():
        if name in chosen and data in NAMES:
            raise ValueError(f"{option} is for a folder of images: it cannot change {data}")
    result = replace(defaults, **chosen)
    if data == "spiral" and result.model != "mlp":
        raise ValueError(f"--model {result.model} takes images, but spiral has points: use --model mlp")
    return result
