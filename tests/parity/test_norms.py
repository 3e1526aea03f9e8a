import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnn import layers
from cnn.layers import Dropout2d, GroupNorm, LayerNorm
from cnn.module import no_grad
from cnn.utils.gradcheck import difference
from tests.parity.oracle import DTYPES, Tally, compare_layers, tensor

few = st.integers(1, 5)
epsilons = st.sampled_from([1e-5, 1e-3, 0.5])


def draw(shape, seed=0):
    """Draw an input, with another seed than the gradient: the gradient of the input is 0 for g equal to the input."""
    return np.random.default_rng(1000 + seed).normal(0.3, 1.5, size=shape)


def dtypes(values):
    """Return the dtypes to compare if mean and variance are taken over this many values.

    The gradient loses its components along the vector of ones and along z. For two values only rounding errors remain,
    and for few values too little to compare in float32, both here and in PyTorch.
    """
    assume(values > 2)
    return DTYPES if values > 5 else DTYPES[:1]


def same_weights(ours, theirs, dtype, seed=0):
    """Give both layers the same random parameters, loaded from ours to PyTorch or back, depending on the seed."""
    ours.to(dtype)
    theirs.to(getattr(torch, np.dtype(dtype).name))
    for i, p in enumerate(ours.parameters()):
        p.data = draw(p.shape, 200 + seed + i)
    if seed % 2:
        theirs.load_state_dict({name: torch.from_numpy(array) for name, array in ours.state_dict().items()})
        return
    with torch.no_grad():
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            q.copy_(tensor(p.data))
    for p in ours.parameters():
        p.data = np.zeros(p.shape)
    ours.load_state_dict(theirs.state_dict())


def same_state(tally, ours, theirs):
    """Compare parameters and running statistics, including names and order."""
    state = theirs.state_dict()
    assert list(ours.state_dict()) == list(state)
    for name, array in ours.state_dict().items():
        assert array.shape == state[name].shape
        if array.dtype.kind == "i":
            np.testing.assert_array_equal(array, state[name].numpy(), strict=True)
        else:
            tally.agree(name, array, state[name])


batch_norms = st.fixed_dictionaries(
    {
        "eps": epsilons,
        "momentum": st.none() | st.sampled_from([0.0, 0.1, 0.7, 1.0]),
        "affine": st.booleans(),
        "track_running_stats": st.booleans(),
    }
)


def test_batch_norm():
    """Three batches in training, one of them without gradients, then evaluation; compare statistics after each."""
    tally = Tally()

    @settings(max_examples=150)
    @given(batch_norms, few, few, st.none() | st.integers(1, 6) | st.tuples(few, few), st.integers(0, 99))
    def run(arguments, n, channels, rest, seed):
        rest = () if rest is None else rest if isinstance(rest, tuple) else (rest,)
        shape = (n, channels, *rest)
        name = "BatchNorm2d" if len(rest) == 2 else "BatchNorm1d"
        for dtype in dtypes(n * np.prod(rest)):
            ours, theirs = (getattr(library, name)(channels, **arguments) for library in (layers, torch.nn))
            same_weights(ours, theirs, dtype, seed)
            for step in range(3):
                x = (draw(shape, seed + step) * (1 + step) + step).astype(dtype)
                if step == 1:
                    with no_grad(), torch.no_grad():
                        tally.agree("output", ours(x), theirs(tensor(x)))
                else:
                    ours.zero_grad()
                    theirs.zero_grad()
                    compare_layers(tally, ours, theirs, x)
                same_state(tally, ours, theirs)
            ours.eval().zero_grad()
            theirs.eval().zero_grad()
            compare_layers(tally, ours, theirs, draw(shape, seed).astype(dtype))
            same_state(tally, ours, theirs)
        tally.seen.add((name, *arguments.items(), shape))

    run()
    tally.report(at_least=100)


