"""The page about a net: one HTML file that shows what the net does with some images, number by number."""

import base64
import copy
import html
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from cnn.core.files import write_bytes
from cnn.core.text import count_text
from cnn.errors import InputError, ShapeError
from cnn.explore.chunk import Chunk
from cnn.explore.data import LIMIT, pack
from cnn.explore.gallery import COUNT, choose, confusion, mistakes
from cnn.explore.static import static_part
from cnn.explore.walk import QUIET, without_softmax
from cnn.layers import LogSoftmax
from cnn.loss import CrossEntropyLoss, LossFunc, NLLLoss
from cnn.loss.bce_loss import BinaryLoss
from cnn.loss.targets import ClassificationLoss
from cnn.module import Array, Module
from cnn.sequential import Sequential

TEMPLATE = Path(__file__).with_name("page.html")  # built from the folder web of the repository
ONE_OUTPUT = (
    "The net has one output and no loss for it: the page takes it for the score of a single class, whose "
    "probability is always 1, so that every gradient is 0. Set model.loss_func, such as cnn.loss.MSELoss(), "
    "and make the page again."
)
MISTAKES_SHARE = 40  # pixels of mistakes take at most this part of the data
HEIGHT = 800  # pixels in a notebook


class Page:
    """A page about a net, as `page` makes it.

    In a notebook, a page that was saved is shown below the cell from its file, so that the notebook stays small.

    Parameters
    ----------
    text : str
        The HTML.
    left_out : dict
        What is not on the page, as `pack` says it: how many "images" and "activations", and the names of the "layers",
        "gradients", "tensors" and saliency "maps".

    Attributes
    ----------
    path : Path or None
        The file that `save` wrote.
    """

    def __init__(self, text: str, left_out: dict[str, Any]) -> None:
        self.text, self.left_out = text, left_out
        self.path: Path | None = None

    def save(self, path: str | Path) -> "Page":
        """Write the page to a file, completely or not at all, and return it. An old file is replaced.

        Raises
        ------
        OSError
            If it cannot be written; an old file is then left as it is.
        """
        write_bytes(path, self.text.encode())
        self.path = Path(path)
        return self

    def __repr__(self) -> str:
        where = "not saved yet: save(path) writes it" if self.path is None else f"in {self.path}"
        return f"<Page of {len(self.text) / 1e6:.1f} MB, {where}>"

    def _repr_html_(self) -> str:
        if self.path is None:
            return f"<p>{html.escape(repr(self)[1:-1])}, and shows it here.</p>"
        try:
            source = quote(Path(os.path.relpath(self.path)).as_posix())  # a notebook's server knows no other addresses
        except ValueError:  # on another drive of Windows
            source = quote(self.path.as_posix(), safe="/:")
        return (
            f'<iframe src="{html.escape(source)}" title="A look inside a net" width="100%" height="{HEIGHT}"></iframe>'
        )


