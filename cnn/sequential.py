"""Sequential: layers in sequence; given a loss and an optimizer, it trains. How layers run: containers/chain.py."""

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from cnn import training
from cnn.containers.chain import hide_internal_frames
from cnn.core.explain import explain_attributes
from cnn.kernels import one_blas_thread
from cnn.loss import LossFunc
from cnn.model import file, lint, preprocessing
from cnn.model.inspected import Inspected
from cnn.model.objective import Objective
from cnn.model.pairing import check_optimizer
from cnn.module import Array, Module
from cnn.optim import Optimizer, ReduceLROnPlateau, Schedule
from cnn.training import train_step


@explain_attributes
class Sequential(Inspected):
    """Layers in sequence: the output of each is the input of the next. Given a loss and an optimizer, it trains.

    y = f_L(... f2(f1(x)))

    Parameters
    ----------
    layers : list of Module
        At least one; no instance may appear twice.
    loss_func : LossFunc, optional
        Needed to train and to evaluate.
    optimizer : Optimizer, optional
        Needed to train. One created without parameters gets those of this model.
    fuse : bool
        Whether adjacent layers such as Conv2d, ReLU and MaxPool2d may run fused, which takes less time and memory and
        gives the same numbers (containers/fusion/rules.py). False: each layer's own backward can be called afterwards.

    Shape
    -----
    The shape of the first layer's input -> the shape of the last layer's output.

    Attributes
    ----------
    history : History
        Of the last `fit`.
    class_names, input_shape, preprocessing : list of str, tuple of int, dict; or None
        Names of the classes; shape of one sample, set by `fit`; how pixels become inputs. Saved with the model.

    Raises
    ------
    ValueError
        If a layer appears twice, or if the last layer does not fit the loss; see cnn/model/pairing.py.

    Source
    ------
    Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors.

    Examples
    --------
    >>> from cnn.layers import Linear, ReLU, Softmax
    >>> from cnn.loss import CrossEntropyLoss
    >>> from cnn.optim import Adam
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> layers = [Linear(2, 16, rng=rng), ReLU(), Linear(16, 2, rng=rng), Softmax()]
    >>> model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam(lr=0.01))
    >>> history = model.fit(x, y, epochs=40, verbose_freq=0, rng=rng)
    >>> model.evaluate(x, y)[1] > 0.95  # the accuracy
    True
    """

    def __init__(
        self,
        layers: Sequence[Module],
        loss_func: LossFunc | None = None,
        optimizer: Optimizer | None = None,
        fuse: bool = True,
    ) -> None:
        super().__init__(layers, fuse)
        self.loss_func = loss_func
        self.optimizer = optimizer
        self.history = training.History()
        self.class_names: list[str] | None = None
        self.input_shape: tuple[int, ...] | None = None
        self.preprocessing: dict[str, Any] | None = None
        self._was_built = False

    @hide_internal_frames
    def forward(self, x: Array) -> Array:
        """(N, ...) -> (N, ...)"""
        return self.run_forward(x)

    @hide_internal_frames
    def backward(self, grad: Array) -> Array | None:
        """(N, ...) -> (N, ...), or None if there is an optimizer, because the gradient of the data is not needed"""
        with one_blas_thread():
            return self.run_backward(grad)

    def run_forward(self, x: Array, to_logits: bool = False) -> Array:
        """Run the layers, ``to_logits`` without a final Softmax. The first run also checks the net for mistakes."""
        return self.run_layers(x, to_logits) if self._was_built else lint.first_run(self, x, to_logits)

    def arguments(self) -> dict[str, Any]:
        """Return the layers and the loss; an optimizer is not part of a model, and its state is not saved."""
        return {"layers": list(self.layers), "loss_func": self.loss_func}

    def _set_loss_func(self, loss_func: LossFunc | None) -> None:
        self._objective = Objective(self, loss_func)

    def _set_optimizer(self, optimizer: Optimizer | None) -> None:
        if optimizer is not None:
            check_optimizer(optimizer, self.parameters())
        self._optimizer = optimizer
        self.needs_input_grad = optimizer is None

    loss_func = property(attrgetter("_objective.loss_func"), _set_loss_func)
    optimizer = property(attrgetter("_optimizer"), _set_optimizer)

    @hide_internal_frames
    def loss_and_prediction(self, x: Array, y: Array, loss_func: LossFunc | None = None) -> tuple[float, Array]:
        """Return the mean loss of a batch, ``loss_func`` if given, and the model's outputs."""
        loss, outputs, _ = self._objective.run(self, x, y, loss_func)
        return loss, self._objective.prediction(outputs)

    @hide_internal_frames
    def loss_and_grad(self, x: Array, y: Array, loss_func: LossFunc | None = None) -> tuple[float, Array]:
        """Return the mean loss of samples (N, ...) and the model's outputs; add to the gradient of every parameter."""
        with one_blas_thread():
            loss, outputs = self._objective.loss_and_grad(self, x, y, loss_func)
        return loss, self._objective.prediction(outputs)

    _default_loss_and_grad = loss_and_grad  # so that train_step.py sees whether a subclass has another

    @hide_internal_frames
    def train_step(self, x: Array, y: Array) -> float:
        """Run one step of the optimizer on a batch; return the loss before it."""
        if self._optimizer is None:
            raise ValueError("this model has no optimizer: Sequential(layers=..., loss_func=..., optimizer=Adam())")
        return train_step.train_step(self, x, y)[0]

    @hide_internal_frames
    def fit(
        self,
        x: Any,
        y: Any = None,
        validation_data: Any = None,
        epochs: int = 10,
        batch_size: int = 32,
        verbose_freq: int = 1,
        rng: np.random.Generator | int | None = None,
        callbacks: Sequence[training.Callback | Schedule | ReduceLROnPlateau] = (),
        resume: str | Path | None = None,
        evaluate_train: bool = False,
        validation_split: float = 0.0,
        drop_last: bool = False,
        clip_norm: float | None = None,
        class_weight: dict[int, float] | str | None = None,
        sample_weight: Any = None,
        ranks: Any = None,
        sync_batchnorm: bool = True,
    ) -> training.History:
        """Train on all samples, ``epochs`` times; return the metrics of every epoch.

        Parameters
        ----------
        x, y : array_like
            N samples (N, ...) of any floating-point dtype, and labels (N,) of any integer dtype or the targets of
            `loss_func`. Or only ``x``, a `cnn.data.DataLoader`, with its own batch size, order and transforms.
        validation_data : pair of array_like or DataLoader, optional
            Samples and targets that are evaluated after each epoch.
        epochs, batch_size : int
            At least 1. The last batch of an epoch may be smaller.
        verbose_freq : int
            Print a line every ``verbose_freq`` epochs; 0: never.
        rng : numpy.random.Generator, int or None
            Draws a new order of the samples for each epoch.
        callbacks : sequence of callable, Schedule or ReduceLROnPlateau
            Each is called with every `cnn.training.Step`, while BLAS has one thread; True ends the training. A schedule
            of `cnn.optim` is stepped after every epoch, a OneCycleLR after every step.
        resume : str or Path, optional
            Folder of a `cnn.training.Checkpoint` of the same training, to continue. Only ``epochs`` may differ.
        evaluate_train : bool
            Measure train_loss and train_accuracy in evaluation mode after each epoch, which costs a forward pass.
        validation_split : float
            This fraction of the samples, the last ones before any shuffling, becomes the validation data.
        drop_last : bool
            Leave out a last batch that would be smaller, such as one of a single sample.
        clip_norm : float, optional
            Scale the gradients of a step down to this norm, if theirs is larger.
        class_weight : dict {class id: weight} or "balanced", optional
            How much each class counts in training, see `cnn.training.train`; not in validation.
        sample_weight : array_like (N,), optional
            How much each sample counts in training; not in validation.
        ranks : Ranks, optional
            Processes that train together, from `cnn.distributed.world`; ``batch_size`` is that of all of them.
        sync_batchnorm : bool
            Whether their batch norms take the statistics of the whole batch, as one process does.

        Raises
        ------
        ValueError
            If the data do not fit, before anything is trained, or if the checkpoints belong to another training.
        FloatingPointError
            If the loss becomes NaN or infinite; the model has the weights of the last step with a finite loss.
        """
        settings: dict[str, Any] = {"validation_data": validation_data, "epochs": epochs, "batch_size": batch_size}
        settings |= {"rng": rng, "callbacks": callbacks, "resume": resume, "evaluate_train": evaluate_train}
        settings |= {"validation_split": validation_split, "drop_last": drop_last, "clip_norm": clip_norm}
        settings |= {"class_weight": class_weight, "sample_weight": sample_weight}
        settings |= {"ranks": ranks, "sync_batchnorm": sync_batchnorm}
        return training.fit(self, x, y, verbose_freq, **settings)

    @hide_internal_frames
    def evaluate(self, x: Any, y: Any = None, batch_size: int = 256, sample_weight: Any = None) -> tuple[float, float]:
        """Return mean loss and accuracy, a fraction (nan for a regression loss), see `cnn.training.evaluate`.

        Or only ``x``: a DataLoader, whose samples are read in order with all its transforms, as validation data in
        `fit`; or a generator, or another iterable, of batches (x, y).

        Examples
        --------
        >>> from cnn.layers import Linear
        >>> from cnn.loss import MSELoss
        >>> x, y = np.eye(4), np.ones((4, 1))
        >>> model = Sequential([Linear(4, 1)], loss_func=MSELoss())
        >>> batches = ((x[i : i + 2], y[i : i + 2]) for i in (0, 2))
        >>> model.evaluate(batches)[0] == model.evaluate(x, y, batch_size=2)[0]
        True
        """
        self._objective.required()
        return training.evaluate(self, x, y, batch_size, sample_weight)

    @hide_internal_frames
    def predict(self, x: Any, batch_size: int = 256) -> Array:
        """Return class ids (N,), one for each position of outputs (N, K, H, W); with a binary loss labels of the
        outputs' shape, 1 from a probability of 0.5 on; with a regression loss the outputs; in evaluation mode.

        ``x`` holds the samples, or is a DataLoader, read in order, or an iterable of batches x or (x, y).
        """
        return self._objective.decisions(training.predict(self, x, batch_size))

    @hide_internal_frames
    def predict_proba(self, x: Any, batch_size: int = 256) -> Array:
        """Return the probabilities of the classes (N, K, ...), or of each label; ``x`` is as in `predict`.

        A model without classes, whose loss is a regression loss, raises a ValueError.
        """
        self._objective.check_classes()
        return self._objective.probabilities(training.predict(self, x, batch_size))

    def preprocess(self, pixels: Any) -> Array:
        """Turn pixels of 0 to 255, (N, C, H, W), into inputs as in training: (scale pixel - mean) / std.

        A loaded model guesses wrongly from pixels that were prepared in another way, such as only divided by 255.
        """
        return preprocessing.preprocess(pixels, self.preprocessing)

    def read_image(self, path: str | Path) -> Array:
        """Read an image file as in the training of `cnn train FOLDER`: pixels for `preprocess`, uint8 (C, H, W).

        An InputError says if the model was not trained on a folder of images, or what is wrong with the file.
        """
        return preprocessing.read_image(path, self.input_shape, self.preprocessing)

    def save(self, path: str | Path, classes: tuple[type, ...] = ()) -> None:
        """Write the model to one safetensors file, with everything that `load` needs.

        An old file is replaced only once the new one is complete. ``classes`` are your own layer classes in the model.

        Raises
        ------
        ValueError
            If there is a layer of your own that ``classes`` does not name.
        """
        file.write(path, self, (Sequential, *classes))

    @classmethod
    def load(cls, path: str | Path, classes: tuple[type, ...] | list[type] = ()) -> Self:
        """Read what `save` wrote. The model has its loss but no optimizer; give it one to train on.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file; if it is damaged, not a model, or has a layer that ``classes`` does not name.
        """
        return cast(Self, file.read(path, cls, (Sequential, *classes)))

    def __getitem__(self, index: int | slice) -> Any:
        """Return one layer, or a Sequential of several, which it shares with this one."""
        return Sequential(self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __repr__(self) -> str:
        rows = [f"    {layer!r}".replace("\n", "\n    ") for layer in self.layers]
        rest = "" if self.loss_func is None else f", loss_func={self.loss_func!r}"
        return "Sequential(layers=[\n" + ",\n".join(rows) + f",\n]{rest})"