@pytest.mark.parametrize("memory", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("BatchNorm2d", (32,)),
        ("GroupNorm", (4, 32)),
        ("LayerNorm", ((32, 14, 14),)),
        ("InstanceNorm2d", (32, 1e-5, 0.1, True, True)),
    ],
)
def test_larger_images(name, arguments, memory):
    """Sizes as in a real net, in both memory formats, with several threads where the layer uses them."""
    tally = Tally()
    for dtype in DTYPES:
        ours, theirs = (getattr(library, name)(*arguments) for library in (layers, torch.nn))
        same_weights(ours, theirs, dtype)
        x = draw((16, 32, 14, 14)).astype(dtype)
        if memory == "channels_last":
            x = x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
        compare_layers(tally, ours, theirs, x)
        same_state(tally, ours, theirs)


def test_layer_norm():
    tally = Tally()

    @settings(max_examples=150)
    @given(
        st.lists(st.integers(0, 4), min_size=1, max_size=3),
        st.lists(st.integers(1, 5), min_size=1, max_size=3),
        epsilons,
        st.booleans(),
        st.booleans(),
        st.integers(0, 99),
    )
    def run(leading, normalized, eps, affine, bias, seed):
        for dtype in dtypes(np.prod(normalized)):
            ours = LayerNorm(normalized, eps, affine, bias)
            theirs = torch.nn.LayerNorm(normalized, eps, affine, bias)
            same_weights(ours, theirs, dtype, seed)
            compare_layers(tally, ours, theirs, draw((*leading, *normalized), seed).astype(dtype))
            same_state(tally, ours, theirs)
        tally.seen.add((*leading, "of", *normalized, eps, affine, bias))

    run()
    tally.report(at_least=100)
    ours, theirs = LayerNorm(4), torch.nn.LayerNorm(4)
    assert ours.normalized_shape == theirs.normalized_shape


def test_group_norm():
    tally = Tally()

    @settings(max_examples=150)
    @given(
        st.integers(0, 3),
        st.integers(1, 4),
        st.integers(1, 3),
        st.lists(st.integers(1, 4), max_size=3),
        epsilons,
        st.booleans(),
        st.integers(0, 99),
    )
    def run(n, groups, size, rest, eps, affine, seed):
        for dtype in dtypes(size * np.prod(rest)):
            ours, theirs = (layer(groups, groups * size, eps, affine) for layer in (GroupNorm, torch.nn.GroupNorm))
            same_weights(ours, theirs, dtype, seed)
            compare_layers(tally, ours, theirs, draw((n, groups * size, *rest), seed).astype(dtype))
            same_state(tally, ours, theirs)
        tally.seen.add((n, groups, size, *rest, eps, affine))

    run()
    tally.report(at_least=100)


def test_local_response_norm():
    """Windows of odd and even size, also larger than the number of channels."""
    tally = Tally()
    numbers = {"alpha": st.floats(0.01, 3), "beta": st.floats(0, 2), "k": st.floats(0.5, 3)}

    @settings(max_examples=150)
    @given(
        st.integers(1, 9),
        st.fixed_dictionaries(numbers),
        st.lists(st.integers(1, 6), min_size=3, max_size=5),
        st.integers(0, 99),
    )
    def run(size, arguments, shape, seed):
        for dtype in DTYPES:
            ours, theirs = (library.LocalResponseNorm(size, **arguments) for library in (layers, torch.nn))
            compare_layers(tally, ours, theirs, draw(shape, seed).astype(dtype))
        tally.seen.add((size, *arguments.values(), *shape))

    run()
    tally.report(at_least=120)


def test_local_response_norm_as_in_alexnet():
    """The usual small alpha, activations of a few hundreds, in both memory orders."""
    tally = Tally()
    for dtype in DTYPES:
        ours, theirs = (library.LocalResponseNorm(5) for library in (layers, torch.nn))
        x = 200 * draw((3, 96, 9, 8)).astype(dtype)
        compare_layers(tally, ours, theirs, x)
        compare_layers(tally, ours, theirs, x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2))


