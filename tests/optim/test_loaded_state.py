"""A state that is loaded fits or is refused, and then nothing has changed: it may come from a damaged or made-up file."""

import copy

import numpy as np
import pytest

from cnn import Parameter, Sequential
from cnn.errors import CheckpointError
from cnn.kernels import backend
from cnn.layers import Linear, ReLU
from cnn.loss import MSELoss
from cnn.optim import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    ChainedScheduler,
    MultiStepLR,
    Muon,
    NAdam,
    OneCycleLR,
    Optimizer,
    ReduceLROnPlateau,
    RMSprop,
    SequentialLR,
    StepLR,
)
from cnn.optim.state import LARGEST_COUNT, SQUARES
from cnn.training import Averaged, Checkpoint
from cnn.training.checkpoint_file import find_checkpoints, read, write
from tests.kernels.backends import using

SHAPES = [(6, 4), (4, 6), (2, 3, 4)]
OPTIMIZERS = [
    (SGD, {"momentum": 0.9}),
    (Adam, {}),
    (AdamW, {}),
    (NAdam, {}),
    (RMSprop, {"momentum": 0.9, "centered": True}),
    (Adagrad, {}),
    (Muon, {}),
]
KINDS = [kind for kind, _ in OPTIMIZERS]
BACKENDS = [name for name in backend.BACKENDS if name != "jit" or backend.has_numba()]


def made(kind, settings, dtype=np.float32, groups=False):
    """Return parameters and an optimizer that has made two steps of them."""
    rng = np.random.default_rng(0)
    parameters = [Parameter(rng.normal(size=shape).astype(dtype)) for shape in SHAPES]
    params = [{"params": parameters[:1], "lr": 0.01}, {"params": parameters[1:]}] if groups else parameters
    optimizer = kind(params, **settings)
    for seed in range(2):
        step(parameters, optimizer, seed)
    return parameters, optimizer


def step(parameters, optimizer, seed):
    rng = np.random.default_rng(seed)
    for parameter in parameters:
        parameter.grad = rng.normal(size=parameter.shape).astype(parameter.dtype)
    optimizer.step()


def memories(state):
    """All states of single parameters, also those in groups."""
    return [*state["memory"], *(one for group in state["groups"] for one in group["memory"])]


def bits(optimizer):
    return repr([(sorted(one.items()), optimizer.lr) for one in memories(optimizer.state_dict())])


WRONG_ARRAYS = {
    "int8": lambda a: a.astype(np.int8),
    "bool": lambda a: a > 0,
    "float16": lambda a: a.astype(np.float16),
    "complex": lambda a: a.astype(np.complex64),
    "objects": lambda a: a.astype(object),
    "text": lambda a: a.astype("U8"),
    "0-d": lambda a: np.zeros((), np.float32),
    "a number": lambda a: np.float32(1.0),
    "empty": lambda a: a[:0],
    "list": lambda a: a.tolist(),
    "None": lambda a: None,
    "flat": lambda a: a.reshape(-1),
    "transposed": lambda a: a.T,
    "one more axis": lambda a: a[None],
    "shorter": lambda a: a[:-1],
    "longer": lambda a: np.concatenate([a, a]),
    "one row": lambda a: a[:1],
    "text instead of an array": lambda a: "0.5",
    "a dict": lambda a: {"$array": "m"},
}


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=[kind.__name__ for kind in KINDS])
def test_wrong_arrays_are_refused_and_nothing_has_changed(kind, settings, groups):
    """An int8 v, a 0-d one and a list crashed compiled Adam; others gave NaN, or were used in another shape."""
    parameters, optimizer = made(kind, settings, groups=groups)
    weights = [parameter.data.copy() for parameter in parameters]
    before, names = bits(optimizer), {name for one in memories(optimizer.state_dict()) for name in one}
    refused = 0
    for name in sorted(names):
        for wrong in WRONG_ARRAYS.values():
            state = optimizer.state_dict()
            state["settings"]["lr"] = 0.5
            last = memories(state)[-1]
            if not isinstance(last[name], np.ndarray):
                continue
            last[name] = wrong(last[name])
            with pytest.raises(ValueError, match=name):
                optimizer.load_state_dict(state)
            refused += 1
            assert bits(optimizer) == before
    assert refused >= len(WRONG_ARRAYS)
    for parameter, weight in zip(parameters, weights, strict=True):
        np.testing.assert_array_equal(parameter.data, weight)


