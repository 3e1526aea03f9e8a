"""When the loss becomes NaN or infinite: find the sample or layer responsible, and restore the earlier weights."""

import math
from typing import Any

import numpy as np

from cnn.core.modes import without_warnings
from cnn.errors import InputError
from cnn.module import Array, Module, Parameter, evaluating, forward_hook, no_grad
from cnn.training.inputs import dtype_of

IN_THE_LOSS = "every layer's output is finite, so it arose in the loss"


class LastGood:
    """A copy of the state of a model, from the last step that had a finite loss."""

    def __init__(self, model: Module) -> None:
        self._pairs = [(tensor, tensor.data.copy()) for _, tensor in model.named_tensors()]

    def keep(self) -> None:
        """Save a copy of the current state."""
        for tensor, copy in self._pairs:
            copy[...] = tensor.data

    def restore(self) -> str:
        """Restore the saved state, and return what an error says about it: a finite loss can come from bad weights."""
        for tensor, copy in self._pairs:
            tensor.data = copy
        if all(np.isfinite(copy).all() for tensor, copy in self._pairs if isinstance(tensor, Parameter)):
            return "were put back"
        return "hold NaN or infinity, too, so the model is not usable: load a checkpoint, or make the model again"


class BadSampleNamed:
    """For a with statement around a step: if a sample that is NaN or infinite makes it fail, the error names it."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if isinstance(error, (InputError, FloatingPointError)):
            run = self.run
            found = run.loader.describe_non_finite(dtype_of(run.model))
            if found:
                raise InputError(f"at step {run.step} of epoch {run.epoch}, {found}: replace it") from None


def has_finite_weights(model: Module) -> bool:
    """Return whether every number in every parameter is finite."""
    return all(np.isfinite(parameter.data).all() for _, parameter in model.named_parameters())


def check_last_update(run: Any, x: Array, y: Array, last_good: LastGood) -> None:
    """Raise an error, with the earlier weights put back, if the last update has ruined the model.

    The loss of the next batch would show that, but after the last step no batch follows, and before a checkpoint is
    written it would be too late. After the last step of all, the loss of that step's batch is computed once more.
    """
    model = run.model
    loss = 0.0 if has_finite_weights(model) else math.nan
    is_end = run.stopped or run.epoch == run.epochs
    own = getattr(model, "loss_and_grad", None)
    if loss == 0.0 and is_end and (own is None or own == getattr(model, "_default_loss_and_grad", None)):
        with evaluating():
            loss = run.loss_of(x, y)
    if math.isfinite(loss):
        return
    where = run.where_non_finite(x)
    restored = last_good.restore()
    model.optimizer.reset()
    raise FloatingPointError(
        f"the loss became {loss} after step {run.step} of epoch {run.epoch}: {where}. The weights of before that step "
        f"{restored}. Try a smaller learning rate (lr is {getattr(model.optimizer, 'lr', 'unknown')})"
    )


@without_warnings
def first_non_finite(model: Module, x: Array) -> str:
    """Name the first layer whose weights or whose output for ``x`` are not finite."""
    modules = dict(model.named_modules())
    for name, parameter in model.named_parameters():
        if not np.isfinite(parameter.data).all():
            path, _, attribute = name.rpartition(".")
            return f"the {attribute} of layer {path}, {modules[path]!r}, became NaN or infinite in the step before"
    names = {id(module): name for name, module in modules.items()}
    messages: list[str] = []

    def check(module: Module, y: Array) -> None:
        if not messages and not module.children() and not np.isfinite(y).all():
            messages.append(f"the output of layer {names[id(module)]}, {module!r}, is NaN or infinite")

    with no_grad(), forward_hook(check):
        model(x)
    return messages[0] if messages else IN_THE_LOSS
