"""Inspected: layers in a row that tell their shapes, activations, cost and time. `Sequential` is one."""

from typing import Any

from cnn import training
from cnn.containers.chain import Chain, hide_internal_frames
from cnn.model import lint
from cnn.model import outputs as layer_outputs
from cnn.model.profile import Profile
from cnn.model.summary import Summary
from cnn.module import Array


class Inspected(Chain):
    """A chain with the methods that only look at it.

    Attributes
    ----------
    input_shape : tuple of int or None
        Shape of one sample, without the batch axis.
    loss_func : LossFunc or None
        `build` also reports a last layer that does not fit it.
    """

    input_shape: tuple[int, ...] | None
    loss_func: Any

    @hide_internal_frames
    def build(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Return the shape of every layer's output for one sample (without the batch axis), by its dotted name.

        Nothing is computed. Likely mistakes are reported, as in the first forward pass.

        Raises
        ------
        ShapeError
            If a layer cannot work with its input; it names the layer and the number to change.

        Warns
        -----
        ModelWarning
            For a net that runs but is almost certainly a mistake; see cnn/model/lint.py.

        Examples
        --------
        >>> from cnn import Sequential
        >>> from cnn.layers import Conv2d, Flatten, Linear
        >>> Sequential([Conv2d(1, 4, 3), Flatten(), Linear(2704, 10)]).build((1, 28, 28))
        {'0': (4, 26, 26), '1': (2704,), '2': (10,)}
        """
        self.input_shape = layer_outputs.sample_shape(input_shape)
        lint.mark_as_built(self)
        shapes = layer_outputs.shapes(self, self.input_shape)
        lint.warn(self, shapes, self.loss_func)
        return {name: shape for name, shape in shapes.items() if name}

    @hide_internal_frames
    def activations(self, x: Any) -> dict[str, Array]:
        """Return the output of every layer, inner ones included, by its dotted name, in evaluation mode."""
        return layer_outputs.activations(self, x)

    @hide_internal_frames
    def summary(self, input_shape: tuple[int, ...] | None = None) -> Summary:
        """Return a table of the layers; ``print`` it, or let a notebook show it.

        ``input_shape`` is the shape of one sample, without the batch axis; needed before the first `fit`.
        """
        shape = self.input_shape if input_shape is None else input_shape
        if shape is None:
            raise ValueError("the shape of one sample is not known yet: summary(input_shape=(1, 28, 28))")
        return Summary(self, layer_outputs.sample_shape(shape))

    @hide_internal_frames
    def profile(self, x: Any) -> Profile:
        """Return a table of how long each layer takes with a batch (N, ...); fused layers share a row. ``print`` it."""
        return Profile(self, training.as_samples(x, self))