@pytest.mark.parametrize("used", BACKENDS)
@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=[kind.__name__ for kind in KINDS])
def test_arrays_in_another_order_or_precision_give_the_same_steps(kind, settings, used):
    """An m in Fortran order gave a wrong sum in compiled Adam, and a float64 v gave NaN."""
    layouts = {
        "Fortran order": np.asfortranarray,
        "reversed": lambda a: np.flip(np.flip(a).copy()),
        "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        "read-only": lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
        "misaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
        "float64": lambda a: a.astype(np.float64),
        "big-endian": lambda a: a.astype(">f4"),
        "record array": lambda a: a.view(np.recarray),
    }
    with using(used, 1):
        for layout in layouts.values():
            parameters, optimizer = made(kind, settings)
            others, other = made(kind, settings)
            state = optimizer.state_dict()
            for one in state["memory"]:
                one.update({n: layout(a) if isinstance(a, np.ndarray) else a for n, a in one.items()})
            other.load_state_dict(state)
            for one in other.state_dict()["memory"]:
                for array in one.values():
                    assert not isinstance(array, np.ndarray) or (
                        type(array) is np.ndarray and array.dtype == np.float32
                    )
            for pair in ((parameters, optimizer), (others, other)):
                step(*pair, seed=3)
            for a, b in zip(parameters, others, strict=True):
                np.testing.assert_array_equal(a.data, b.data)
            for one in state["memory"]:  # which was copied: no step has changed it
                for name, array in one.items():
                    assert not any(np.may_share_memory(array, kept[name]) for kept in other._state)


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=[kind.__name__ for kind in KINDS])
def test_wrong_names_counts_and_settings_are_refused(kind, settings):
    _, optimizer = made(kind, settings)
    before, good = bits(optimizer), optimizer.state_dict()
    states = []

    def changed(change):
        state = copy.deepcopy(good)
        change(state)
        states.append(state)

    changed(lambda s: s["memory"][0].update(surprise=1))
    changed(lambda s: s["memory"][0].update({"m ": np.zeros(SHAPES[0], np.float32)}))
    for name in good["memory"][0]:
        optional = name == "b" or (kind is RMSprop and name == "m")  # there with some settings only
        if not optional and len(good["memory"][0]) > 1:
            changed(lambda s, name=name: s["memory"][0].pop(name))
    counts = {"t": (-1, 2**53, 2**70, 1.0, True, "1", None, [1], np.ones(()), np.nan)}
    counts["product"] = (-0.1, 1.0, 1.5, np.nan, np.inf, "0.5", None, [0.5], True)
    for name, values in counts.items():
        for value in values:
            if name in good["memory"][0]:
                changed(lambda s, name=name, value=value: s["memory"][0].update({name: value}))
    for name in good["settings"]:
        changed(lambda s, name=name: s["settings"].pop(name))
        changed(lambda s, name=name: s["settings"].update({name: {"a": 1}}))
    for value in (-1.0, np.nan, np.inf, "0.1", None, True, [0.1]):
        changed(lambda s, value=value: s["settings"].update(lr=value))
    for value in (-1.0, np.nan, "0.1", [0.1], True):
        changed(lambda s, value=value: s.update(initial_lr=value))
    for name in ("settings", "memory", "groups", "initial_lr"):
        changed(lambda s, name=name: s.pop(name))
        for value in (1, "x", [1], {"a": 1}):
            if name != "initial_lr":
                changed(lambda s, name=name, value=value: s.update({name: value}))
    changed(lambda s: s["memory"].append({}))
    changed(lambda s: s["memory"].__setitem__(0, [1]))
    changed(lambda s: s["groups"].append({}))
    changed(lambda s: s.update(more=1))
    for state in (*states, None, [], "x"):
        with pytest.raises(ValueError, match=r"\w"):
            optimizer.load_state_dict(state)
        assert bits(optimizer) == before
    optimizer.load_state_dict(good)
    assert bits(optimizer) == before


def test_every_optimizer_is_in_these_tests():
    found, ours = [Optimizer], set()
    for kind in found:
        found += kind.__subclasses__()
        ours |= {kind} if kind.__module__.startswith("cnn.") else set()
    assert ours - {Optimizer} == set(KINDS)


def test_the_state_of_a_users_optimizer_is_copied_and_its_names_are_free():
    class Counting(Adam):
        def update(self, parameter, grad, state):
            state["signs"] = state.get("signs", np.zeros(parameter.shape, np.int64)) + (grad > 0)
            state["note"] = "free"

    parameters, optimizer = made(Counting, {})
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    assert optimizer._state[0]["note"] == "free"
    assert optimizer._state[0]["signs"] is not state["memory"][0]["signs"]
    step(parameters, optimizer, 5)
    for wrong in (np.zeros(3), np.zeros(SHAPES[0], object), np.zeros(SHAPES[0], "U3")):
        state["memory"][0]["signs"] = wrong
        with pytest.raises(ValueError, match="signs"):
            optimizer.load_state_dict(state)


