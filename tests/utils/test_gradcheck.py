"""The gradient check for users' own layers: it names the mistakes in deliberately wrong layers."""

import copy

import numpy as np
import pytest

import cnn.layers
from cnn import Parameter, Sequential
from cnn.layers import Conv2d, Dropout, Identity, Linear, MaxPool2d, ReLU, Softmax
from cnn.loss import CrossEntropyLoss, LossFunc, MSELoss
from cnn.module import Module
from cnn.optim import Adam
from cnn.utils import gradcheck, numeric_backward

X = np.random.default_rng(0).normal(size=(5, 3))
IMAGES = np.random.default_rng(0).normal(size=(3, 2, 4, 5))


def cause_of(module, x, name="the input", target=None):
    """Check that the gradient of this array alone is wrong, and return the reported cause."""
    report = gradcheck(module, x, target, raise_on_failure=False)
    assert [finding.name for finding in report.failures] == [name]
    with pytest.raises(AssertionError, match="the gradient of") as caught:
        gradcheck(module, x, target)
    assert str(caught.value) == str(report)
    finding = report.failures[0]
    assert finding.cause.removeprefix("it ") in str(report)
    if finding.index is not None:
        assert f"most at {list(finding.index)}: backward gives {finding.analytic:.6g}, not" in str(report)
    return finding.cause


def with_weight_grad(change, layer=Linear):
    """Return a layer class whose weight gradient is modified after the backward."""

    class Wrong(layer):
        def backward(self, grad):
            x = self._saved[0]
            weight, bias = self.weight.grad, self.bias.grad
            input_grad = super().backward(grad)
            self.weight.grad = weight
            self.weight.accumulate_grad(change(self, x, grad))
            self.bias.grad = self.bias.grad if bias is None else bias
            return input_grad

    return Wrong


def with_input_grad(change, layer=Linear):
    class Wrong(layer):
        def backward(self, grad):
            return change(super().backward(grad))

    return Wrong


def test_a_model_with_an_optimizer_can_be_checked_and_is_not_modified():
    layers = [Linear(3, 4, rng=0), ReLU(), Linear(4, 2, rng=1), Softmax()]
    model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam())
    before = model.state_dict()
    assert gradcheck(model, np.random.default_rng(0).normal(size=(5, 3))) < 1e-6
    assert not model.needs_input_grad
    assert model[0].weight.dtype == np.float32
    assert model[0].weight.grad is None
    assert all(np.array_equal(values, before[name]) for name, values in model.state_dict().items())


def test_a_correct_layer_gives_a_report_too():
    report = gradcheck(Linear(3, 2, rng=0), X, raise_on_failure=False)
    assert report.passed
    assert [finding.name for finding in report.findings] == ["the input", "weight", "bias"]
    assert report.error == max(finding.error for finding in report.findings) < 1e-6
    assert str(report) == f"correct: the input, weight, bias; the largest error is {report.error:.1e}"


def test_random_layers_are_correct():
    assert gradcheck(Sequential([Dropout(0.5), Linear(3, 2)]), X) < 1e-6


# Wrong gradients of parameters


@pytest.mark.parametrize(
    ("features", "text"), [(3, "it is transposed"), (4, "it has shape (3, 4), not (4, 3): it is transposed")]
)
def test_a_transposed_weight_gradient(features, text):
    wrong = with_weight_grad(lambda self, x, grad: x.T @ grad)
    assert cause_of(wrong(3, features, rng=0), X, "weight") == text


def test_a_transposed_weight_gradient_of_a_convolution():
    def change(self, x, grad):
        right = Conv2d(2, 2, 3)
        right.weight.data, right.bias.data = self.weight.data, self.bias.data
        right.to(np.float64)(x)
        right.backward(grad)
        return right.weight.grad.transpose(1, 0, 2, 3)

    wrong = with_weight_grad(change, Conv2d)(2, 2, 3, rng=0)
    assert cause_of(wrong, IMAGES, "weight") == "it is transposed (its axes are in the order (1, 0, 2, 3))"


