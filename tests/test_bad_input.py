"""Bad input: where they apply, an error names the layer, its position, what was expected, what was given and the fix."""

import errno
import re

import numpy as np
import pytest

import cnn
from cnn.containers.branches import Concat, Residual
from cnn.data import DataLoader
from cnn.errors import ShapeError
from cnn.kernels.backend import has_numba
from cnn.layers import (
    AvgPool2d,
    Conv2d,
    ConvTranspose2d,
    Dropout,
    Flatten,
    Identity,
    Linear,
    MaxPool2d,
    ReLU,
    ReplicationPad2d,
    Softmax,
    Upsample,
    ZeroPad2d,
)
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.optim import Adam
from cnn.sequential import Sequential
from cnn.training import train
from cnn.utils import train_val


def small_net(optimizer=True):
    """A net for 1 x 8 x 8 images and three classes."""
    layers = [
        Conv2d(1, 4, kernel_size=3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Sequential([Flatten(), Linear(64, 3)]),
        Softmax(),
    ]
    return Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam() if optimizer else None)


def images(n=6, shape=(1, 8, 8), dtype=np.float32):
    return np.random.default_rng(0).random((n, *shape)).astype(dtype)


LABELS = np.array([0, 1, 2, 0, 1, 2])


def message(call, *arguments, error=ValueError, **keywords):
    """Return the message of the error that a call raises."""
    with pytest.raises(error) as caught:
        call(*arguments, **keywords)
    return str(caught.value)


def assert_says(text, *parts):
    missing = [part for part in parts if part not in text]
    assert not missing, f"{missing} not in: {text}"


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (images(shape=(3, 8, 8)), ["layer 0, Conv2d(", "expected (N, 1, H, W)", "got (1, 3, 8, 8)", "in_channels=3"]),
        (images(shape=(8, 8, 1)), ["layer 0, Conv2d(", "got (1, 8, 8, 1)", "x.transpose(0, 3, 1, 2)"]),
        (images(shape=(8, 8)), ["layer 0, Conv2d(", "expected (N, 1, H, W)", "(1, 8, 8)", "x[None]"]),
        (images(shape=(64,)), ["layer 0, Conv2d(", "(1, 64)"]),
        (images(shape=(1, 12, 12)), ["layer 3.1, Linear(", "expected (N, 64)", "(1, 144)", "in_features=144"]),
    ],
    ids=["channels", "channels last", "no channels", "flat", "features"],
)
def test_wrong_images_name_layer_position_and_fix(x, parts):
    """Fit raises the error before anything is trained."""
    model = small_net()
    before = model.state_dict()
    assert_says(message(model.fit, x, LABELS, epochs=1), *parts)
    assert all((before[name] == value).all() for name, value in model.state_dict().items())


HUGE = 2**40
TOO_LARGE = {
    "Conv2d": (lambda: Conv2d(4, 16, 3, padding=HUGE, rng=0), (1, 4, 8, 8)),
    "Conv2d, depthwise": (lambda: Conv2d(4, 4, 3, padding=HUGE, groups=4, rng=0), (1, 4, 8, 8)),
    "Conv2d, 3 x 1": (lambda: Conv2d(4, 16, (3, 1), padding=(2**37, 0), rng=0), (1, 4, 8, 1)),
    "ConvTranspose2d": (lambda: ConvTranspose2d(4, 16, 3, stride=HUGE, rng=0), (1, 4, 8, 8)),
    "ConvTranspose2d, dilation": (lambda: ConvTranspose2d(4, 16, 3, dilation=HUGE, rng=0), (1, 4, 8, 8)),
    "MaxPool2d": (lambda: MaxPool2d(2 * HUGE, stride=1, padding=HUGE), (1, 4, 8, 8)),
    "AvgPool2d": (lambda: AvgPool2d(2 * HUGE, stride=1, padding=HUGE), (1, 4, 8, 8)),
    "ZeroPad2d": (lambda: ZeroPad2d(HUGE), (1, 4, 8, 8)),
    "ZeroPad2d, 2**62": (lambda: ZeroPad2d(2**62), (1, 4, 8, 8)),
    "ReplicationPad2d": (lambda: ReplicationPad2d(HUGE), (1, 4, 8, 8)),
    "Upsample": (lambda: Upsample(scale_factor=HUGE), (1, 4, 8, 8)),
    "Upsample, bilinear": (lambda: Upsample(scale_factor=HUGE, mode="bilinear"), (1, 4, 8, 8)),
}


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("backend", ["jit", "array", "reference"])
@pytest.mark.parametrize("what", TOO_LARGE)
def test_images_larger_than_any_memory(what, backend, fuse):
    """They are refused at once; a list of the positions of all their rows would fill the memory."""
    if backend == "jit" and not has_numba():
        pytest.skip("Numba is not installed")
    make, shape = TOO_LARGE[what]
    before = cnn.kernels.active()
    cnn.kernels.use(backend)
    try:
        with pytest.raises((ShapeError, MemoryError)) as caught:
            Sequential([make(), ReLU()], fuse=fuse)(images(1, shape[1:]))
    finally:
        cnn.kernels.use(before)
    if isinstance(caught.value, ShapeError):
        assert_says(str(caught.value), "pixels, more than 2**40: use less padding")


