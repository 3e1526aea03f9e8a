"""The gradient check that users have for their own layers: it names what is wrong with deliberately wrong ones."""

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
    """The check must fail, with this array alone; return what it holds for the cause."""
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
    """A layer whose gradient of the weight is changed afterwards."""

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


def test_a_net_that_is_ready_to_train_can_be_checked_and_stays_as_it_is():
    layers = [Linear(3, 4, rng=0), ReLU(), Linear(4, 2, rng=1), Softmax()]
    model = Sequential(layers, loss_func=CrossEntropyLoss(), optimizer=Adam())
    before = model.state_dict()
    assert gradcheck(model, np.random.default_rng(0).normal(size=(5, 3))) < 1e-6
    assert not model.needs_input_grad
    assert model[0].weight.dtype == np.float32
    assert model[0].weight.grad is None
    assert all(np.array_equal(values, before[name]) for name, values in model.state_dict().items())


def test_a_right_layer_gives_a_report_too():
    report = gradcheck(Linear(3, 2, rng=0), X, raise_on_failure=False)
    assert report.passed
    assert [finding.name for finding in report.findings] == ["the input", "weight", "bias"]
    assert report.error == max(finding.error for finding in report.findings) < 1e-6
    assert str(report) == f"right: the input, weight, bias; the largest difference is {report.error:.1e}"


def test_random_layers_are_right():
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


def test_a_window_that_is_turned_around():
    def change(self, x, grad):
        right = copy.deepcopy(self)
        right.__class__ = Conv2d
        right.zero_grad()
        right(x)
        right.backward(grad)
        return right.weight.grad[:, :, ::-1, ::-1]

    wrong = with_weight_grad(change, Conv2d)(2, 3, 3, rng=0)
    assert cause_of(wrong, IMAGES, "weight") == "its last two axes are turned by 180 degrees"


def test_a_missing_sum_over_the_batch():
    wrong = with_weight_grad(lambda self, x, grad: grad[:, :, None] * x[:, None, :])
    text = "it has shape (5, 2, 3), not (2, 3): it is not summed over the batch (axis 0)"
    assert cause_of(wrong(3, 2, rng=0), X, "weight") == text


@pytest.mark.parametrize("sample", [0, 4])
def test_one_sample_in_place_of_the_batch(sample):
    wrong = with_weight_grad(lambda self, x, grad: np.outer(grad[sample], x[sample]))
    text = f"it is the part of sample {sample} alone: it is not summed over the batch"
    assert cause_of(wrong(3, 2, rng=0), X, "weight") == text


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (5, "it is N = 5 times the right one: multiplied by N too often"),
        (
            0.2,
            "it is 1/N = 1/5 times the right one: divided by N: the loss has already divided, a layer only sums",
        ),
        (2, "it is 2 times the right one: a constant factor is wrong"),
        (-1, "it is -1 times the right one: the sign is wrong"),
        (0.7, "it is 0.7 times the right one: a constant factor is wrong"),
    ],
)
def test_a_factor(factor, text):
    wrong = with_weight_grad(lambda self, x, grad: factor * grad.T @ x)
    assert cause_of(wrong(3, 2, rng=0), X, "weight") == text
    assert cause_of(with_input_grad(lambda grad: factor * grad)(3, 2, rng=0), X) == text


def test_a_mean_over_all_of_grad_in_place_of_a_sum():
    wrong = with_weight_grad(lambda self, x, grad: grad.T @ x / grad.size)
    text = "it is 1/grad.size = 1/20 times the right one: divided by grad.size: "
    assert cause_of(wrong(3, 4, rng=0), X, "weight") == text + "the loss has already divided, a layer only sums"


def test_a_factor_2_in_a_batch_of_2_may_be_either():
    text = "it is N = 2 times the right one: multiplied by N too often, or the factor is wrong"
    assert cause_of(with_input_grad(lambda grad: 2 * grad)(3, 2, rng=0), X[:2]) == text


def test_a_parameter_without_a_gradient():
    class Wrong(Linear):
        def backward(self, grad):
            self.saved()
            self.bias.accumulate_grad(grad.sum(axis=0))
            return grad @ self.weight.data

    assert cause_of(Wrong(3, 2), X, "weight") == "it is missing: backward never calls self.weight.accumulate_grad(...)"


def test_several_wrong_gradients_are_all_told():
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

    assert cause_of(with_input_grad(change)(3, 2, rng=0), X) == "it holds NaN or infinity"


def test_an_error_that_no_guess_fits_still_says_where():
    def change(grad):
        grad[1, 2] += 9
        return grad

    report = gradcheck(with_input_grad(change)(3, 2, rng=0), X, raise_on_failure=False)
    assert report.failures[0].index == (1, 2)
    assert report.failures[0].analytic - report.failures[0].numeric == pytest.approx(9)
    assert report.failures[0].cause == ""
    assert str(report).endswith("\n  none of the usual mistakes explains it: it is wrong at 1 of 15 numbers")