def test_a_kernel_that_is_rotated():
    def change(self, x, grad):
        right = copy.deepcopy(self)
        right.__class__ = Conv2d
        right.zero_grad()
        right(x)
        right.backward(grad)
        return right.weight.grad[:, :, ::-1, ::-1]

    wrong = with_weight_grad(change, Conv2d)(2, 3, 3, rng=0)
    assert cause_of(wrong, IMAGES, "weight") == "its last two axes are rotated by 180 degrees"


def test_a_missing_sum_over_the_batch():
    wrong = with_weight_grad(lambda self, x, grad: grad[:, :, None] * x[:, None, :])
    text = "it has shape (5, 2, 3), not (2, 3): it is not summed over the batch (axis 0)"
    assert cause_of(wrong(3, 2, rng=0), X, "weight") == text


@pytest.mark.parametrize("sample", [0, 4])
def test_one_sample_instead_of_the_batch(sample):
    wrong = with_weight_grad(lambda self, x, grad: np.outer(grad[sample], x[sample]))
    text = f"it is the gradient of sample {sample} only: it is not summed over the batch"
    assert cause_of(wrong(3, 2, rng=0), X, "weight") == text


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (5, "it is N = 5 times the correct gradient: multiplied by N once too often"),
        (
            0.2,
            "it is 1/N = 1/5 times the correct gradient: divided by N: the loss has already divided, a layer only sums",
        ),
        (2, "it is 2 times the correct gradient: a constant factor is wrong"),
        (-1, "it is -1 times the correct gradient: the sign is wrong"),
        (0.7, "it is 0.7 times the correct gradient: a constant factor is wrong"),
    ],
)
def test_a_factor(factor, text):
    wrong = with_weight_grad(lambda self, x, grad: factor * grad.T @ x)
    assert cause_of(wrong(3, 2, rng=0), X, "weight") == text
    assert cause_of(with_input_grad(lambda grad: factor * grad)(3, 2, rng=0), X) == text


def test_a_mean_over_grad_instead_of_a_sum():
    wrong = with_weight_grad(lambda self, x, grad: grad.T @ x / grad.size)
    text = "it is 1/grad.size = 1/20 times the correct gradient: divided by grad.size: "
    assert cause_of(wrong(3, 4, rng=0), X, "weight") == text + "the loss has already divided, a layer only sums"


def test_a_factor_2_in_a_batch_of_2_may_be_either():
    text = "it is N = 2 times the correct gradient: multiplied by N once too often, or the factor is wrong"
    assert cause_of(with_input_grad(lambda grad: 2 * grad)(3, 2, rng=0), X[:2]) == text


def test_a_parameter_without_a_gradient():
    class Wrong(Linear):
        def backward(self, grad):
            self.saved()
            self.bias.accumulate_grad(grad.sum(axis=0))
            return grad @ self.weight.data

    assert cause_of(Wrong(3, 2), X, "weight") == "it is missing: backward never calls self.weight.accumulate_grad(...)"


def test_several_wrong_gradients_are_all_reported():
    report = gradcheck(
        with_input_grad(np.zeros_like, with_weight_grad(lambda self, x, grad: grad.T @ -x))(3, 2),
        X,
        raise_on_failure=False,
    )
    assert [finding.name for finding in report.failures] == ["the input", "weight"]
    assert "the sign is wrong" in str(report)
    assert "it is zero everywhere" in str(report)


# Wrong gradients of the input


def test_an_input_gradient_that_is_zero_or_none():
    assert cause_of(with_input_grad(np.zeros_like)(3, 2, rng=0), X) == "it is zero everywhere"
    assert cause_of(with_input_grad(lambda grad: None)(3, 2, rng=0), X) == "it is missing: backward returns None"


def test_an_input_gradient_that_is_not_finite():
    def change(grad):
        grad[1, 2] = np.nan
        return grad

    assert cause_of(with_input_grad(change)(3, 2, rng=0), X) == "it contains NaN or infinity"


def test_an_unexplained_error_reports_where_it_is():
    def change(grad):
        grad[1, 2] += 9
        return grad

    report = gradcheck(with_input_grad(change)(3, 2, rng=0), X, raise_on_failure=False)
    assert report.failures[0].index == (1, 2)
    assert report.failures[0].analytic - report.failures[0].numeric == pytest.approx(9)
    assert report.failures[0].cause == ""
    assert str(report).endswith("\n  no common mistake explains it: it is wrong at 1 of 15 elements")