def test_a_single_image_without_a_batch():
    model = small_net()
    assert_says(message(model.predict, images()[0]), "layer 0, Conv2d(", "(1, 8, 8)", "batch axis: x[None]")
    three = Sequential([Conv2d(3, 4, 3)])
    assert_says(message(three.predict, images(shape=(3, 8, 8))[0]), "layer 0", "(3, 8, 8)", "x[None]")


def test_number_of_axes_of_linear():
    assert_says(message(Linear(4, 2), np.zeros(4, np.float32)), "expected (N, 4)", "got (4,)", "x[None]")
    text = message(Sequential([Linear(4, 2)]), np.zeros((5, 1, 8, 8), np.float32))
    assert_says(text, "layer 0, Linear(", "Flatten()", "in_features=64")


def test_number_of_axes_of_pool_flatten_and_softmax():
    assert_says(message(MaxPool2d(2), np.zeros((8, 8), np.float32)), "expected (N, C, H, W)", "2 axes")
    assert_says(message(Flatten(), np.zeros(8, np.float32)), "x[None]")
    assert_says(message(Softmax(dim=2), np.zeros((2, 3), np.float32)), "dim=2", "(2, 3)", "change dim")


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "predict_proba", "activations"])
def test_bytes_of_0_to_255_name_the_division(method):
    model = small_net()
    x = (images() * 255).astype(np.uint8)
    arguments = (x, LABELS) if method in ("fit", "evaluate") else (x,)
    assert_says(message(getattr(model, method), *arguments), "uint8", 'x.astype("float32") / 255')


def prepared_net():
    """A net that was trained on pixels with a mean of 0 and a standard deviation of 1, like those of `cnn train`."""
    model = small_net()
    model.preprocessing = {"scale": 1 / 255, "mean": [0.4], "std": [0.2], "size": [8, 8]}
    return model


@pytest.mark.parametrize(
    "call",
    [
        lambda model, x: model.fit(x, LABELS),
        lambda model, x: model.fit(x.astype(np.int64), LABELS),
        lambda model, x: model.fit(x / np.float32(255), LABELS, validation_data=(x, LABELS)),
        lambda model, x: list(train(model, x, LABELS)),
        lambda model, x: train_val(model, x, LABELS, x, LABELS),
        lambda model, x: model.evaluate(x, LABELS),
        lambda model, x: model.evaluate([(x, LABELS)]),
        lambda model, x: model.predict(x),
        lambda model, x: model.predict(iter([x])),
        lambda model, x: model.predict_proba(x),
        lambda model, x: model.predict_proba(list(x)),
        lambda model, x: model(x),
        lambda model, x: Sequential([model])(x),
        lambda model, x: model.train_step(x, LABELS),
        lambda model, x: model.loss_and_grad(x, LABELS),
        lambda model, x: model.loss_and_prediction(x, LABELS),
        lambda model, x: model.activations(x),
        lambda model, x: model.profile(x),
    ],
)
@pytest.mark.parametrize("ran_before", [False, True])
def test_pixels_for_a_model_with_preprocessing_name_preprocess(call, ran_before):
    """Dividing by 255 would ruin its predictions."""
    model = prepared_net()
    if ran_before:
        model(images())
    text = message(call, model, (images() * 255).astype(np.uint8))
    assert_says(text, "0 to 255", "model.preprocess(x)")
    assert "/ 255" not in text