def page(
    model: Module,
    x: Any,
    y: Any = None,
    *,
    names: Sequence[str] | None = None,
    title: str = "A look inside a net",
    history: Sequence[Mapping[str, float]] = (),
    notes: Sequence[str] = (),
    limit: int = LIMIT,
) -> Page:
    """Make the page about a model and some images.

    The page contains the model's weights and the images that it shows, and asks no server for anything.

    Parameters
    ----------
    model : Module
        In float32. It does not change.
    x : array_like, (N, C, H, W) or (N, ...)
        Pixels, uint8 from 0 to 255, which the model's preprocessing turns into inputs; or floats, which are inputs
        already. Of more than 12, the page shows 12: some right, some wrong, and those of which the model is least sure.
    y : array_like of int, (N,), optional
        The true classes; for a model without classes what its loss compares the outputs with. Without it, the loss is
        that of the predicted class, and of a model without classes that of zeros.
    names : sequence of str, optional
        A name for each image, such as that of its file.
    title : str
        Of the page.
    history : sequence of mapping of str to float
        The metrics of each epoch, such as "train_loss", for the curves; those that are not finite are left out.
    notes : sequence of str
        Sentences to show at the top.
    limit : int
        How many bytes the data may take as base64 text.

    Returns
    -------
    Page

    Raises
    ------
    InputError, ShapeError
        If there is no image, or the images do not fit the model.

    Examples
    --------
    >>> from cnn import zoo
    >>> made = page(zoo.lenet5(), np.zeros((1, 1, 28, 28), np.uint8), [3], title="LeNet")
    >>> "<title>LeNet</title>" in made.text
    True
    """
    x = np.asarray(x)
    if x.ndim == 0:
        raise InputError(f"x must hold images, (N, C, H, W), got {x.item()!r}")
    names = [f"image {i}" for i in range(len(x))] if names is None else list(names)
    if len(names) != len(x):
        raise ShapeError(f"{len(x)} images need as many names, got {len(names)}")
    notes = list(notes)
    y, told = targets(model, x, y)
    if y is not None and len(y) != len(names):
        raise ShapeError(f"{len(names)} images need as many labels, got {len(y)}")
    chosen, probabilities = _gallery(model, x, y)
    shown = [i for i, _ in chosen]
    if len(shown) < len(x):
        told.append(f"It shows {len(shown)} of {count_text(len(x), 'image' if x.ndim == 4 else 'sample')}.")
    labels = None if y is None else [y[i] if np.ndim(y[i]) else np.asarray(y[i]).item() for i in shown]
    confused, chunk = _confusion(probabilities, x, y, limit // MISTAKES_SHARE)
    extra = chunk.deflated()
    header, block = pack(
        model, x[shown] if shown else x, labels, [names[i] for i in shown], limit - len(extra) * 4 // 3
    )
    for entry, (_, why) in zip(header["images"], chosen, strict=False):  # the last ones may be left out
        entry["why"] = why
    confused["chunk"] = len(header["chunks"])
    header["chunks"].append({"offset": len(block), "length": len(extra), "size": chunk.size})
    is_binary = isinstance(getattr(model, "loss_func", None), BinaryLoss)
    if len(header["images"][0]["probabilities"] or ()) == 1 and not is_binary:
        told.append(ONE_OUTPUT)
    epochs = [{name: float(value) for name, value in epoch.items() if np.isfinite(value)} for epoch in history]
    header["page"] = {"title": title, "notes": [*notes, *told], "history": epochs, **confused}
    return Page(_filled(title, header, block + extra, x[shown]), header["left_out"])


def targets(model: Any, x: Array, y: Any) -> tuple[Any, list[str]]:
    """Return what the loss compares the outputs with, and what the page says of it."""
    if y is not None:
        return np.asarray(y), []
    own = getattr(model, "loss_func", None)
    if not isinstance(own, LossFunc) or isinstance(own, ClassificationLoss):
        return None, []
    if isinstance(own, BinaryLoss):
        with np.errstate(**QUIET):
            own_answers = model.predict(_inputs(model, x))
        return own_answers, ["The true answers are not known: the loss is that of the model's own."]
    return [0.0] * len(x), ["The true outputs are not known: the loss is that of zeros."]


def _inputs(model: Any, x: Array) -> Array:
    return model.preprocess(x) if x.dtype == np.uint8 else x


def _gallery(model: Any, x: Array, y: Any) -> tuple[list[tuple[int, str]], Array | None]:
    """Return the images to show and why, and the probabilities of the classes for all images, if there are such."""
    first = [(i, "") for i in range(min(COUNT, len(x)))]
    loss_func = getattr(model, "loss_func", None)
    if loss_func is None and isinstance(model, Sequential):
        model = copy.copy(model)  # the layers stay the same
        last = without_softmax(model)[1]
        loss_func = NLLLoss() if isinstance(last, LogSoftmax) else CrossEntropyLoss(from_logits=last is None)
        model.loss_func = loss_func
    if not (first and isinstance(loss_func, ClassificationLoss) and hasattr(model, "predict_proba")):
        return first, None
    with np.errstate(**QUIET):
        probabilities = model.predict_proba(_inputs(model, x))
    has_ids = y is None or (y.dtype.kind in "iu" and y.shape == (len(x),))
    if probabilities.ndim != 2 or not has_ids:
        return first, None
    return choose(probabilities, y) if len(x) > COUNT else first, probabilities


def _confusion(probabilities: Array | None, x: Array, y: Any, budget: int) -> tuple[dict[str, Any], Chunk]:
    """Return which class was taken for which, and a chunk with the pixels of some mistakes, as many as fit."""
    chunk = Chunk()
    found: list[dict[str, Any]] = []
    about: dict[str, Any] = {"confusion": None, "mistakes": found}
    if probabilities is None or y is None or len(x) <= COUNT:
        return about, chunk
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    if y.min() < 0 or y.max() >= classes:
        return about, chunk  # what is wrong with y, the trace says
    about["confusion"] = confusion(predicted, y, classes)
    if about["confusion"] is None or x.dtype != np.uint8 or x.ndim != 4:
        return about, chunk
    for (label, k), images in mistakes(predicted, y).items():
        if chunk.size + len(images) * x[0].size > budget:
            break
        places = [{"offset": chunk.add(x[i]), "shape": list(x[i].shape)} for i in images]
        found.append({"label": label, "predicted": k, "images": places})
    return about, chunk


def _filled(title: str, header: dict[str, Any], block: bytes, x: Array) -> str:
    """Return the template with everything in its place."""
    parts = {
        "title": html.escape(title),
        "static": static_part(header, x),
        # in a script, "<" could end it
        "header": json.dumps(header, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        "block": base64.b64encode(block).decode(),
    }
    text = re.sub(
        r"\{\{(title|static|header|block)\}\}", lambda match: parts[match[1]], TEMPLATE.read_text(encoding="utf-8")
    )
    return text.encode(errors="backslashreplace").decode()  # names of files may hold what is not valid Unicode
