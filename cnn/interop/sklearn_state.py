"""The net of an estimator of sklearn.py, for a pickle: the bytes of its own file, and what that leaves out."""

import tempfile
from pathlib import Path
from typing import Any

from cnn.core import rng
from cnn.optim import Adam
from cnn.sequential import Sequential
from cnn.training import state as states


def packed(model: Sequential) -> dict[str, Any]:
    """Return what `unpacked` makes the model of again; classes of one's own are named, as a pickle does.

    Examples
    --------
    >>> from cnn.layers import Linear
    >>> model = Sequential([Linear(2, 2)], optimizer=Adam(lr=0.1))
    >>> unpacked(packed(model)).optimizer.lr
    0.1
    """
    own = {type(module) for module in model.modules() if not type(module).__module__.startswith("cnn.")}
    classes = sorted(own, key=lambda each: each.__name__)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        model.save(path, tuple(classes))
        return {
            "file": path.read_bytes(),
            "container": type(model),
            "classes": classes,
            "optimizer": model.optimizer.state_dict(),
            "frozen": states.frozen(model),
            "random": states.random_state(model)["model"],
        }


def unpacked(state: dict[str, Any]) -> Sequential:
    """Return the model of a state that `packed` returned."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(state["file"])
        before = rng.state_dict()  # from which new Dropout layers take generators of their own
        try:
            model: Sequential = state["container"].load(path, state["classes"])
        finally:
            rng.load_state_dict(before)
    model.optimizer = Adam()
    model.optimizer.load_state_dict(state["optimizer"])
    states.set_frozen(model, state["frozen"])
    for name, generator in states.generators(model).items():
        generator.bit_generator.state = state["random"][name]
    return model