@pytest.mark.parametrize("used", BACKENDS)
def test_adam_is_right_for_moments_that_were_put_into_its_state(used):
    """Compiled Adam checks what it writes to: another order, dtype or shape is converted or refused."""
    orders = (np.asfortranarray, lambda a: a.astype(np.float64), lambda a: a[::-1].copy()[::-1])
    with using(used, 1):
        parameters, optimizer = made(Adam, {})
        for order in orders:
            others, other = made(Adam, {})
            for one in other._state:
                one["v"] = order(one["v"])
            step(others, other, 3)
            if order is orders[0]:
                step(parameters, optimizer, 3)
            for a, b in zip(parameters, others, strict=True):
                np.testing.assert_allclose(b.data, a.data, rtol=1e-6)
        for wrong in (lambda a: a[:0], lambda a: np.concatenate([a, a]), lambda a: a.reshape(-1)):
            others, other = made(Adam, {})
            other._state[0]["v"] = wrong(other._state[0]["v"])
            with pytest.raises(ValueError, match=r"shape|broadcast"):
                step(others, other, 3)
        others, other = made(Adam, {})
        other._state[0]["v"].flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            step(others, other, 3)


SCHEDULES = {
    "StepLR": lambda o: StepLR(o, 2),
    "MultiStepLR": lambda o: MultiStepLR(o, [1, 3]),
    "OneCycleLR": lambda o: OneCycleLR(o, 0.1, total_steps=10),
    "SequentialLR": lambda o: SequentialLR(o, [StepLR(o, 2), StepLR(o, 3)], [4]),
    "ChainedScheduler": lambda o: ChainedScheduler([StepLR(o, 2), StepLR(o, 3)]),
    "ReduceLROnPlateau": lambda o: ReduceLROnPlateau(o),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_wrong_states_of_schedules_are_refused(name):
    optimizer = SGD([Parameter([1.0])], lr=0.1, momentum=0.9)
    schedule = SCHEDULES[name](optimizer)
    schedule.step(*([1.0] if name == "ReduceLROnPlateau" else []))
    good, lr = schedule.state_dict(), optimizer.lr
    states = [None, [], {}, "x"]
    for key, value in good.items():
        states.append({k: v for k, v in good.items() if k != key})
        wrong = {"lrs": (0.1, [], [0.1, 0.2], ["x"], [-1.0], [np.nan], None), "best": ("x", None, [1.0], True)}
        for other in wrong.get(key, (-1, 1.5, "1", None, True, [1], 2**53)):
            states.append({**good, key: other})
        assert value == good[key]
    for state in states:
        with pytest.raises(ValueError, match=r"\w"):
            schedule.load_state_dict(state)
        assert (schedule.state_dict(), optimizer.lr) == (good, lr)
    schedule.load_state_dict(good)
    assert schedule.state_dict() == good


@pytest.mark.parametrize(
    "wrong", ["int8", "bool", "float16", "complex", "objects", "text", "a number", "list", "None", "a dict"]
)
def test_wrong_states_of_averages_are_refused(wrong):
    averaged, good = Averaged(), {"n_averaged": 3, "averages": {"0.weight": np.ones((2, 3), np.float32)}}
    averaged.load_state_dict(good)
    bad = {**good, "averages": {"0.weight": WRONG_ARRAYS[wrong](good["averages"]["0.weight"])}}
    for state in (bad, {**good, "n_averaged": -1}, {**good, "n_averaged": 1.5}, {**good, "averages": [1]}, {}, None):
        with pytest.raises(ValueError, match=r"\w"):
            averaged.load_state_dict(state)
        assert averaged.state_dict()["n_averaged"] == 3


def test_averages_are_copied_in_the_models_order_and_dtype():
    model = Sequential([Linear(3, 2, bias=False, rng=0)])
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    averaged = Averaged()
    averaged.load_state_dict({"n_averaged": 3, "averages": {"0.weight": np.asfortranarray(values)}})
    average = averaged._average_of(model).averages[0]
    np.testing.assert_array_equal(average, values)
    assert average.flags.carray
    assert average.dtype == np.float32
    averaged.load_state_dict({"n_averaged": 3, "averages": {"0.weight": values.T}})
    with pytest.raises(ValueError, match="belong to another model"):
        averaged._average_of(model)


@pytest.mark.parametrize("wrong", ["int8", "0-d", "list", "transposed", "float16", "shorter"])
def test_a_made_up_checkpoint_is_refused(wrong, tmp_path):
    def fit(resume, epochs):
        x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
        layers = [Linear(4, 6, rng=0), ReLU(), Linear(6, 2, rng=1)]
        model = Sequential(layers, loss_func=MSELoss(), optimizer=Adam())
        callbacks = [] if resume else [Checkpoint(tmp_path)]
        return model.fit(x, x[:, :2], epochs=epochs, verbose_freq=0, rng=0, callbacks=callbacks, resume=resume)

    fit(None, 1)
    path = find_checkpoints(tmp_path)[0]
    arrays, description = read(path)
    name = description["optimizer"]["memory"][0]["v"]["$array"]
    value = WRONG_ARRAYS[wrong](arrays.pop(name))
    if isinstance(value, np.ndarray):
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
    else:
        description["optimizer"]["memory"][0]["v"] = value
    for old in find_checkpoints(tmp_path):
        old.unlink()
    write(path, arrays, description)
    with pytest.raises(CheckpointError, match="does not fit: the optimizer: v"):
        fit(tmp_path, 2)


HUGE = 10**400  # below infinity, but no float


@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=[kind.__name__ for kind in KINDS])
def test_settings_too_large_for_a_float(kind, settings):
    _, optimizer = made(kind, settings)
    good = optimizer.state_dict()
    for name, value in good["settings"].items():
        if isinstance(value, (float, tuple)) and not isinstance(value, bool):
            wrong = HUGE if isinstance(value, float) else (HUGE, *value[1:])
            with pytest.raises(ValueError, match="must be"):
                kind(**{name: wrong})
            with pytest.raises(ValueError, match="must be"):
                optimizer.load_state_dict({**good, "settings": {**good["settings"], name: wrong}})
    optimizer.load_state_dict(good)