@pytest.mark.parametrize(
    "call",
    [
        lambda model, loader: model.fit(loader),
        lambda model, loader: model.evaluate(loader),
        lambda model, loader: model.predict(loader),
    ],
)
def test_a_loader_of_pixels_for_a_model_with_preprocessing_names_its_numbers(call):
    loader = DataLoader((images() * 255).astype(np.uint8), LABELS, shuffle=False)
    text = message(call, prepared_net(), loader)
    assert_says(text, "batches of uint8", "Normalize([0.4], [0.2], scale=0.00392156862745098)", "model.preprocessing")
    plain = message(call, small_net(), loader)
    assert_says(plain, "make Normalize(...) its last transform")


def test_layers_raise_errors_for_other_dtypes():
    assert_says(message(small_net(), np.zeros((2, 1, 8, 8), np.uint8)), "layer 0, Conv2d(", 'x.astype("float32") / 255')
    assert_says(
        message(Linear(2, 2), np.zeros((2, 2))), "float32", "got float64", 'x.astype("float32")', '.to("float64")'
    )
    assert_says(message(Linear(2, 2).to(np.float64), np.zeros((2, 2), np.float32)), "expected float64", "got float32")
    assert_says(message(ReLU(), np.zeros((2, 2), int)), "got int64", 'x.astype("float32")')
    assert_says(message(ReLU(), [[1.0]]), "got list", "np.asarray")


@pytest.mark.parametrize(
    ("x", "parts"),
    [
        (np.array(["a", "b"]), ["x", "real numbers", "text"]),
        (np.zeros((6, 1, 8, 8), complex), ["x", "real numbers", "complex128"]),
        (np.zeros((6, 1, 8, 8), int), ["x holds int64", 'x.astype("float32")']),
        (np.zeros((0, 1, 8, 8)), ["x is empty", "(0, 1, 8, 8)"]),
        (np.zeros((6, 1, 0, 8)), ["x is empty", "(6, 1, 0, 8)"]),
        (np.float32(1), ["x must be an array of samples", "single number"]),
        ([[1.0, 2.0], [3.0]], ["x", "different sizes"]),
        (np.full((6, 1, 8, 8), 1e300), ["NaN or infinity in 6 of 6 samples"]),
    ],
    ids=["text", "complex", "integers", "no samples", "no pixels", "number", "ragged", "too large for float32"],
)
def test_data_that_are_not_samples(x, parts):
    for method, arguments in (("fit", (x, LABELS)), ("evaluate", (x, LABELS)), ("predict", (x,))):
        assert_says(message(getattr(small_net(), method), *arguments), *parts)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_found_and_counted(value):
    x = images()
    x[4, 0, 3, 3] = value
    assert_says(message(small_net().fit, x, LABELS), "x holds NaN or infinity in 1 of 6 samples", "sample 4", "remove")
    bad = (x, LABELS)
    assert_says(message(small_net().fit, images(), LABELS, validation_data=bad), "validation data", "sample 4")


@pytest.mark.parametrize(
    ("y", "parts"),
    [
        (np.array([0, 1, 3, 0, 1, 2]), ["y:", "between 0 and 2", "0 to 3", "4 out_features"]),
        (np.array([1, 2, 3, 1, 2, 3]), ["y:", "between 0 and 2", "1 to 3", "number the classes from 0"]),
        (np.array([0, 1, -1, 0, 1, 2]), ["y:", "-1", "number the classes from 0"]),
        (np.array([0, 1, 1.5, 0, 1, 2]), ["y:", "fractional", "MSELoss"]),
        (np.array([0.0, 1, 2, 0, 1, 2]), ["y:", "float64", "y.astype(np.int64)"]),
        (np.array([0, 1, np.nan, 0, 1, 2]), ["y:", "integers"]),
        (np.array([0, 1, 2]), ["y:", "6 samples need 6 labels", "got 3"]),
        (np.array(["a", "b", "c", "a", "b", "c"]), ["y:", "integers from 0 to 2", "np.unique"]),
        (np.array([True, False] * 3), ["y:", "bool"]),
        (LABELS[:, None], ["y:", "(6, 1)", "y.ravel()"]),
        (np.eye(4)[LABELS], ["y:", "(6, 4)", "4 outputs"]),
        (np.full((6, 3), 0.5), ["y:", "probabilities", "sum to 1"]),
        (3, ["y:", "single number"]),
    ],
    ids=["too large", "from one", "negative", "fractional", "whole floats", "nan", "length", "text", "bool", "column",
         "one-hot of another width", "not probabilities", "number"],
)  # fmt: skip
def test_labels(y, parts):
    """All labels are checked before the first step."""
    for method in ("fit", "evaluate"):
        assert_says(message(getattr(small_net(), method), images(), y), *parts)


