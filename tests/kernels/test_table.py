"""The table of implementations: every entry exists, agrees with its plain function, and is reached by its dtypes alone."""

import importlib
import importlib.util
import inspect

import numpy as np
import pytest

from cnn import kernels
from cnn.kernels import backend, dispatch
from cnn.kernels.table import BACKEND_ORDER, TABLE
from cnn.layers import Conv2d
from cnn.layers.conv2d import conv2d
from cnn.layers.relu import relu

ENTRIES = [(name, entry) for name, entries in TABLE.items() for entry in entries]
BACKENDS = [name for name in backend.BACKENDS if name != "jit" or backend.has_numba()]


@pytest.fixture(autouse=True)
def same_backend_afterwards():
    before = kernels.active()
    yield
    kernels.use(before)


def imported(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def usable(entry):
    return entry.backend != "jit" or backend.has_numba()


@pytest.mark.parametrize(
    ("name", "entry"), ENTRIES, ids=lambda value: value if isinstance(value, str) else value.backend
)
def test_every_entry_exists_and_has_the_signature_of_its_plain_function(name, entry):
    if not usable(entry):
        pytest.skip("Numba is not installed")
    plain, implementation = imported(name), imported(entry.path)
    assert f"{plain.__module__}.{plain.__qualname__}" == name
    assert list(inspect.signature(implementation).parameters) == list(inspect.signature(plain).parameters)
    positions = dispatch.array_positions(inspect.signature(plain))
    assert positions
    assert entry.types
    for types in entry.types:
        assert len(types.split()) == len(positions)
    assert len(set(entry.types)) == len(entry.types)


@pytest.mark.parametrize(
    ("name", "entry"), ENTRIES, ids=lambda value: value if isinstance(value, str) else value.backend
)
def test_every_entry_has_a_dtype_for_each_array(name, entry):
    positions = imported(name).dispatcher.positions
    assert positions
    assert all(len(words.split()) == len(positions) for words in entry.types)


def test_annotations_that_are_text_are_refused(monkeypatch):
    """As with `from __future__ import annotations`: no argument would look like an array, and no dtype be checked."""

    def function(x: "Array") -> "Array":  # noqa: F821  # only the text counts
        return x

    name = f"{function.__module__}.{function.__qualname__}"
    monkeypatch.setitem(TABLE, name, TABLE["cnn.layers.relu.relu"])
    with pytest.raises(TypeError, match="must not have `from __future__ import annotations`"):
        kernels.kernel(function)


def test_backends_are_looked_up_from_the_fastest():
    assert list(BACKEND_ORDER) == list(backend.BACKENDS)
    assert all(entry.backend in BACKEND_ORDER["jit"] for _, entry in ENTRIES)
    assert BACKEND_ORDER["reference"] == ()


def arguments_of(plain, types):
    """Arguments that have arrays of these dtypes, and nothing else that matters for the choice."""
    signature = inspect.signature(plain)
    positions = dispatch.array_positions(signature)
    found = [None] * len(signature.parameters)
    for position, word in zip(positions, types.split(), strict=True):
        array = np.zeros(3, np.float32 if word == "any" else word)
        annotation = str(list(signature.parameters.values())[position].annotation)
        found[position] = [array, array] if annotation.startswith("list") else array
    return found


@pytest.mark.parametrize(
    ("name", "entry"), ENTRIES, ids=lambda value: value if isinstance(value, str) else value.backend
)
def test_every_entry_is_reached_by_its_dtypes_and_by_no_others(name, entry, monkeypatch):
    if not usable(entry):
        pytest.skip("Numba is not installed")
    plain, called = imported(name), []
    module, _, function = entry.path.rpartition(".")

    def probe(*arguments):
        called.append(arguments)
        return "served"

    monkeypatch.setattr(importlib.import_module(module), function, probe)
    monkeypatch.setattr(plain.dispatcher, "_callees", {})
    monkeypatch.setattr(plain.dispatcher, "entries", (entry,))
    kernels.use(entry.backend)
    for types in entry.types:
        arguments = arguments_of(plain, types)
        names = list(inspect.signature(plain).parameters)
        assert plain(*arguments) == "served"
        assert plain(**dict(zip(names, arguments, strict=True))) == "served"
        assert len(called[0]) == len(called[1]) == len(names)
        assert all(a is b for a, b in zip(*called, strict=True))
        called.clear()
        for position, word in enumerate(types.split()):
            for other in (np.float16, np.float64, np.float32, np.int16, ">f4"):
                changed = types.split()
                changed[position] = np.dtype(other).str
                plain.dispatcher.serve(tuple(arguments_of(plain, " ".join(changed))))
                expected = word == "any" or any(same(changed, known.split()) for known in entry.types)
                assert bool(called) == expected, (changed, entry.types)
                called.clear()
        for view in (np.ma.masked_array, lambda array: array.view(np.recarray)):  # other kinds of arrays
            for i in dispatch.array_positions(inspect.signature(plain)):
                other = list(arguments)
                other[i] = [view(other[i][0])] if isinstance(other[i], list) else view(other[i])
                assert plain.dispatcher.serve(tuple(other)) is NotImplemented
        assert not called


def same(types, known):
    return all(b == "any" or np.dtype(a) == np.dtype(b) for a, b in zip(types, known, strict=True))


def test_a_users_function_is_never_replaced(tmp_path):
    """Even with the name of one of ours, in a file of the same name."""
    path = tmp_path / "relu.py"
    path.write_text("import numpy as np\nfrom cnn.kernels import kernel\n\n@kernel\ndef relu(x):\n    return 2 * x\n")
    spec = importlib.util.spec_from_file_location("relu", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    x = np.array([-1.0, 2.0], np.float32)
    for name in BACKENDS:
        kernels.use(name)
        np.testing.assert_array_equal(module.relu(x), [-2, 4])


@pytest.mark.parametrize("name", BACKENDS)
def test_keyword_arguments_arrive(name):
    kernels.use(name)
    rng = np.random.default_rng(0)
    x, layer = rng.standard_normal((4, 3, 8, 8)).astype(np.float32), Conv2d(3, 5, 3, padding=1, rng=0)
    weight, bias, geometry = layer.weight.data, layer.bias.data, layer.geometry()
    expected = conv2d(x, weight, bias, geometry, 1)
    np.testing.assert_array_equal(conv2d(x, weight, bias, geometry=geometry, groups=1), expected)
    np.testing.assert_array_equal(conv2d(groups=1, bias=bias, geometry=geometry, weight=weight, x=x), expected)
    np.testing.assert_array_equal(relu(x=x)[0], np.maximum(x, 0))

    @kernels.kernel
    def scaled(x, factor=1):
        return factor * x

    @kernels.batched(1)
    def shifted(x, by=0):
        return x + by

    np.testing.assert_array_equal(scaled(x, factor=3), 3 * x)
    np.testing.assert_array_equal(scaled(x), x)
    np.testing.assert_array_equal(shifted(x, by=2), x + 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'wrong'"):
        conv2d(x, weight, bias, geometry, 1, wrong=1)


@pytest.mark.parametrize("name", BACKENDS)
def test_arrays_of_different_dtypes_give_the_result_of_the_plain_function(name):
    """A float64 weight in a float32 convolution was read as float32 by compiled code."""
    rng = np.random.default_rng(0)
    x, layer = rng.standard_normal((4, 3, 8, 8)).astype(np.float32), Conv2d(3, 5, 3, padding=1, rng=0)
    weight, bias = layer.weight.data.astype(np.float64), layer.bias.data.astype(np.float64)
    found = []
    for used in ("reference", name):
        kernels.use(used)
        found.append(
            [
                conv2d(x, weight, bias, layer.geometry(), 1),
                conv2d(x.astype(np.float64), layer.weight.data, layer.bias.data, layer.geometry(), 1),
                conv2d(x, layer.weight.data, bias, layer.geometry(), 1),
            ]
        )
    for expected, got in zip(*found, strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
