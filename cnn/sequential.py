"""Sequential: layers in a row; given a loss and an optimizer, it trains."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from cnn import training
from cnn.containers.container import NOTHING, Container
from cnn.containers.fusion import rules as fusion
from cnn.core import modes
from cnn.core.checks import boolean, integer
from cnn.errors import InputError, hide_internal_frames
from cnn.kernels import one_blas_thread
from cnn.layers import LogSoftmax, Softmax
from cnn.layers.softmax import softmax
from cnn.loss import CrossEntropyLoss, LossFunc, NLLLoss
from cnn.loss.loss_func import check_one_number
from cnn.loss.targets import ClassificationLoss, ElementwiseLoss
from cnn.model import file as model_file
from cnn.model import lint as mistakes
from cnn.model.pairing import check_axis, check_pairing
from cnn.model.profile import Profile
from cnn.model.summary import Summary
from cnn.module import Array, Module, evaluating, watching
from cnn.optim import Optimizer


class Sequential(Container):
    """Layers in a row: the output of each is the input of the next. Given a loss and an optimizer, it trains.

    y = f_L(... f2(f1(x)))

    Backward walks the same row from the end: each layer turns the gradient of its output into that of its input.

    Parameters
    ----------
    layers : list of Module
        At least one; no instance twice.
    loss_func : LossFunc, optional
        Needed to train and to evaluate.
    optimizer : Optimizer, optional
        Needed to train. One that was made without parameters gets those of this model.
    fuse : bool
        Whether neighbours such as Conv2d, ReLU and MaxPool2d may run as one, which takes less time and memory and gives
        the same numbers (see containers/fusion/rules.py). False: each layer's own backward can be called after a forward.

    Shape
    -----
    That of the first layer's input -> that of the last layer's output.

    Attributes
    ----------
    history : History
        Of the last `fit`.
    class_names : list of str or None
        Names of the classes, saved with the model.
    input_shape : tuple of int or None
        Shape of one sample, without the batch axis; set by `fit`, saved with the model.
    preprocessing : dict or None
        How pixels of 0 to 255 become inputs, {"scale": s, "mean": m, "std": d} for (s pixel - m) / d; see `preprocess`.

    Raises
    ------
    ValueError
        If a layer is there twice, or if the end of the net and the loss do not fit: Softmax goes with
        CrossEntropyLoss(), no Softmax with CrossEntropyLoss(from_logits=True), LogSoftmax with NLLLoss(), Sigmoid with
        BCELoss(), no Sigmoid with BCEWithLogitsLoss().

    Source
    ------
    Rumelhart, Hinton and Williams 1986, Learning representations by back-propagating errors.

    Examples
    --------
    >>> import numpy as np
    >>> from cnn.layers import Linear, ReLU
    >>> from cnn.optim import Adam
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2))
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> layers = [Linear(2, 16, rng=rng), ReLU(), Linear(16, 2, rng=rng), Softmax()]
    >>> model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam(lr=0.01))
    >>> history = model.fit(x, y, epochs=40, verbose_freq=0, rng=rng)
    >>> loss, accuracy = model.evaluate(x, y)
    >>> accuracy > 0.95
    True
    """

    def __init__(
        self,
        layers: Sequence[Module],
        loss_func: LossFunc | None = None,
        optimizer: Optimizer | None = None,
        fuse: bool = True,
    ) -> None:
        if not isinstance(layers, (list, tuple)):
            kind = type(layers).__name__
            raise TypeError(f"layers must be a list, Sequential([{kind}(...), ...]), got {kind}")
        self._layers = tuple(layers)
        self.validate_children()
        self.fuse = boolean(fuse, "fuse")
        self._groups = tuple(fusion.groups(self._layers))
        self._groups_by_start: dict[int, list[fusion.Group]] = {}
        self._groups_by_end: dict[int, list[fusion.Group]] = {}
        for group in self._groups:
            self._groups_by_start.setdefault(group.start, []).append(group)
            self._groups_by_end.setdefault(group.start + len(group.layers) - 1, []).append(group)
        self.loss_func = loss_func
        self.optimizer = optimizer
        self.history = training.History()
        self.class_names: list[str] | None = None
        self.input_shape: tuple[int, ...] | None = None
        self.preprocessing: dict[str, Any] | None = None
        self._was_built = False

    # The module protocol

    @property
    def layers(self) -> tuple[Module, ...]:
        """The layers, which stay those of the construction; for others make another Sequential of some of them."""
        return self._layers

    def children(self) -> dict[str, Module]:
        return {str(i): layer for i, layer in enumerate(self.layers)}

    @hide_internal_frames
    def forward(self, x: Array) -> Array:
        """(N, ...) -> (N, ...)"""
        return self._forward(x)

    @hide_internal_frames
    def backward(self, grad: Array) -> Array | None:
        """(N, ...) -> (N, ...), or None if there is an optimizer, because nobody needs the gradient of the data"""
        return self._backward(grad)

    def _forward(self, x: Array, without_softmax: bool = False) -> Array:
        """Run the layers, or all but a final Softmax, which may be the last layer of a Sequential that is the last."""
        if not self._was_built:
            return self._forward_and_warn(x, without_softmax)
        end = len(self.layers) - 1 if without_softmax else len(self.layers)
        allowed = fusion.allowed() if self.fuse else None
        if modes.state.saving:
            for one in self._groups:
                one.forget()
        # to limit BLAS takes 15 us: once for many products, or, with compiled kernels, only for those that remain
        with NOTHING if allowed == "jit" else one_blas_thread():
            i = 0
            while i < end:
                group = self._group_at(i, x, allowed)
                needs_input_grad = i > 0 or self.needs_input_grad
                if group is not None:
                    x = group.run(x, needs_input_grad)
                    i += len(group.layers)
                else:
                    x = self.run(str(i), self.layers[i], x, needs_input_grad)
                    i += 1
            last = self.layers[-1]
            return last._forward(x, True) if without_softmax and isinstance(last, Sequential) else x

    def _group_at(self, i: int, x: Array, allowed: str | None) -> fusion.Group | None:
        for group in self._groups_by_start.get(i, ()):
            if group.runs(x, allowed):
                return group
        return None

    def _backward(self, grad: Array, without_softmax: bool = False) -> Array | None:
        found: Array | None = grad
        with one_blas_thread():
            i = len(self.layers) - 1
            if without_softmax:
                last = self.layers[i]
                found = last._backward(grad, True) if isinstance(last, Sequential) else grad
                i -= 1
            while i >= 0:
                group = next((group for group in self._groups_by_end.get(i, ()) if group.has_run), None)
                next_layer = self.layers[i + 1] if i + 1 < len(self.layers) else None
                found = self.run_back(str(i), group or self.layers[i], found, next_layer)  # type: ignore[arg-type]  # only the first gives None
                i = group.next_back if group else i - 1
        return found if self.needs_input_grad else None

    def forget(self) -> None:
        """Forget what an earlier forward left for backward, also in layers that ran as one."""
        super().forget()
        for group in self._groups:
            group.forget()

    def arguments(self) -> dict[str, Any]:
        """Return the layers and the loss; an optimizer is no part of a model, and its state is not saved."""
        return {"layers": list(self.layers), "loss_func": self.loss_func}

    # Shapes

    @hide_internal_frames
    def build(self, input_shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Find the shape of every layer's output for one sample, without computing, and look for mistakes.

        The first call does the same, so this is for those who want to know before.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one sample, without the batch axis.

        Returns
        -------
        dict of str to tuple of int
            By the dotted names of the layers.

        Raises
        ------
        ShapeError
            If a layer cannot work with what it is given; it names the layer and the number to change.

        Warns
        -----
        ModelWarning
            For what runs and is almost surely a mistake: Linear after Linear with nothing between, a bias right before
            BatchNorm, images that reach a Linear without Flatten, an activation between the last weights and a loss.

        Examples
        --------
        >>> from cnn.layers import Conv2d, Flatten, Linear
        >>> Sequential([Conv2d(1, 4, 3), Flatten(), Linear(2704, 10)]).build((1, 28, 28))
        {'0': (4, 26, 26), '1': (2704,), '2': (10,)}
        """
        self.input_shape = self._one_sample(input_shape)
        self._mark_as_built()
        outputs = mistakes.shapes(self, self.input_shape)
        mistakes.warn(self, outputs, self.loss_func)
        return {name: shape for name, shape in outputs.items() if name}

    def _forward_and_warn(self, x: Array, without_softmax: bool) -> Array:
        """The first call: once it has gone well, say what is almost surely a mistake."""
        self._mark_as_built()
        ours = all(type(module).__module__.startswith("cnn.") for module in self.modules())
        # layers that will run as one do so here, too: the first call gives the same bits
        if ours and fusion.allowed() in ("jit", "array"):
            y = self._forward(x, without_softmax)
            with contextlib.suppress(InputError):
                mistakes.warn(self, mistakes.shapes(self, x.shape[1:]), self.loss_func)
            return y
        with mistakes.recording(self) as outputs:
            y = self._forward(x, without_softmax)
        mistakes.warn(self, outputs, self.loss_func)
        return y

    @staticmethod
    def _one_sample(shape: Any) -> tuple[int, ...]:
        if not isinstance(shape, (tuple, list)):
            raise TypeError(f"input_shape is the shape of one sample, such as (1, 28, 28), got {shape!r}")
        return tuple(integer(n, "each size in input_shape", 1) for n in shape)

    def _mark_as_built(self) -> None:
        for module in self.modules():
            if isinstance(module, Sequential):
                module._was_built = True

    # Training

    @property
    def loss_func(self) -> LossFunc | None:
        return self._loss_func

    @loss_func.setter
    def loss_func(self, loss_func: LossFunc | None) -> None:
        if isinstance(loss_func, type):
            raise TypeError(f"loss_func is the class {loss_func.__name__}: write {loss_func.__name__}()")
        if loss_func is not None and not isinstance(loss_func, LossFunc):
            raise TypeError(f"loss_func must be a LossFunc, such as CrossEntropyLoss(), got {loss_func!r}")
        check_pairing(*self._last_layer(), loss_func)
        self._loss_func = loss_func

    def _last_layer(self) -> tuple[Module, str]:
        layer: Module = self
        names = []
        while isinstance(layer, Sequential):
            names.append(str(len(layer.layers) - 1))
            layer = layer.layers[-1]
        return layer, ".".join(names)

    @property
    def optimizer(self) -> Optimizer | None:
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: Optimizer | None) -> None:
        if isinstance(optimizer, type):
            raise TypeError(f"optimizer is the class {optimizer.__name__}: write {optimizer.__name__}()")
        if optimizer is not None:
            if not isinstance(optimizer, Optimizer):
                raise TypeError(f"optimizer must be an Optimizer, such as Adam(), got {optimizer!r}")
            mine = self.parameters()
            if not optimizer.params:
                optimizer.set_params(mine)
            elif not {id(p) for p in mine} & {id(p) for p in optimizer.params}:
                raise ValueError(
                    f"this {type(optimizer).__name__} trains the parameters of another model: make one for each model"
                )
        self._optimizer = optimizer
        self.needs_input_grad = optimizer is None

    def _joint_loss(self) -> CrossEntropyLoss | None:
        """Return a final Softmax and cross-entropy as one loss, whose formula loses no digits; None without them."""
        last, _ = self._last_layer()
        if type(self.loss_func) is CrossEntropyLoss and type(last) is Softmax:
            return self.loss_func.of_logits()
        return None

    @hide_internal_frames
    def loss_and_prediction(self, x: Array, y: Array) -> tuple[float, Array]:
        """Return the mean loss of a batch and the model's outputs."""
        loss, outputs, loss_func = self._loss(x, y)
        return loss, self._prediction(outputs, loss_func)

    def _prediction(self, outputs: Array, loss_func: LossFunc) -> Array:
        """The model's outputs from what the loss has read: logits, where it is Softmax and cross-entropy in one."""
        return outputs if loss_func is self.loss_func else softmax(outputs, 1)

    def _loss(self, x: Array, y: Array) -> tuple[float, Array, LossFunc]:
        """Return the loss, what it has read, and what it was."""
        if self.loss_func is None:
            raise ValueError("this model has no loss: Sequential(layers=..., loss_func=CrossEntropyLoss())")
        check_one_number(self.loss_func)
        joint = self._joint_loss()
        if joint is None:
            prediction = self._forward(x)
            return self.loss_func(prediction, y), prediction, self.loss_func
        logits = self._forward(x, without_softmax=True)
        check_axis(*self._last_layer(), logits.shape)
        return joint(logits, y), logits, joint

    @hide_internal_frames
    def loss_and_grad(self, x: Array, y: Array) -> tuple[float, Array]:
        """Return the mean loss of a batch and the model's outputs, and add to the gradient of every parameter.

        Parameters
        ----------
        x : ndarray
            Samples (N, ...), in the model's dtype.
        y : ndarray
            What `loss_func` expects.
        """
        loss, outputs, loss_func = self._forward_and_backward(x, y)
        return loss, self._prediction(outputs, loss_func)

    def _forward_and_backward(self, x: Array, y: Array) -> tuple[float, Array, LossFunc]:
        with one_blas_thread():
            loss, outputs, loss_func = self._loss(x, y)
            self._backward(loss_func.backward(), without_softmax=loss_func is not self.loss_func)
        return loss, outputs, loss_func

    @hide_internal_frames
    def train_step(self, x: Array, y: Array) -> float:
        """One step of the optimizer on a batch; returns the loss before it."""
        if self.optimizer is None:
            raise ValueError("this model has no optimizer: Sequential(layers=..., loss_func=..., optimizer=Adam())")
        with one_blas_thread():
            loss, _, _ = self._forward_and_backward(x, y)
            self.optimizer.step()
        self.zero_grad()
        return loss

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
        callbacks: Sequence[training.Callback] = (),
        resume: str | Path | None = None,
        evaluate_train: bool = False,
    ) -> training.History:
        """Train on all samples, ``epochs`` times over.

        Parameters
        ----------
        x, y : array_like
            N samples (N, ...) of any real floating dtype, and labels (N,) of any integer dtype or what `loss_func`
            expects. Or ``x`` alone, a `cnn.data.DataLoader`, which has a batch size, an order and transforms of its
            own.
        validation_data : pair of array_like or DataLoader, optional
            Samples and targets that are evaluated after each epoch and never trained on.
        epochs, batch_size : int
            At least 1. The last batch of an epoch may be smaller.
        verbose_freq : int
            Print a line every so many epochs; 0: none.
        rng : numpy.random.Generator, int or None
            Draws the order of the samples, anew each epoch.
        callbacks : sequence of callable
            Each is called with every `cnn.training.Step`; one that returns True ends the training. Those of
            `cnn.training` stop early, write checkpoints and logs, move the learning rate and average the weights.
        resume : str or Path, optional
            Folder of a `cnn.training.Checkpoint` of this training, which goes on where that stopped, with the same
            bits. All arguments must be the same but ``epochs``, which may be more.
        evaluate_train : bool
            Measure train_loss and train_accuracy as validation is, in evaluation mode after each epoch.

        Returns
        -------
        History

        Raises
        ------
        ValueError
            If the data do not fit; the message names the layer or the argument to change. Nothing has been trained
            then. Or if the checkpoints in ``resume`` are of another training.
        FloatingPointError
            If the loss becomes NaN or infinite; the model has the weights of the last step with a finite loss.
        """
        return training.fit(
            self,
            x,
            y,
            verbose_freq,
            validation_data=validation_data,
            epochs=epochs,
            batch_size=batch_size,
            rng=rng,
            callbacks=callbacks,
            resume=resume,
            evaluate_train=evaluate_train,
        )

    @hide_internal_frames
    def evaluate(self, x: Any, y: Any, batch_size: int = 256) -> tuple[float, float]:
        """Return mean loss and accuracy, a fraction (nan if the targets are no classes), in evaluation mode."""
        if self.loss_func is None:
            raise ValueError("this model has no loss: Sequential(layers=..., loss_func=CrossEntropyLoss())")
        return training.evaluate(self, x, y, batch_size)

    # Use

    @hide_internal_frames
    def predict(self, x: Any, batch_size: int = 256) -> Array:
        """Return class ids (N,), one for each place of outputs (N, K, H, W), or the outputs of a model that has no
        classes (its loss is MSELoss or another of numbers), in evaluation mode.
        """
        y = training.predict(self, x, batch_size)
        return y.argmax(axis=1) if self._has_classes() else y

    @hide_internal_frames
    def predict_proba(self, x: Any, batch_size: int = 256) -> Array:
        """Return the probabilities of the classes (N, K), or (N, K, H, W), in evaluation mode.

        Raises
        ------
        ValueError
            If the model has no classes: its loss is not CrossEntropyLoss or NLLLoss, and its last layer not Softmax.
        """
        if not self._has_classes():
            raise ValueError(
                f"a model with loss_func={self.loss_func!r} and no final Softmax has no classes: use predict"
            )
        y = training.predict(self, x, batch_size)
        if isinstance(self.loss_func, NLLLoss) or isinstance(self._last_layer()[0], LogSoftmax):
            return np.exp(y)
        return softmax(y, 1) if isinstance(self.loss_func, CrossEntropyLoss) and self.loss_func.from_logits else y

    def _has_classes(self) -> bool:
        if isinstance(self.loss_func, ElementwiseLoss):
            return False
        return isinstance(self.loss_func, ClassificationLoss) or isinstance(
            self._last_layer()[0], (Softmax, LogSoftmax)
        )

    def preprocess(self, pixels: Any) -> Array:
        """Turn pixels of 0 to 255, (N, C, H, W), into inputs as they were in training: (scale pixel - mean) / std."""
        settings = self.preprocessing or {}
        x = np.asarray(pixels).astype(np.float32) * np.float32(settings.get("scale", 1 / 255))
        mean, std = (
            np.float32(settings.get(key, default)).reshape(-1, 1, 1) for key, default in (("mean", 0), ("std", 1))
        )
        return (x - mean) / std

    @hide_internal_frames
    def activations(self, x: Any) -> dict[str, Array]:
        """Return the output of every layer, inner ones included, by its dotted name, in evaluation mode."""
        names = {id(module): name for name, module in self.named_modules()}
        outputs: dict[str, Array] = {}

        def look(module: Module, y: Array) -> None:
            if module is not self and id(module) in names:
                outputs[names[id(module)]] = y

        with evaluating(), watching(look):
            self.forward(training.as_samples(x, self))
        return outputs

    @hide_internal_frames
    def summary(self, input_shape: tuple[int, ...] | None = None) -> Summary:
        """Return a table of the layers; ``print`` it, or let a notebook show it.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Shape of one sample, without the batch axis; needed before the first `fit`.
        """
        shape = self.input_shape if input_shape is None else input_shape
        if shape is None:
            raise ValueError("the shape of one sample is not known yet: summary(input_shape=(1, 28, 28))")
        return Summary(self, self._one_sample(shape))

    @hide_internal_frames
    def profile(self, x: Any) -> Profile:
        """Return a table of how long each layer takes with a batch, forward and backward; ``print`` it.

        Layers that run as one are one row (see ``fuse``). The model stays as it is.

        Parameters
        ----------
        x : array_like
            A batch of samples, (N, ...), as many as in training.

        Examples
        --------
        >>> from cnn import zoo
        >>> table = zoo.lenet5().profile(np.zeros((4, 1, 28, 28), np.float32))
        >>> table.rows[0]["layer"], table.rows[0]["forward"] > 0
        ('Conv2d', True)
        """
        return Profile(self, training.as_samples(x, self))

    # Files

    def save(self, path: str | Path, classes: tuple[type, ...] = ()) -> None:
        """Write the model to one safetensors file that is all `load` needs; the same model gives the same bytes.

        Parameters
        ----------
        path : str or Path
            An old file is replaced only once the new one is whole.
        classes : tuple of type
            Your own layer classes in the model, if there are any; `load` needs them too.

        Raises
        ------
        ValueError
            If there is a layer of your own that ``classes`` does not name.
        """
        extras = {"class_names": self.class_names, "input_shape": self.input_shape, "preprocessing": self.preprocessing}
        model_file.write(path, self, extras, (Sequential, *classes))

    @classmethod
    def load(cls, path: str | Path, classes: tuple[type, ...] | list[type] = ()) -> Self:
        """Read what `save` wrote. The model has its loss but no optimizer; give it one to train on.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is damaged, no model, or has a layer that is neither ours nor among ``classes``.
        """
        model, extras = model_file.read(path, cls, (Sequential, *classes))
        model.class_names, model.preprocessing = extras["class_names"], extras["preprocessing"]
        model.input_shape = None if extras["input_shape"] is None else tuple(extras["input_shape"])
        return model

    # A row of layers

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        """Return one layer, or a Sequential of some, which shares them with this one."""
        return Sequential(self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __repr__(self) -> str:
        rows = [f"    {layer!r}".replace("\n", "\n    ") for layer in self.layers]
        rest = "" if self.loss_func is None else f", loss_func={self.loss_func!r}"
        return "Sequential(layers=[\n" + ",\n".join(rows) + f",\n]{rest})"