def test_errors_on_one_side_of_zero_are_told():
    class Wrong(Module):
        def forward(self, x):
            self.save_for_backward(x)
            return np.where(x < 0, np.sin(x), x)

        def backward(self, grad):
            return grad

    count = np.sum(X < 0)
    text = str(gradcheck(Wrong(), X, raise_on_failure=False))
    assert text.endswith(f"it is wrong at {count} of 15 numbers, all where x < 0")


def test_a_backward_that_forgets_grad():
    class Wrong(Module):
        def forward(self, x):
            self.save_for_backward(x)
            return np.sin(x)

        def backward(self, grad):
            return np.cos(self.saved()[0])

    assert cause_of(Wrong(), X) == "it is the same for another grad: grad is not multiplied in"


def test_a_bias_gradient_that_keeps_its_dims():
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
    """Zero mean and unit variance, with a backward that leaves out a part."""

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
def test_a_normalisation_without_the_part_through_the_mean(x, axes, what):
    assert gradcheck(Normalised(axes), x) < 1e-6
    text = f"the error is constant along {what}: it misses the part that goes through the mean over {what}"
    if axes == (0, 2, 3):
        text = "the error is the same for all samples and pixels of a channel: - mean(grad) is missing"
    variance = f"the error is proportional to x - mean over {what}: the part through the variance is missing"
    both = f"the error is a + b x along {what}: the parts through mean and variance are missing"
    assert cause_of(Normalised(axes, without_variance=True), x) == variance
    assert cause_of(Normalised(axes, without_mean=True, without_variance=True), x) == both
    assert cause_of(Normalised(axes, without_mean=True), x) == text


# Kinks


def enlarged(x):
    return x.repeat(2, axis=2).repeat(2, axis=3)


class GreedyPool(Module):
    """Gives the gradient to every value that ties."""

    def forward(self, x):
        y = MaxPool2d(2)(x)
        self.save_for_backward(x, y)
        return y

    def backward(self, grad):
        x, y = self.saved()
        return enlarged(grad) * (x == enlarged(y))


TIE = np.array([[[[3.0, 1.0, 5.0, 0.0], [2.0, 3.0, 7.0, 6.0]]]])


def test_a_pool_that_gives_the_gradient_to_every_tied_value():
    assert gradcheck(GreedyPool(), IMAGES[:, :, :, :4]) < 1e-6
    text = cause_of(GreedyPool(), TIE)
    assert text == (
        "values tie in a window, at [0, 0, 0, 0] and [0, 0, 1, 1], and get G + G instead of G in all: "
        "only the first gets it"
    ).replace("G", f"{np.random.default_rng(987).normal():.4g}")


def test_a_right_layer_on_a_kink_is_told_to_move():
    for layer, x in ((MaxPool2d(2), TIE), (ReLU(), np.array([[1.0, 0.0, -2.0]])), (ReLU(), np.zeros((2, 3)))):
        text = cause_of(layer, x)
        assert text.startswith("it cannot be checked here: x lies on a kink at [0, ")
        assert text.endswith(f"move it, for example x + 0.1 * np.random.default_rng(0).normal(size={x.shape})")
        assert "off by" not in str(gradcheck(layer, x, raise_on_failure=False))


def test_a_kink_does_not_hide_a_mistake_elsewhere():
    wrong = with_input_grad(lambda grad: 2 * grad, ReLU)
    assert "kink" not in gradcheck(wrong(), [[1.0, 0.0, -2.0]], raise_on_failure=False).failures[0].cause


# Layers that change what they should only read


class InPlace(ReLU):
    def forward(self, x):
        np.maximum(x, 0, out=x)
        return super().forward(x)


class InPlaceBackward(ReLU):
    def backward(self, grad):
        grad *= self.saved()[0]
        return grad


class Restless(Linear):
    def forward(self, x):
        self.weight.data = 2 * self.weight.data
        return super().forward(x)


class Counting(Module):
    calls = 0

    def forward(self, x):
        Counting.calls += 1
        return x * Counting.calls

    def backward(self, grad):
        return grad * Counting.calls


class Drifting(Module):
    scale = 1.0

    def forward(self, x):
        self.scale *= 2
        return x * self.scale

    def backward(self, grad):
        return grad * self.scale


