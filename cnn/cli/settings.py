"""How `cnn train` trains if nothing else is said: net, epochs, batches and learning rate."""

from dataclasses import dataclass, replace
from typing import Any

from cnn.data.images import printable
from cnn.errors import InputError

DATA_SETS = ("fashion-mnist", "mnist", "spiral")
MODELS = ("fashion-cnn", "mlp", "photo-cnn", "small-cnn")


@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes
    ----------
    model : str
        One of `MODELS`.
    epochs, batch_size : int
    lr : float
        Adam's learning rate.
    seed : int
        Of the initial weights, the order of the samples, the validation set and the spiral's points.
    image_size : int or None
        Pixels of each side to which a folder's images are scaled; None for the data sets with a name.
    validation : float or None
        Share of a folder's images that is held out, unless it has a folder for them.
    recipe : str or None
        One of `RECIPES`; None for the usual training.
    """

    model: str
    epochs: int
    batch_size: int
    lr: float
    seed: int = 0
    image_size: int | None = None
    validation: float | None = None
    recipe: str | None = None


IMAGES = Settings("small-cnn", epochs=4, batch_size=64, lr=2e-3)
POINTS = Settings("mlp", epochs=100, batch_size=32, lr=1e-2)
FOLDER = Settings("photo-cnn", epochs=50, batch_size=16, lr=3e-3, image_size=64, validation=0.2)
RECIPES = {  # for Fashion-MNIST; recipes.py has the rest
    "fast": Settings("fashion-cnn", epochs=4, batch_size=128, lr=1e-2, recipe="fast"),
    "best": Settings("fashion-cnn", epochs=28, batch_size=128, lr=1e-2, recipe="best"),
}


def settings_for(data_set: str, **chosen: Any) -> Settings:
    """Return the settings that suit a data set or a folder, with what was chosen (is not None) in their place.

    Raises
    ------
    ValueError
        If the model cannot read the data, or something was chosen that only others have.

    Examples
    --------
    >>> settings_for("fashion-mnist", epochs=2, lr=None).epochs
    2
    """
    chosen = {name: value for name, value in chosen.items() if value is not None}
    usual = POINTS if data_set == "spiral" else IMAGES if data_set in DATA_SETS else FOLDER
    if "recipe" in chosen:
        if data_set != "fashion-mnist":
            raise ValueError(f"--recipe {chosen['recipe']} is for fashion-mnist, whose images chose what it does")
        if chosen["recipe"] not in RECIPES:
            raise InputError(f"unknown recipe {printable(str(chosen['recipe']))}; there is {', '.join(RECIPES)}")
        usual = RECIPES[chosen["recipe"]]
    for name, option in (("image_size", "--image-size"), ("validation", "--val")):
        if name in chosen and data_set in DATA_SETS:
            raise ValueError(f"{option} is for a folder of images: {data_set} is as it is")
    result = replace(usual, **chosen)
    if data_set == "spiral" and result.model != "mlp":
        raise ValueError(f"--model {result.model} reads images, but spiral has points: use --model mlp")
    return result