def test_instance_norm():
    """Two batches in training, then evaluation; the running statistics after each, num_batches_tracked included."""
    tally = Tally()
    arguments = {"eps": epsilons, "momentum": st.sampled_from([0.0, 0.1, 0.7, 1.0]), "affine": st.booleans()}

    @settings(max_examples=150)
    @given(
        st.fixed_dictionaries(arguments | {"track_running_stats": st.booleans()}),
        few,
        few,
        few,
        few,
        st.integers(0, 99),
    )
    def run(arguments, n, channels, height, width, seed):
        shape = (n, channels, height, width)
        for dtype in dtypes(height * width):
            ours, theirs = (library.InstanceNorm2d(channels, **arguments) for library in (layers, torch.nn))
            same_weights(ours, theirs, dtype, seed)
            for step in range(3):
                ours.zero_grad()
                theirs.zero_grad()
                ours.train(step < 2)
                theirs.train(step < 2)
                compare_layers(tally, ours, theirs, (draw(shape, seed + step) * (1 + step) + step).astype(dtype))
                same_state(tally, ours, theirs)
        tally.seen.add((*arguments.items(), shape))

    run()
    tally.report(at_least=90)


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [
        ("BatchNorm1d", (3,), (1, 3)),
        ("BatchNorm1d", (3,), (1, 3, 1)),
        ("BatchNorm2d", (3,), (1, 3, 1, 1)),
        ("BatchNorm1d", (3,), (4, 2)),
        ("BatchNorm1d", (3,), (2, 3, 4, 4)),
        ("BatchNorm2d", (3,), (2, 3, 4)),
        ("LayerNorm", ((3, 4),), (2, 4, 3)),
        ("GroupNorm", (2, 4), (2, 3, 2)),
        ("GroupNorm", (2, 3), (2, 3, 2)),
        ("InstanceNorm2d", (3,), (2, 3, 1, 1)),
        ("InstanceNorm2d", (3, 1e-5, 0.1, True), (2, 4, 2, 2)),
        ("InstanceNorm2d", (3,), (2, 3)),
        ("LocalResponseNorm", (3,), (2, 3)),
    ],
)
def test_both_raise_an_error(name, arguments, shape):
    with pytest.raises((ValueError, RuntimeError)):
        getattr(torch.nn, name)(*arguments)(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"expected|divisible"):
        getattr(layers, name)(*arguments)(np.zeros(shape, np.float32))


@pytest.mark.parametrize("shape", [(64, 3), (8, 3, 20, 20)])
def test_far_from_zero(shape):
    """Mean 1e4 and standard deviation 1 in float32 give the same as PyTorch in float64 for the same numbers."""
    name = "BatchNorm2d" if len(shape) == 4 else "BatchNorm1d"
    ours, theirs = getattr(layers, name)(3), getattr(torch.nn, name)(3).double()
    x, grad = (1e4 + draw(shape)).astype(np.float32), draw(shape, 1).astype(np.float32)
    theirs_x = tensor(x.astype(np.float64), needs_grad=True)
    theirs_y = theirs(theirs_x)
    theirs_y.backward(tensor(grad.astype(np.float64)))
    assert difference(ours(x), theirs_y.detach().numpy()) <= 1e-6
    assert difference(ours.backward(grad), theirs_x.grad.numpy()) <= 1e-5
    for name in ("running_mean", "running_var"):
        assert difference(ours.state_dict()[name], theirs.state_dict()[name].numpy()) <= 1e-6


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_dropout2d(p, dtype):
    """The random streams differ, so each output is compared with the formula for its own mask, with one scale."""
    tally = Tally()
    x, grad = np.abs(draw((9, 8, 3, 2))).astype(dtype) + 1, draw((9, 8, 3, 2), 1).astype(dtype)
    ours, theirs = Dropout2d(p, rng=0), torch.nn.Dropout2d(p)
    y = ours(x)
    grad_x = ours.backward(grad)
    theirs_y = theirs(tensor(x))
    scale = float((theirs_y / tensor(x)).max())  # the factor that PyTorch uses
    assert torch.equal((theirs_y != 0).any(dim=(2, 3)), (theirs_y != 0).all(dim=(2, 3)))
    mask = tensor(y)[:, :, :1, :1] != 0
    tally.agree("output", y, tensor(x) * mask * scale)
    tally.agree("gradient", grad_x, tensor(grad) * mask * scale)
    compare_layers(tally, ours.eval(), theirs.eval(), x)
