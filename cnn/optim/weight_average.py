"""WeightAverage: an exponential moving average of the weights, which often does better than the final weights; and
update_bn, which measures the running statistics of norms for such weights.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cnn.core.explain import explain_init
from cnn.core.modes import without_warnings
from cnn.core.parameter import plain_array
from cnn.errors import InputError
from cnn.module import Array, Module, no_grad
from cnn.optim.shared import at_least_zero, check_model


@explain_init
class WeightAverage:
    """Keep an exponential moving average of a model's weights during training; it is less noisy than the weights.

    average = decay average + (1 - decay) w,  average = w in the first update

    The running statistics of norms are not averaged; they stay those of the model. `update_bn` measures them again.

    Parameters
    ----------
    model : Module
        The model whose weights are averaged, in their own dtype.
    decay : float
        Decay rate of the average, 0 to 1; it averages over about the last 1 / (1 - decay) updates.

    Attributes
    ----------
    averages : list of ndarray
        In the order of ``model.parameters()``.
    n_averaged : int
        Number of updates.

    Raises
    ------
    ValueError
        If ``decay`` is above 1.

    Source
    ------
    Tarvainen and Valpola 2017, Mean teachers are better role models, arXiv 1703.01780; the idea is that of Polyak and
    Juditsky 1992, Acceleration of stochastic approximation by averaging. Numbers as
    torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay).

    Examples
    --------
    >>> import numpy as np
    >>> from cnn.layers import Linear
    >>> model = Linear(1, 1, bias=False)
    >>> average = WeightAverage(model, decay=0.75)
    >>> for step in (4.0, 8.0):
    ...     model.weight.data = [[step]]  # what an optimizer does
    ...     average.update()
    >>> with average.applied():
    ...     model.weight
    Parameter([[5.]], dtype=float32)
    >>> model.weight
    Parameter([[8.]], dtype=float32)
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        check_model(model)
        self.model = model
        self.decay = at_least_zero(decay, "decay")
        if self.decay > 1:
            raise ValueError(f"decay must be at most 1, got {decay!r}")
        self.n_averaged = 0
        self._parameters = model.parameters()
        self.averages: list[Array] = [parameter.data.copy() for parameter in self._parameters]

    def __repr__(self) -> str:
        return f"WeightAverage(decay={self.decay!r}, n_averaged={self.n_averaged})"

    def update(self) -> None:
        """Add the model's weights to the average; call it after each step of the optimizer."""
        for i, parameter in enumerate(self._parameters):
            w = parameter.data
            if self.n_averaged == 0:
                self.averages[i] = w.copy()
                continue
            average = self.averages[i] = self.averages[i].astype(w.dtype, copy=False)  # `to` may have converted w
            average += (1 - self.decay) * (w - average)
        self.n_averaged += 1

    @contextmanager
    def applied(self) -> Iterator[Module]:
        """Put the averages into the model, to evaluate or to save it, and restore the trained weights at the end.

        Use it as ``with average.applied():``; without ``with`` it does nothing.
        """
        trained = [parameter.data.copy() for parameter in self._parameters]
        for parameter, average in zip(self._parameters, self.averages, strict=True):
            parameter.data = average
        try:
            yield self.model
        finally:
            for parameter, weights in zip(self._parameters, trained, strict=True):
                parameter.data = weights


def update_bn(loader: Iterable[Any], model: Module) -> None:
    """Measure the running statistics of every BatchNorm again, for weights that were averaged after training.

    running_mean = mean over the batches of their means,  running_var likewise, each batch with its own variance

    The statistics that training left belong to the weights during training. Here the model runs forward in training
    mode over all batches, and each counts the same; the weights, the mode and each momentum are as before at the end.
    After an error the statistics are as before, too.

    Parameters
    ----------
    loader : iterable
        Batches x or (x, y) in a random order, such as a DataLoader of the training data, which runs for one epoch.
    model : Module
        It has the averaged weights, as inside ``with average.applied():`` or after a training with `Averaged`.

    Raises
    ------
    TypeError
        If ``loader`` is one array.
    ValueError
        If there are no batches, or a sample or a statistic is NaN or infinite.

    Source
    ------
    Izmailov et al. 2018, Averaging weights leads to wider optima and better generalization, arXiv 1803.05407, section
    3.2. Numbers as torch.optim.swa_utils.update_bn.

    Examples
    --------
    >>> from cnn.layers import BatchNorm1d
    >>> model, x = BatchNorm1d(1), np.array([[1.0], [3.0], [5.0], [11.0]])
    >>> update_bn([x[:2], x[2:]], model)  # the means are 2 and 8, the variances 2 and 18
    >>> model.running_mean, model.running_var
    (Buffer([5.], dtype=float32), Buffer([10.], dtype=float32))
    """
    check_model(model)
    if hasattr(loader, "ndim"):
        raise TypeError("update_bn needs batches, got one array: pass DataLoader(x, y), or [x] for a single batch")
    counting = [m for m in model.modules() if getattr(m, "counts_batches", True)]
    norms: list[Any] = [m for m in counting if getattr(m, "num_batches_tracked", None) is not None]
    if not norms:
        return
    statistics = [
        tensor for norm in norms for tensor in (norm.running_mean, norm.running_var, norm.num_batches_tracked)
    ]
    before = [tensor.data.copy() for tensor in statistics]
    momenta, modes = [norm.momentum for norm in norms], [(module, module._training) for module in model.modules()]
    try:
        for norm in norms:
            norm.running_mean.data = np.zeros(norm.running_mean.shape)
            norm.running_var.data = np.ones(norm.running_var.shape)
            norm.num_batches_tracked.data = 0
            norm.momentum = None  # the plain average over all batches
        model.train()
        for number, batch in enumerate(loader, start=1):
            x = plain_array(batch[0] if isinstance(batch, (tuple, list)) else batch)
            if not np.isfinite(x).all():
                raise InputError(_bad_sample(loader, x, number, norms[0].running_mean.dtype))
            _run(model, x.astype(norms[0].running_mean.dtype, copy=False) if x.dtype.kind == "f" else x)
        if norms[0].num_batches_tracked.data == 0:
            raise ValueError("there are no batches: a generator that has run already, or an empty loader?")
        if not all(np.isfinite(tensor.data).all() for tensor in statistics):
            raise InputError(
                "the statistics became NaN or infinite, though all samples are finite: look at the weights, or scale "
                "the samples"
            )
    except BaseException:
        for tensor, values in zip(statistics, before, strict=True):
            tensor.data = values
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training


@without_warnings  # the statistics are checked in the end
def _run(model: Module, x: Array) -> None:
    with no_grad():
        model(x)


def _bad_sample(loader: Any, x: Array, number: int, dtype: Any) -> str:
    """Name the first sample of a batch that is NaN or infinite."""
    describe = getattr(loader, "describe_non_finite", None)  # of a DataLoader, which knows the sample's own index
    found = describe(dtype) if describe is not None else ""
    if found:
        return f"{found}: replace it"
    index = int((~np.isfinite(x)).reshape(len(x), -1).any(axis=1).argmax())
    return f"sample {index} of batch {number} is NaN or infinite: replace it"