class Noise(Module):
    """Random in evaluation too, with a generator of its own: nothing wrong."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x):
        return x + self.rng.normal(size=x.shape)

    def backward(self, grad):
        return grad


class Forgetful(ReLU):
    def forward(self, x):
        return np.maximum(x, 0)


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (InPlace(), "forward changes the input: "),
        (InPlaceBackward(), "backward changes the gradient that it is given: "),
        (Restless(3, 2), "forward changes weight: "),
        (Counting(), "forward gives other numbers the second time, with the same input"),
        (Drifting(), "forward gives other numbers the second time, in evaluation mode: it changes its state"),
        (Forgetful(), "forward saves nothing for backward: self.save_for_backward(...)"),
    ],
)
def test_state_that_changes(layer, text):
    with pytest.raises(AssertionError) as caught:
        gradcheck(layer, X)
    assert text in str(caught.value)


def test_a_layer_with_a_generator_may_give_other_numbers_each_time():
    assert gradcheck(Noise(), X) < 1e-6


def test_a_fault_inside_backward_is_not_covered_up():
    class Faulty(ReLU):
        def backward(self, grad):
            raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match=r"backward raised RuntimeError: out of luck; while grad has shape \(5, 3\)"):
        gradcheck(Faulty(), X)


def test_something_else_than_a_layer_is_refused():
    with pytest.raises(TypeError, match=r"is the class Linear: write Linear\(\.\.\.\)"):
        gradcheck(Linear, X)
    with pytest.raises(TypeError, match="expected a Module or LossFunc, got <function"):
        gradcheck(lambda x: x, X)


class Coarse(Module):
    """Works in float32, and gives what a test asks for."""

    def __init__(self, dtype):
        self.dtype = dtype

    def forward(self, x):
        y = np.tanh(x).astype(np.float32)
        self.save_for_backward(y)
        return y.astype(self.dtype)

    def backward(self, grad):
        return grad * (1 - self.saved()[0] ** 2)


@pytest.mark.parametrize(("dtype", "verb"), [("f", "gives"), ("d", "goes through")])
def test_a_forward_in_float32_is_too_coarse(dtype, verb):
    text = f"the forward of Coarse {verb} float32 for a float64 input, too coarse for differences: remove the astype"
    with pytest.raises(AssertionError, match=text):
        gradcheck(Coarse(dtype), X)
    twin = numeric_backward(Coarse(dtype))
    y = twin(X.astype(np.float32))
    with pytest.raises(ValueError, match=text):
        twin.backward(y)


# Losses


def test_right_losses():
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
        (15, "it is prediction.size = 15 times the right one: a sum that should be a mean"),
        (5, "it is N = 5 times the right one: a sum that should be a mean"),
        (0.2, "it is 1/N = 1/5 times the right one: a mean that should be a sum"),
        (1 / 3, "it is 1/(values per sample) = 1/3 times the right one: a mean that should be a sum"),
        (-1, "it is -1 times the right one: the sign is wrong"),
    ],
)
def test_wrong_losses(factor, text):
    assert gradcheck(AbsoluteLoss(1), X, np.zeros_like(X)) < 1e-6
    assert cause_of(AbsoluteLoss(factor), X, "the prediction", np.zeros_like(X)) == text


# A backward by central differences


class Swish(Module):
    """x times its sigmoid, with a trained slope and no backward."""

    def __init__(self):
        self.slope = Parameter(np.ones(1, np.float32))

    def forward(self, x):
        return x / (1 + np.exp(-self.slope.data * x))


def test_a_layer_without_a_backward_trains_in_a_net():
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
    twin = numeric_backward(copy.deepcopy(layer))
    x = IMAGES.astype(dtype)
    grad = np.random.default_rng(1).normal(size=layer(x).shape).astype(dtype)
    np.testing.assert_array_equal(twin(x), layer(x))
    input_grad, numeric = layer.backward(grad), twin.backward(grad)
    assert numeric.dtype == dtype
    np.testing.assert_allclose(numeric, input_grad, rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(layer.parameters(), twin.parameters(), strict=True):
        assert theirs.grad.dtype == dtype
        np.testing.assert_allclose(theirs.grad, ours.grad, rtol=1e-4, atol=1e-5)


def test_a_forward_leaves_the_state_dict_as_it_is():
    twin = numeric_backward(Linear(3, 2))
    before = list(twin.state_dict())
    twin(X.astype(np.float32))
    assert list(twin.state_dict()) == before == ["module.weight", "module.bias"]


def test_the_mask_of_a_random_layer_is_the_one_it_drew():
    twin = numeric_backward(Dropout(0.5, rng=0))
    first, second = twin(X), twin(X)
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(twin.backward(np.ones_like(X)), second / X, rtol=1e-6)


def test_it_saves_like_other_layers():
    twin = numeric_backward(Identity())
    twin(X)
    with pytest.raises(ValueError, match="backward expects the gradient of its output"):
        twin.backward(X[:2])
    with pytest.raises(RuntimeError, match="nothing saved"):
        twin.backward(X)
    with pytest.raises(TypeError, match="needs a Module"):
        numeric_backward(cnn.layers.ReLU)