def test_errors_on_one_side_of_zero_are_reported():
    class Wrong(Module):
        def forward(self, x):
            self.save_for_backward(x)
            return np.where(x < 0, np.sin(x), x)

        def backward(self, grad):
            return grad

    count = np.sum(X < 0)
    text = str(gradcheck(Wrong(), X, raise_on_failure=False))
    assert text.endswith(f"it is wrong at {count} of 15 elements, all where x < 0")


def test_a_backward_that_ignores_grad():
    class Wrong(Module):
        def forward(self, x):
            self.save_for_backward(x)
            return np.sin(x)

        def backward(self, grad):
            return np.cos(self.saved()[0])

    assert cause_of(Wrong(), X) == "it does not depend on grad: backward must multiply by grad"


def test_a_bias_gradient_with_keepdims():
    class Wrong(Linear):
        def backward(self, grad):
            (x,) = self.saved()
            self.weight.accumulate_grad(grad.T @ x)
            self.bias.accumulate_grad(grad.sum(axis=0, keepdims=True))
            return grad @ self.weight.data

    text = str(gradcheck(Wrong(3, 2), X, raise_on_failure=False))
    assert text == "the gradient of bias has shape (1, 2), not (2,): sum without keepdims"


def test_a_backward_that_overwrites():
    class Wrong(Linear):
        def backward(self, grad):
            (x,) = self.saved()
            self.weight.grad = grad.T @ x
            self.bias.accumulate_grad(grad.sum(axis=0))
            return grad @ self.weight.data

    text = str(gradcheck(Wrong(3, 2), X, raise_on_failure=False))
    assert text == "backward overwrites weight.grad: call self.weight.accumulate_grad(...)"


class Normalised(Module):
    """Normalise to zero mean and unit variance, with a backward that can leave out a term."""

    def __init__(self, axes, without_mean=False, without_variance=False):
        self.axes, self.without_mean, self.without_variance = axes, without_mean, without_variance

    def forward(self, x):
        mean, std = x.mean(axis=self.axes, keepdims=True), x.std(axis=self.axes, keepdims=True)
        self.save_for_backward((x - mean) / std, std)
        return (x - mean) / std

    def backward(self, grad):
        y, std = self.saved()
        through_mean = 0 if self.without_mean else grad.mean(axis=self.axes, keepdims=True)
        through_variance = 0 if self.without_variance else y * (grad * y).mean(axis=self.axes, keepdims=True)
        return (grad - through_mean - through_variance) / std


@pytest.mark.parametrize(
    ("x", "axes", "what"),
    [
        (X, 0, "the batch"),
        (IMAGES, (0, 2, 3), "the batch"),
        (IMAGES, (1, 2, 3), "each sample"),
        (IMAGES, (2, 3), "the pixels of each channel"),
        (IMAGES, 3, "the last axis"),
    ],
)
def test_a_normalisation_without_some_terms(x, axes, what):
    assert gradcheck(Normalised(axes), x) < 1e-6
    text = f"the error is constant along {what}: the term through the mean over {what} is missing"
    if axes == (0, 2, 3):
        text = "the error is the same for all samples and pixels of a channel: - mean(grad) is missing"
    variance = f"the error is proportional to x - mean over {what}: the term through the variance is missing"
    both = f"the error is a + b x along {what}: the terms through mean and variance are missing"
    assert cause_of(Normalised(axes, without_variance=True), x) == variance
    assert cause_of(Normalised(axes, without_mean=True, without_variance=True), x) == both
    assert cause_of(Normalised(axes, without_mean=True), x) == text


# Kinks