def test_targets_of_mse():
    model = Sequential([Linear(2, 1)], loss_func=MSELoss(), optimizer=Adam())
    x = np.zeros((4, 2))
    assert_says(message(model.fit, x, np.zeros(4)), "(4, 1)", "got (4,)", "y.reshape(-1, 1)")
    assert_says(message(model.fit, x, np.zeros((4, 2))), "(4, 1)", "got (4, 2)", "out_features")
    assert_says(message(model.fit, x, np.full((4, 1), np.nan)), "finite")
    assert_says(message(model.fit, x, np.full((4, 1), "a")), "real numbers")


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"epochs": 0}, {"batch_size": -1}, {"epochs": 1.5}])
def test_batch_size_and_epochs_below_one(settings):
    ((name, value),) = settings.items()
    text = message(small_net().fit, images(), LABELS, **settings)
    assert_says(text, name, "integer of at least 1", str(value))


def test_a_batch_larger_than_the_data_is_fine():
    history = small_net().fit(images(), LABELS, epochs=2, batch_size=1000, verbose_freq=0)
    assert len(history) == 2


@pytest.mark.parametrize(
    ("make", "parts"),
    [
        (lambda: Conv2d(1, 4, 3, stride=0), ["stride", "at least 1", "0"]),
        (lambda: Conv2d(1, 4, 3, padding=-1), ["padding", "at least 0", "-1"]),
        (lambda: Conv2d(1, 4, 3, padding="full"), ["padding", '"same"', '"valid"', "full"]),
        (lambda: Conv2d(1, 4, 3, padding=(1, 1, 0, 0)), ["padding", "((top, bottom), (left, right))"]),
        (lambda: Conv2d(1, 4, 3, dilation=0), ["dilation", "at least 1"]),
        (lambda: Conv2d(1, 4, 0), ["kernel_size", "at least 1"]),
        (lambda: Conv2d(1, 4, (3, 3, 3)), ["kernel_size", "pair", "(3, 3, 3)"]),
        (lambda: Conv2d(1, 4, 3.0), ["kernel_size", "integer", "3.0"]),
        (lambda: Conv2d(0, 4, 3), ["in_channels", "at least 1"]),
        (lambda: Conv2d(4, 6, 3, groups=4), ["out_channels=6", "groups=4"]),
        (lambda: Conv2d(6, 4, 3, groups=4), ["in_channels=6", "groups=4"]),
        (lambda: MaxPool2d(2, stride=0), ["stride", "at least 1"]),
        (lambda: MaxPool2d(2, padding=2), ["padding=(2, 2)", "half", "(1, 1)"]),
        (lambda: Linear(0, 2), ["in_features", "at least 1"]),
        (lambda: Linear(2, True), ["out_features", "integer"]),
        (lambda: Dropout(1.5), ["p", "between 0 and 1", "1.5"]),
        (lambda: Dropout(-0.1), ["p", "between 0 and 1", "-0.1"]),
        (lambda: Dropout(float("nan")), ["p", "between 0 and 1", "nan"]),
        (lambda: Softmax(dim="rows"), ["dim", "'rows'"]),
        (lambda: Adam(lr=-1e-3), ["lr", "at least 0", "-0.001"]),
        (lambda: Adam(lr=float("nan")), ["lr", "finite"]),
        (lambda: Adam(betas=(0.9, 1.0)), ["betas", "below 1", "1.0"]),
        (lambda: Adam(eps=-1), ["eps", "at least 0"]),
        (lambda: Adam(weight_decay=-1), ["weight_decay", "at least 0"]),
        (lambda: cnn.manual_seed(-1), ["seed", "at least 0", "-1"]),
        (lambda: Linear(2, 2, rng="seed"), ["seed", "'seed'"]),
    ],
)  # fmt: skip
def test_constructor_arguments(make, parts):
    assert_says(message(make), *parts)


def test_a_kernel_larger_than_the_padded_input():
    model = Sequential([Conv2d(1, 2, 3), Conv2d(2, 2, 9, padding=1)])
    text = message(model, images())
    assert_says(text, "layer 1, Conv2d(", "spans 9 pixels", "6 x 6", "has only 8", "smaller kernel_size")
    assert_says(message(MaxPool2d(9), images()), "spans 9 pixels", "has only 8")


