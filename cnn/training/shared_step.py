"""A training step of several processes: each computes the loss and the gradients of its part of the batch.

The gradient of the loss is scaled before the backward pass, so that the sums of the gradients of all parts are those of
the whole batch. That takes a few numbers of every process between loss and backward: what its loss is a mean over.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnn.distributed.ranks import Ranks
from cnn.layers.batchnorm import BatchNorm
from cnn.loss import LossFunc
from cnn.loss.loss_func import check_loss_grad
from cnn.module import Array
from cnn.training.means import Means


def rows_to_run(ranks: Ranks, samples: int) -> slice:
    """Return which samples of a batch this process runs.

    A process without samples runs the first sample of the batch, so that it takes part in the sums of every norm; what
    comes of it counts nowhere.
    """
    taken = ranks.part(samples)
    return taken if taken.stop > taken.start else slice(0, 1)


class Part:
    """One process's part of a batch, as the layers see it for which the rest of the batch matters, in a `with` block.

    A `BatchNorm` takes its sums over all parts, if ``sync``. A layer with a random generator draws for the whole batch,
    and gets what belongs to its samples. Afterwards the layers are as before.

    Attributes
    ----------
    rows : slice
        The samples that it runs, `rows_to_run`.
    has_samples : bool
        Whether they count.
    """

    def __init__(self, model: Any, ranks: Ranks, samples: int, sync: bool) -> None:
        taken = ranks.part(samples)
        self.has_samples = taken.stop > taken.start
        self.rows, self.samples = rows_to_run(ranks, samples), samples
        self.add, self.gather = ranks.add, ranks.gather
        self._model, self._sync = model, sync
        self._norms: list[Any] = []
        self._generators: list[tuple[dict[str, Any], str, np.random.Generator]] = []

    def __enter__(self) -> "Part":
        for module in self._model.modules():
            if self._sync and isinstance(module, BatchNorm):
                self._norms.append(module)
                module.ranks = self
            for name, value in list(vars(module).items()):
                if isinstance(value, np.random.Generator):
                    self._generators.append((vars(module), name, value))
                    vars(module)[name] = WholeBatch(value, self)
        return self

    def __exit__(self, *error: object) -> None:
        for norm in self._norms:
            vars(norm).pop("ranks", None)  # a module may be found twice
        for attributes, name, generator in self._generators:
            attributes[name] = generator


class WholeBatch:
    """Stands for the random generator of a layer: draws for all samples of a batch, and returns those of one part.

    So layers draw what they draw in one process, and all generators stay equal. What is drawn in another shape than
    one whose first axis are the samples is the same in every process.
    """

    def __init__(self, generator: np.random.Generator, part: Part) -> None:
        self._generator, self._part = generator, part

    def random(self, size: Any = None, dtype: Any = np.float64) -> Any:
        return self._rows(size, lambda whole: self._generator.random(whole, dtype))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64) -> Any:
        return self._rows(size, lambda whole: self._generator.standard_normal(whole, dtype))

    def normal(self, loc: float = 0.0, scale: float = 1.0, size: Any = None) -> Any:
        return self._rows(size, lambda whole: self._generator.normal(loc, scale, whole))

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        return self._rows(size, lambda whole: self._generator.uniform(low, high, whole))

    def integers(self, low: int, high: int | None = None, size: Any = None, dtype: Any = np.int64) -> Any:
        return self._rows(size, lambda whole: self._generator.integers(low, high, whole, dtype))

    def binomial(self, n: int, p: float, size: Any = None) -> Any:
        return self._rows(size, lambda whole: self._generator.binomial(n, p, whole))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            "a layer that trains on several processes can draw with random, standard_normal, normal, uniform, integers "
            f"and binomial of its generator, but not with {name}"
        )

    def _rows(self, size: Any, draw: Callable[[Any], Any]) -> Any:
        shape = (size,) if isinstance(size, (int, np.integer)) else size
        rows = self._part.rows
        if not shape or shape[0] != rows.stop - rows.start:
            return draw(size)
        return draw((self._part.samples, *shape[1:]))[rows]


def shared_loss_and_grad(
    model: Any, x: Array, y: Array, loss_func: LossFunc | None, part: Part, ranks: Ranks
) -> tuple[float, Array]:
    """Run forward, loss and backward of this process's part (x, y) of a batch, and add up the gradients of all parts.

    Returns
    -------
    loss : float
        Of the whole batch.
    sums : ndarray
        What the whole batch adds to the sums of `Means`.
    """
    counted: Any = model.loss_func if loss_func is None else loss_func
    with part:
        loss, outputs, backward, differentiable = _forward(model, x, y, loss_func)
        here = Means(model, loss_func)
        if part.has_samples:
            here.add(loss, outputs, y)
        sums = ranks.add(here.sums)
        is_sum = counted.reduction == "sum"
        factor = 1.0 if is_sum else (here.sums[1] / sums[1] if sums[1] else 0.0)
        grad = differentiable.backward()
        check_loss_grad(differentiable, grad, outputs)
        backward(grad * grad.dtype.type(factor))
    if not part.has_samples:
        model.zero_grad()
    ranks.add_up(model.parameters())
    losses, weight = float(sums[0]), float(sums[1])
    return losses if is_sum else (losses / weight if weight else 0.0), sums


def _forward(
    model: Any, x: Array, y: Array, loss_func: LossFunc | None
) -> tuple[float, Array, Callable[[Array], Any], LossFunc]:
    """Run forward and loss: -> (loss, outputs, backward of the model, the loss whose backward is next)"""
    if hasattr(model, "loss_and_grad"):  # a Sequential, without the time of the Softmax
        loss, outputs, differentiable = model._objective.run(model, x, y, loss_func)
        return loss, outputs, model.run_backward, differentiable
    outputs = model(x)
    loss_func = model.loss_func if loss_func is None else loss_func
    return loss_func(outputs, y), outputs, model.backward, loss_func
