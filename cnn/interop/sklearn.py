"""CNNClassifier and CNNRegressor: nets as estimators of scikit-learn, for Pipeline, GridSearchCV and the like."""

import threading
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from cnn.core import rng
from cnn.core.checks import integer
from cnn.core.modes import without_warnings
from cnn.core.text import count_text, short_text
from cnn.errors import InputError, ShapeError
from cnn.interop.sklearn_net import checked_image_shape, default_net
from cnn.interop.sklearn_state import packed, unpacked
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.module import Array
from cnn.optim import Adam
from cnn.sequential import Sequential

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError:
    raise ImportError(
        'cnn.interop.sklearn needs scikit-learn, which is not installed: pip install "cnn[sklearn]"'
    ) from None

Net = Callable[[tuple[int, ...], int, int], Sequential]
_building = threading.Lock()  # the default generator is seeded meanwhile


class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What both estimators share. The arguments are those of scikit-learn's contract: attributes, and nothing else."""

    def __init__(
        self,
        net: Net | None = None,
        width: int = 16,
        image_shape: tuple[int, int, int] | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        lr: float = 2e-3,
        random_state: Any = None,
    ) -> None:
        self.net = net
        self.width = width
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def _samples(self, X: Any, y: Any = "no_validation", reset: bool = False) -> tuple[Array, Any]:
        """Return checked samples (N, ...) in float32, and the checked targets."""
        checks: dict[str, Any] = {"dtype": [np.float32, np.float64], "reset": reset}
        if getattr(X, "ndim", 2) > 2:
            checks |= {"ensure_2d": False, "allow_nd": True}
        has_targets = not isinstance(y, str)
        if has_targets and isinstance(self, RegressorMixin):
            checks |= {"multi_output": True, "y_numeric": True}
        checked = validate_data(self, X, y, **checks)
        X, y = checked if has_targets else (checked, None)
        if X.ndim > 2:
            features = int(np.prod(X.shape[1:]))
            if reset:
                self.n_features_in_ = features
            elif features != self.n_features_in_:
                raise InputError(
                    f"X has {features} features, but {type(self).__name__} is expecting {self.n_features_in_}"
                )
        x = without_warnings(X.astype)(np.float32, copy=False)
        if not np.isfinite(x).all():
            raise InputError("X has values that are too large for float32: scale them first, as StandardScaler does")
        if self.image_shape is not None:
            shape = checked_image_shape(self.image_shape)
            if x.shape[1:] != shape:
                if x.ndim != 2 or x.shape[1] != np.prod(shape):
                    raise InputError(f"X of shape {x.shape} has no rows of image_shape={shape}: change image_shape")
                x = x.reshape(-1, *shape)
        elif x.ndim == 3:
            raise InputError(
                f"X of shape {x.shape} must be rows (N, F) or images (N, C, H, W): X[:, None] adds a channel"
            )
        return x, y

    def _start(self, x: Array, outputs: int, loss_func: Any) -> None:
        """Make a new net."""
        self._random = check_random_state(self.random_state)
        seed = int(self._random.randint(2**31))
        build = default_net if self.net is None else self.net
        if not callable(build):
            raise TypeError(f"net must be a function net(input_shape, outputs, width), got {short_text(build)}")
        with _building:
            before = rng.state_dict()
            rng.manual_seed(seed)
            try:
                model = build(x.shape[1:], outputs, self.width)
            finally:
                rng.load_state_dict(before)
        if not isinstance(model, Sequential):
            raise TypeError(f"net must return a Sequential, got {short_text(model)}")
        model.loss_func, model.optimizer = loss_func, Adam(lr=self.lr)
        given = self._outputs_of(model, x[:2]).shape[1:]
        if given != (outputs,):
            wanted = count_text(outputs, "number")
            raise ShapeError(
                f"net must give {wanted} for a sample, but gives {given}: end it with Linear(..., outputs)"
            )
        self.model_ = model
        self.n_iter_ = 0

    def _train(self, x: Array, y: Array, sample_weight: Any, epochs: int) -> None:
        batch_size = min(integer(self.batch_size, "batch_size", 1), len(x))
        drop_last = len(x) > batch_size and len(x) % batch_size == 1  # batch normalization needs two samples
        seed = int(self._random.randint(2**31))
        self.model_.optimizer.lr = self.lr  # set_params may have changed it
        history = self.model_.fit(
            *(x, y),
            epochs=epochs,
            batch_size=batch_size,
            drop_last=drop_last,
            rng=seed,
            sample_weight=sample_weight,
            verbose_freq=0,
        )
        self.loss_curve_ = history.train_loss
        self.n_iter_ += epochs

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        x, _ = self._samples(X)
        return self._outputs_of(self.model_, x)

    def _outputs_of(self, model: Sequential, x: Array) -> Array:
        return model.predict(x) if isinstance(self, RegressorMixin) else model.predict_proba(x)

    def __getstate__(self) -> dict[str, Any]:
        """The state for a pickle, with the model as the bytes of its own file."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = packed(state["model_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "model_" in state:
            state = state | {"model_": unpacked(state["model_"])}
        super().__setstate__(state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = isinstance(self, RegressorMixin)
        return tags


class CNNClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A net that classifies, as an estimator of scikit-learn.

    Parameters
    ----------
    net : callable, optional
        ``net(input_shape, outputs, width)`` returns a new `Sequential` that ends with the scores of the classes,
        without a Softmax. By default `default_net`. For processes of joblib, a function of a module, not a lambda.
    width : int
        Channels of the first convolution, or a quarter of the units of each hidden layer; a `net` may use it otherwise.
    image_shape : tuple of int, optional
        (C, H, W): the rows of X are images. X of shape (N, C, H, W) needs none.
    epochs, batch_size, lr
        Of the training with Adam.
    class_weight : dict {class: weight} or "balanced", optional
        How much each class counts.
    random_state : int, RandomState or None
        Draws the weights and the order of the samples.

    Attributes
    ----------
    classes_ : ndarray
    model_ : Sequential
        It can be saved, exported and looked at.
    n_features_in_, n_iter_, loss_curve_
        As in other estimators.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = CNNClassifier(image_shape=(1, 8, 8), epochs=3, random_state=0).fit(X[:1000] / 16, y[:1000])
    >>> classifier.score(X[1000:] / 16, y[1000:]) > 0.9
    True
    """

    def __init__(
        self,
        net: Net | None = None,
        width: int = 16,
        image_shape: tuple[int, int, int] | None = None,
        epochs: int = 50,
        batch_size: int = 32,
        lr: float = 2e-3,
        class_weight: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(net, width, image_shape, epochs, batch_size, lr, random_state)
        self.class_weight = class_weight

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new net on samples (N, F) or (N, C, H, W) and classes (N,) of any type."""
        x, y = self._samples(X, y, reset=True)
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        return self._fit(x, y, sample_weight, self.epochs)

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples; the first call needs all ``classes``."""
        is_first = not hasattr(self, "model_")
        x, y = self._samples(X, y, reset=is_first)
        check_classification_targets(y)
        if is_first:
            if classes is None:
                raise InputError("the first call of partial_fit needs classes=np.unique(y) of all samples to come")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise InputError(f"classes differ from those of the first call of partial_fit, {self.classes_}")
        return self._fit(x, y, sample_weight, 1, go_on=not is_first)

    def _fit(self, x: Array, y: Any, sample_weight: Any, epochs: int, go_on: bool = False) -> Self:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise InputError(f"y has the class {unknown.tolist()[0]!r}, which is none of {self.classes_}")
        labels = np.searchsorted(self.classes_, y)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, x)
        if self.class_weight is not None:
            from sklearn.utils.class_weight import compute_sample_weight

            of_class = compute_sample_weight(self.class_weight, y)
            weights = of_class if weights is None else weights * of_class
        if not go_on:
            self._start(x, max(2, len(self.classes_)), CrossEntropyLoss(from_logits=True))
        self._train(x, labels, weights, epochs)
        return self

    def predict_proba(self, X: Any) -> Array:
        """Return the probabilities of the classes, (N, K), in the order of ``classes_``."""
        outputs = self._outputs(X)[:, : len(self.classes_)]
        return outputs if len(self.classes_) > 1 else np.ones_like(outputs)  # the net has two outputs at least

    def predict(self, X: Any) -> Any:
        """Return the class of each sample, (N,)."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]


class CNNRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A net that predicts numbers, as an estimator of scikit-learn.

    Targets are scaled to mean 0 and standard deviation 1 inside. The parameters are those of `CNNClassifier`, without
    ``class_weight``.

    Examples
    --------
    >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
    >>> CNNRegressor(epochs=30, random_state=0).fit(X, 100 * X[:, 0] ** 2).score(X, 100 * X[:, 0] ** 2) > 0.95
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new net on samples (N, F) or (N, C, H, W) and targets (N,) or (N, K)."""
        x, y = self._samples(X, y, reset=True)
        return self._fit(x, y, sample_weight, self.epochs, go_on=False)

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on these samples; the first ones decide how targets are scaled."""
        is_first = not hasattr(self, "model_")
        x, y = self._samples(X, y, reset=is_first)
        return self._fit(x, y, sample_weight, 1, go_on=not is_first)

    def _fit(self, x: Array, y: Any, sample_weight: Any, epochs: int, go_on: bool) -> Self:
        targets = np.asarray(y, np.float64).reshape(len(y), -1)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, x)
        if not go_on:
            self._is_flat = np.ndim(y) == 1
            with np.errstate(over="ignore", invalid="ignore"):
                self.target_mean_ = np.average(targets, axis=0, weights=weights)
                deviation = np.sqrt(np.average((targets - self.target_mean_) ** 2, axis=0, weights=weights))
            if not np.isfinite(deviation).all():
                raise InputError("y has values whose squares are too large for float64: divide y by a number first")
            self.target_scale_ = np.where(deviation > 0, deviation, 1.0)
            self._start(x, targets.shape[1], MSELoss())
        scaled = ((targets - self.target_mean_) / self.target_scale_).astype(np.float32)
        self._train(x, scaled, weights, epochs)
        return self

    def predict(self, X: Any) -> Array:
        """Return the predicted numbers, (N,) or (N, K)."""
        outputs = self._outputs(X)
        y = outputs * self.target_scale_ + self.target_mean_
        return y[:, 0] if self._is_flat else y
