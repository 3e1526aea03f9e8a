"""WeightAverage: an exponential moving average of the weights, which often does better than the final weights."""

from collections.abc import Iterator
from contextlib import contextmanager

from cnn.module import Array, Module
from cnn.optim.shared import at_least_zero, check_model


class WeightAverage:
    """Keep an exponential moving average of a model's weights during training; it is less noisy than the weights.

    average = decay average + (1 - decay) w,  average = w in the first update

    The running statistics of norms are not averaged; they stay those of the model.

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