def test_a_gradient_of_the_wrong_shape():
    for layer, x in [(Conv2d(1, 2, 3), images()), (Linear(2, 3), np.zeros((4, 2), np.float32)), (ReLU(), images())]:
        y = layer(x)
        text = message(layer.backward, y[:1])
        assert_says(text, f"{type(layer).__name__}.backward", str(y.shape), str(y[:1].shape))
        layer(x)
        assert_says(message(layer.backward, None), "got None")
        layer(x)
        assert_says(message(layer.backward, y.astype(np.float64)), "float32", "got float64")


def test_the_same_module_twice():
    layer = Linear(2, 2)
    text = message(Sequential, [layer, ReLU(), Sequential([layer])])
    assert_says(text, "layers 0 and 2.0", "same Linear instance", "b.weight = a.weight")


def test_a_class_instead_of_a_layer():
    assert_says(message(Sequential, [Linear(2, 2), ReLU], error=TypeError), "layer 1", "class ReLU", "ReLU(...)")
    assert_says(message(Sequential, [Linear(2, 2), "relu"], error=TypeError), "layer 1", "'relu'")
    assert_says(message(Sequential, []), "at least one layer")
    assert_says(message(Sequential, [ReLU()], optimizer=Adam, error=TypeError), "Adam()")
    assert_says(message(Sequential, [ReLU()], loss_func=MSELoss, error=TypeError), "MSELoss()")


def test_softmax_paired_wrongly_with_the_loss():
    text = message(Sequential, [Linear(2, 2), Softmax()], loss_func=CrossEntropyLoss(from_logits=True))
    assert_says(text, "layer 1, Softmax", "remove the Softmax", "CrossEntropyLoss()")
    for last in (Linear(2, 2), ReLU()):
        text = message(Sequential, [Linear(2, 2), Sequential([last])], loss_func=CrossEntropyLoss())
        assert_says(text, "layer 1.0", "add Softmax() at the end", "from_logits=True")
    standalone = message(CrossEntropyLoss(), np.array([[0.2, 0.8], [3.0, -1.0]]), np.array([0, 1]))
    assert_says(standalone, "row 1", "3", "-1", "Softmax()", "from_logits=True")


def test_losses_and_optimizers_of_the_wrong_type():
    assert_says(message(Sequential, [ReLU()], loss_func="mse", error=TypeError), "LossFunc", "'mse'")
    assert_says(message(Sequential, [ReLU()], optimizer="adam", error=TypeError), "Optimizer", "'adam'")
    assert_says(message(Sequential, ReLU(), ReLU(), error=TypeError), "layers must be a list", "Sequential([ReLU(...)")
    assert_says(message(Adam, 0.01, error=TypeError), "lr=", "float")
    assert_says(message(Adam, lr="a"), "lr", "'a'")
    assert_says(message(Adam, betas=0.9), "betas", "pair")
    assert_says(message(Dropout, "a"), "p", "'a'")
    assert_says(message(cnn.Parameter, [1, 2], error=TypeError), "floating", "int64")


def test_validation_data_that_are_not_a_pair():
    x = images()
    for wrong in (x, (x,), 0.1, (x, LABELS, 3)):
        assert_says(
            message(small_net().fit, x, LABELS, validation_data=wrong), "pair", "validation_data=(x_val, y_val)"
        )


def test_masked_arrays_and_other_libraries_arrays():
    x = np.ma.masked_array(images(), mask=True)
    assert_says(message(small_net().predict, x), "masked", "filled")

    class Tensor:
        """Like PyTorch's: must be detached to become an array."""

        dtype = "torch.float32"

        def detach(self):
            return images()

    assert small_net().predict(Tensor()).shape == (6,)
    assert_says(message(small_net(), Tensor()), "layer 0, Conv2d(", "expected a NumPy array, got Tensor")


def test_missing_loss_or_optimizer():
    model = Sequential([Linear(2, 2), Softmax()])
    x, y = np.zeros((2, 2), np.float32), np.array([0, 1])
    for call in (model.fit, model.evaluate, model.loss_and_grad):
        assert_says(message(call, x, y), "loss", "CrossEntropyLoss()")
    model.loss_func = CrossEntropyLoss()
    assert_says(message(model.fit, x, y), "optimizer=Adam()")
    assert_says(message(model.train_step, x, y), "optimizer=Adam()")


def test_an_optimizer_belongs_to_one_model():
    optimizer = Adam()
    Sequential([Linear(2, 2)], optimizer=optimizer)
    assert_says(message(Sequential, [Linear(2, 2)], optimizer=optimizer), "another model")
    assert_says(message(Adam, [np.zeros(2)], error=TypeError), "model.parameters()")