def enlarged(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


class GreedyPool(Module):
    """Passes the gradient to every tied value."""

    def forward(self, x):
        y = MaxPool2d(2)(x)
        self.save_for_backward(x, y)
        return y

    def backward(self, grad):
        x, y = self.saved()
        return enlarged(grad) * (x == enlarged(y))


TIE = np.array([[[[3.0, 1.0, 5.0, 0.0], [2.0, 3.0, 7.0, 6.0]]]])


def test_a_pool_that_passes_the_gradient_to_every_tied_value():
    assert gradcheck(GreedyPool(), IMAGES[:, :, :, :4]) < 1e-6
    text = cause_of(GreedyPool(), TIE)
    assert text == (
        "tied values in a window, at [0, 0, 0, 0] and [0, 0, 1, 1], get G + G instead of G in total: "
        "only the first should get it"
    ).replace("G", f"{np.random.default_rng(987).normal():.4g}")


def test_a_correct_layer_at_a_kink_cannot_be_checked():
    for layer, x in ((MaxPool2d(2), TIE), (ReLU(), np.array([[1.0, 0.0, -2.0]])), (ReLU(), np.zeros((2, 3)))):
        text = cause_of(layer, x)
        assert text.startswith("it cannot be checked at this point: x is at a kink at [0, ")
        assert text.endswith(f"change it, for example x + 0.1 * np.random.default_rng(0).normal(size={x.shape})")
        assert "off by" not in str(gradcheck(layer, x, raise_on_failure=False))


def test_a_kink_does_not_hide_a_mistake_elsewhere():
    wrong = with_input_grad(lambda grad: 2 * grad, ReLU)
    assert "kink" not in gradcheck(wrong(), [[1.0, 0.0, -2.0]], raise_on_failure=False).failures[0].cause


# Layers that modify arrays that they must only read


class InPlace(ReLU):
    def forward(self, x):
        np.maximum(x, 0, out=x)
        return super().forward(x)


class InPlaceBackward(ReLU):
    def backward(self, grad):
        grad *= self.saved()[0]
        return grad


class ChangesWeight(Linear):
    def forward(self, x):
        self.weight.data = 2 * self.weight.data
        return super().forward(x)


class GlobalState(Module):
    calls = 0

    def forward(self, x):
        GlobalState.calls += 1
        return x * GlobalState.calls

    def backward(self, grad):
        return grad * GlobalState.calls


class ChangesState(Module):
    scale = 1.0

    def forward(self, x):
        self.scale *= 2
        return x * self.scale

    def backward(self, grad):
        return grad * self.scale


class Noise(Module):
    """Random in evaluation too, with its own generator, which is correct."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return x + self.rng.normal(size=x.shape)

    def backward(self, grad):
        return grad


class SavesNothing(ReLU):
    def forward(self, x):
        return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (InPlace(), "forward modifies the input, "),
        (InPlaceBackward(), "backward modifies the gradient of the output, "),
        (ChangesWeight(3, 2), "forward modifies weight, "),
        (GlobalState(), "forward returns different values the second time, with the same input"),
        (ChangesState(), "forward returns different values the second time, in evaluation mode: it modifies its state"),
        (SavesNothing(), "forward saves nothing for backward: self.save_for_backward(...)"),
    ],
)
def test_state_that_changes(layer, text):
    with pytest.raises(AssertionError) as caught:
        gradcheck(layer, X)
    assert text in str(caught.value)


def test_a_layer_with_a_generator_may_return_different_values_each_time():
    assert gradcheck(Noise(), X) < 1e-6


def test_an_error_inside_backward_is_reported():
    class Faulty(ReLU):
        def backward(self, grad):
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match=r"backward raised RuntimeError: out of luck; while grad has shape \(5, 3\)"):
        gradcheck(Faulty(), X)


def test_objects_that_are_not_modules_are_rejected():
    with pytest.raises(TypeError, match=r"got the class Linear: write Linear\(\.\.\.\)"):
        gradcheck(Linear, X)
    with pytest.raises(TypeError, match="expected a Module or LossFunc, got <function"):
        gradcheck(lambda x: x, X)


class ComputesInFloat32(Module):
    """Computes in float32, and returns the dtype that a test asks for."""

    def __init__(self, dtype):
        self.dtype = dtype

    def forward(self, x):
        y = np.tanh(x).astype(np.float32)
        self.save_for_backward(y)
        return y.astype(self.dtype)

    def backward(self, grad):
        return grad * (1 - self.saved()[0] ** 2)


@pytest.mark.parametrize(("dtype", "verb"), [("f", "returns"), ("d", "computes in")])
def test_a_forward_in_float32_is_too_imprecise(dtype, verb):
    text = (
        f"the forward of ComputesInFloat32 {verb} float32 for a float64 input, too imprecise for finite differences: "
        "remove the astype"
    )
    with pytest.raises(AssertionError, match=text):
        gradcheck(ComputesInFloat32(dtype), X)
    layer = numeric_backward(ComputesInFloat32(dtype))
    y = layer(X.astype(np.float32))
    with pytest.raises(ValueError, match=text):
        layer.backward(y)


# Losses


def test_correct_losses():
    assert gradcheck(MSELoss(), X, X[::-1]) < 1e-6
    assert gradcheck(CrossEntropyLoss(from_logits=True), X, [0, 1, 2, 0, 1]) < 1e-6


class AbsoluteLoss(LossFunc):
    """With the factor and the shape that a test asks for."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, prediction, target):
        self.save_for_backward(np.sign(prediction - target) / prediction.size)
        return float(np.abs(prediction - target).mean())

    def backward(self):
        return self.factor * self.saved()[0]


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (15, "it is prediction.size = 15 times the correct gradient: a sum that should be a mean"),
        (5, "it is N = 5 times the correct gradient: a sum that should be a mean"),
        (0.2, "it is 1/N = 1/5 times the correct gradient: a mean that should be a sum"),
        (1 / 3, "it is 1/(values per sample) = 1/3 times the correct gradient: a mean that should be a sum"),
        (-1, "it is -1 times the correct gradient: the sign is wrong"),
    ],
)
def test_wrong_losses(factor, text):
    assert gradcheck(AbsoluteLoss(1), X, np.zeros_like(X)) < 1e-6
    assert cause_of(AbsoluteLoss(factor), X, "the prediction", np.zeros_like(X)) == text