def test_metrics_too_large_for_a_float():
    _, optimizer = made(SGD, {})
    schedule = ReduceLROnPlateau(optimizer)
    with pytest.raises(TypeError, match="metrics must be a number"):
        schedule.step(HUGE)
    for best in (HUGE, -HUGE):
        with pytest.raises(ValueError, match="best must be a number"):
            schedule.load_state_dict({**schedule.state_dict(), "best": best})
    schedule.load_state_dict(schedule.state_dict())  # best is infinity


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0])
@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=[kind.__name__ for kind in KINDS])
def test_numbers_that_no_training_leaves(kind, settings, value):
    """NaN in any array, infinity where the next step would spread it, and a negative square."""
    _, optimizer = made(kind, settings)
    before, good = bits(optimizer), optimizer.state_dict()
    for name, array in good["memory"][1].items():
        if not isinstance(array, np.ndarray):
            continue
        state = copy.deepcopy(good)
        state["memory"][1][name].flat[-1] = value
        is_square = kind.STATE[name] == SQUARES
        if value == (np.inf if is_square else -1.0):  # an overflow of the square only stops the weight
            optimizer.load_state_dict(state)
            optimizer.load_state_dict(good)
        else:
            with pytest.raises(
                ValueError, match=f"{name} in the state of a parameter must hold .*: the state is damaged"
            ):
                optimizer.load_state_dict(state)
        assert bits(optimizer) == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "t" in kind.STATE])
def test_the_largest_number_of_steps_stays_one_that_can_be_loaded(kind):
    parameters, optimizer = made(kind, {})
    state = optimizer.state_dict()
    for one in state["memory"]:
        one["t"] = LARGEST_COUNT
    optimizer.load_state_dict(state)
    step(parameters, optimizer, 3)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state_dict()["memory"][0]["t"] == LARGEST_COUNT


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("change", [lambda p: p.append(Parameter([1.0])), list.reverse, list.pop])
@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=[kind.__name__ for kind in KINDS])
def test_params_that_changed_after_they_were_set(kind, settings, change, groups):
    parameters, optimizer = made(kind, settings, groups=groups)
    before = bits(optimizer), [p.data.copy() for p in parameters]
    change(optimizer.param_groups[-1].params)
    with pytest.raises(ValueError, match=r"params has changed since it was set: call optimizer.set_params"):
        optimizer.step()
    assert all(np.array_equal(p.data, old) for p, old in zip(parameters, before[1], strict=True))
    optimizer.set_params(parameters)
    step(parameters, optimizer, 3)


GRADS = {
    "complex": lambda g: g.astype(np.complex64),
    "objects": lambda g: g.astype(object),
    "bool": lambda g: g > 0,
    "text": lambda g: g.astype("U8"),
    "matrix": lambda g: g.reshape(len(g), -1).view(np.matrix),
    "list": lambda g: g.tolist(),
    "number": lambda g: 1.0,
}


@pytest.mark.parametrize("groups", [False, True])
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("what", GRADS)
@pytest.mark.parametrize(("kind", "settings"), OPTIMIZERS, ids=[kind.__name__ for kind in KINDS])
def test_gradients_that_are_no_real_arrays(kind, settings, what, name, groups):
    with using(name):
        parameters, optimizer = made(kind, settings, groups=groups)
        before = bits(optimizer), [p.data.copy() for p in parameters]
        parameters[1].grad = GRADS[what](parameters[1].grad)
        with pytest.raises(TypeError, match="a grad must be a NumPy array of real numbers, like its parameter, got"):
            optimizer.step()
        assert bits(optimizer) == before[0]
        assert all(np.array_equal(p.data, old) for p, old in zip(parameters, before[1], strict=True))