def test_step_without_backward():
    model = Sequential([Linear(2, 2)], optimizer=Adam())
    assert_says(message(model.optimizer.step, error=RuntimeError), "no gradient", "backward")


def test_a_loss_that_becomes_nan_restores_the_last_finite_weights():
    rng = np.random.default_rng(0)
    model = Sequential([Linear(4, 8, rng=0), ReLU(), Linear(8, 2, rng=1)], loss_func=MSELoss(), optimizer=Adam(lr=1e30))
    x, y = rng.normal(size=(64, 4)), rng.normal(size=(64, 2))
    text = message(model.fit, x, y, batch_size=8, verbose_freq=0, rng=0, error=FloatingPointError)
    assert re.search(r"loss became (inf|nan) at step \d of epoch 1", text)
    assert_says(text, "layer ", "Linear(", "put back", "smaller learning rate", "1e+30")
    assert all(np.isfinite(value).all() for value in model.state_dict().values())
    assert all(parameter.grad is None for parameter in model.parameters())
    loss, _ = model.evaluate(x[:8] * 0, y[:8])
    assert np.isfinite(loss)


def test_the_restored_weights_are_those_of_the_last_finite_step():
    model = Sequential([Linear(1, 1, rng=0)], loss_func=MSELoss(), optimizer=Adam(lr=0.1))
    x, y = np.ones((4, 1), np.float32), np.zeros((4, 1), np.float32)
    seen = []
    steps = cnn.training.train(model, x, y, epochs=5, batch_size=4)
    for step in steps:
        seen.append(model.state_dict())
        if step.epoch == 3:
            model.layers[0].weight.data = [[np.nan]]
            with pytest.raises(FloatingPointError, match=r"the weight of layer 0, Linear\(.* became NaN"):
                next(steps)
            break
    assert (model.state_dict()["0.weight"] == seen[1]["0.weight"]).all()


def test_model_files_that_are_damaged(tmp_path):
    model = small_net()
    path = tmp_path / "model.safetensors"
    model.save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"not a model at all", whole[:100], whole[:-10]):
        path.write_bytes(damaged)
        assert_says(message(Sequential.load, path), str(path), "cut short, damaged or not a safetensors file")
        assert_says(message(model.load_weights, path), str(path), "cut short, damaged or not a safetensors file")
    path.write_bytes(b"PK\x03\x04 and the rest of a file of torch.save")
    assert_says(message(model.load_weights, path), str(path), "load_state_dict(cnn.interop.pytorch.read_weights(path))")
    assert_says(message(Sequential.load, tmp_path / "none.safetensors", error=FileNotFoundError), "none.safetensors")
    assert_says(message(Sequential.load, tmp_path), "folder")


def test_weights_of_another_architecture(tmp_path):
    path = tmp_path / "weights.safetensors"
    small_net().save_weights(path)
    other = Sequential([Conv2d(1, 5, 3), Linear(2, 2), Linear(2, 3)])
    before = other.state_dict()
    text = message(other.load_weights, path)
    assert_says(text, "missing: 1.weight (2, 2)", "unexpected: 3.1.bias (3,)", "wrong shape: 0.weight is (5, 1, 3, 3)")
    assert all((before[name] == value).all() for name, value in other.state_dict().items())
    assert_says(message(Sequential.load, path), "no architecture", "load_weights")


def test_a_full_disk_while_saving_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    small_net().save(path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    text = message(small_net().save, path, error=OSError)
    assert_says(text, "No space left", "unchanged", "model.safetensors")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_saving_to_a_folder_that_does_not_exist(tmp_path):
    assert_says(message(small_net().save, tmp_path / "no" / "model.safetensors", error=OSError), "model.safetensors")


def test_branches_of_different_sizes():
    x = np.ones((1, 1, 9, 9), np.float32)
    halved = Sequential([MaxPool2d(2), Upsample(scale_factor=2)])
    assert_says(
        message(Concat([Identity(), halved]), x),
        "branch outputs are 9 x 9 and 8 x 8: use images whose height and width stay even at each halving",
    )
    assert_says(message(Concat([Identity(), MaxPool2d(2)]), x), "differ only in axis 1")
    assert_says(message(Residual(Conv2d(1, 1, 3)), x), "(1, 1, 7, 7)", "set padding so that", "or pass a shortcut")