# A backward by central differences


class Swish(Module):
    """x times its sigmoid, with a trainable slope and no backward."""

    def __init__(self):
        self.slope = Parameter(np.ones(1, np.float32))

    def forward(self, x):
        return x / (1 + np.exp(-self.slope.data * x))


def test_a_layer_without_a_backward_trains_in_a_model():
    x = np.random.default_rng(0).normal(size=(40, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)
    layers = [Linear(2, 6, rng=0), numeric_backward(Swish()), Linear(6, 2, rng=1), Softmax()]
    model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam(lr=0.05))
    model.fit(x, y, epochs=25, batch_size=20, verbose_freq=0, rng=0)
    assert model.evaluate(x, y)[1] > 0.9
    assert "1.module.slope" in model.state_dict()
    assert model[1].module.slope.data[0] != 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_gives_the_gradients_of_the_layers_own_backward(dtype):
    layer = Conv2d(2, 3, 2, rng=0).to(dtype)
    numeric_layer = numeric_backward(copy.deepcopy(layer))
    x = IMAGES.astype(dtype)
    grad = np.random.default_rng(1).normal(size=layer(x).shape).astype(dtype)
    np.testing.assert_array_equal(numeric_layer(x), layer(x))
    input_grad, numeric = layer.backward(grad), numeric_layer.backward(grad)
    assert numeric.dtype == dtype
    np.testing.assert_allclose(numeric, input_grad, rtol=1e-4, atol=1e-5)
    for expected, parameter in zip(layer.parameters(), numeric_layer.parameters(), strict=True):
        assert parameter.grad.dtype == dtype
        np.testing.assert_allclose(parameter.grad, expected.grad, rtol=1e-4, atol=1e-5)


def test_a_forward_does_not_change_the_state_dict():
    numeric_layer = numeric_backward(Linear(3, 2))
    before = list(numeric_layer.state_dict())
    numeric_layer(X.astype(np.float32))
    assert list(numeric_layer.state_dict()) == before == ["module.weight", "module.bias"]


def test_the_backward_uses_the_mask_that_the_forward_drew():
    numeric_layer = numeric_backward(Dropout(0.5, rng=0))
    first, second = numeric_layer(X), numeric_layer(X)
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(numeric_layer.backward(np.ones_like(X)), second / X, rtol=1e-6)


def test_errors_are_those_of_other_layers():
    numeric_layer = numeric_backward(Identity())
    numeric_layer(X)
    with pytest.raises(ValueError, match="backward expects the gradient of its output"):
        numeric_layer.backward(X[:2])
    with pytest.raises(RuntimeError, match="nothing saved"):
        numeric_layer.backward(X)
    with pytest.raises(TypeError, match="needs a Module"):
        numeric_backward(cnn.layers.ReLU)
