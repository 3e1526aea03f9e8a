"""Comparison with PyTorch: from the same weights and inputs the same numbers, forward and backward."""

import functools
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

import cnn
from cnn import layers, loss, optim
from cnn.layers import Linear
from cnn.module import Array, Parameter
from cnn.optim import Optimizer
from cnn.utils.numeric import difference
from cnn.verify.case_types import (
    CONTAINERS,
    AverageCase,
    ClippingCase,
    InitialCase,
    LayerCase,
    LossCase,
    OptimizerCase,
    ScheduleCase,
)
from cnn.verify.check import FLOAT32, FLOAT64, Check, compare, draw
from cnn.verify.torch_modules import counterparts

try:
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
except ImportError:  # then run.py leaves PyTorch out
    torch = None  # type: ignore[assignment]

SOURCES = ((np.float64, FLOAT64), (np.float32, FLOAT32))
STEPS = 100
SPREAD = 0.15  # relative difference allowed in standard deviation and range of a few hundred random numbers
OWN_DEFAULTS = {("Softmax", "dim"), ("LogSoftmax", "dim")}  # PyTorch guesses the axis and warns
CONTAINER_NAMES = {container.__name__ for container in CONTAINERS}


def installed() -> bool:
    """Return whether PyTorch is installed."""
    return torch is not None


def version() -> str:
    """Return the version of PyTorch."""
    return str(torch.__version__)


def tensor(array: Any, needs_grad: bool = False) -> Any:
    """Copy an array to a tensor."""
    return torch.tensor(np.ascontiguousarray(array), requires_grad=needs_grad)


def layer_checks(subject: str, case: LayerCase) -> list[Check]:
    """Compare output, all gradients and the buffers afterwards, in each mode and dtype."""
    checks = []
    for training in case.torch_modes or case.modes:
        for dtype, source in SOURCES:
            ours, theirs = case.make().to(dtype).train(training), case.build(counterparts())
            theirs.to(getattr(torch, np.dtype(dtype).name)).train(training)
            theirs.load_state_dict({name: tensor(array) for name, array in ours.state_dict().items()})
            x = case.input(dtype)
            theirs_x = tensor(x, needs_grad=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch warns that an even kernel with padding="same" is slow
                theirs_y = theirs(theirs_x)
            y = ours(x)
            grad = draw(y.shape, dtype, seed=1)
            theirs_y.backward(tensor(grad))
            pairs = {"output": (y, theirs_y), "gradient of the input": (ours.backward(grad), theirs_x.grad)}
            gradients = {name: p.grad for name, p in theirs.named_parameters()}
            pairs |= {f"gradient of {name}": (p.grad, gradients[name]) for name, p in ours.named_parameters()}
            after, buffers = ours.state_dict(), dict(theirs.named_buffers())
            pairs |= {name: (after[name], buffer) for name, buffer in buffers.items()}
            what = f"{ours!r}, {'training' if training else 'evaluation'}, "
            checks += [compare(subject, source, what + name, a, _array(b)) for name, (a, b) in pairs.items()]
    return checks + (_dropout_checks(subject, case) if case.torch_modes else [])


def _dropout_checks(subject: str, case: LayerCase) -> list[Check]:
    """Compare the outputs of dropout for ones in training: with different masks the same set of values."""
    checks = []
    for dtype, source in SOURCES:
        ones, ours = np.ones((50, 20, 1, 1), dtype), case.make()
        values = [np.unique(ours(ones)), np.unique(_array(case.build(counterparts())(tensor(ones))))]
        checks.append(compare(subject, source, f"{ours!r}, training, values", *values))
    return checks


def loss_checks(subject: str, case: LossCase) -> list[Check]:
    """Compare the loss and the gradient of the prediction in each dtype."""
    checks = []
    for dtype, source in SOURCES:
        ours = case.make()
        theirs = (case.build_torch or case.build)(torch.nn, functools.partial(_weights, dtype))
        x, target = case.prediction(dtype), case.target(dtype)
        theirs_x = tensor(x, needs_grad=True)
        y, theirs_y = ours(x, target), theirs(theirs_x, tensor(target))
        theirs_y.sum().backward()
        what = f"{ours!r}, "
        expected = theirs_y.detach().numpy()
        if isinstance(y, float):
            checks.append(Check(subject, source, what + "loss", difference(y, expected)))
        else:
            checks.append(compare(subject, source, what + "losses", y, expected))
        checks.append(compare(subject, source, what + "gradient", ours.backward(), _array(theirs_x.grad)))
    return checks


def optimizer_checks(subject: str, case: OptimizerCase) -> list[Check]:
    """Compare parameters after a hundred steps with the same random gradients."""
    start = [draw(shape, seed=i) for i, shape in enumerate(case.shapes)]
    ours, theirs = [Parameter(a) for a in start], [torch.nn.Parameter(tensor(a)) for a in start]
    our_optimizer, their_optimizer = case.build(optim, ours), case.build(torch.optim, theirs)
    rng = np.random.default_rng(5)
    with _all_in_float64():
        for _ in range(STEPS):
            for p, q in zip(ours, theirs, strict=True):
                grad = rng.normal(size=p.shape) * 10 ** rng.uniform(-3, 1)
                p.grad, q.grad = grad, tensor(grad)
            our_optimizer.step()
            their_optimizer.step()
    groups = "".join(f", group of {group._own_settings}" for group in our_optimizer.param_groups if group._own_settings)
    what = f"{case.name}{_settings(our_optimizer)}{groups}, after {STEPS} steps, parameter "
    arrays = zip(ours, theirs, strict=True)
    return [compare(subject, FLOAT64, what + str(p.shape), p.data, _array(q)) for p, q in arrays]


def clipping_checks(subject: str, case: ClippingCase) -> list[Check]:
    """Compare clipped gradients, and the norm if there is one."""
    ours, theirs = [Parameter(draw((4, 3))), Parameter(draw((5,)))], []
    for seed, p in enumerate(ours):
        p.grad = draw(p.shape, seed=seed)
        theirs.append(torch.nn.Parameter(tensor(p.data)))
        theirs[-1].grad = tensor(p.grad)
    norm, their_norm = case.clip(optim, ours), case.clip(torch.nn.utils, theirs)
    pairs = [(p.grad, q.grad) for p, q in zip(ours, theirs, strict=True)]
    pairs += [] if their_norm is None else [(norm, their_norm)]
    return [compare(subject, FLOAT64, case.name, a, _array(b)) for a, b in pairs]


def initial_checks(subject: str, case: InitialCase) -> list[Check]:
    """Compare standard deviation and range of the initial parameters of a layer."""
    ours, theirs = case.build(layers), dict(case.build(torch.nn).named_parameters())
    checks = []
    for name, p in ours.named_parameters():
        found, wanted = ([float(f(a)) for f in (np.std, np.min, np.max)] for a in (p.data, _array(theirs[name])))
        close = all(abs(a - b) <= SPREAD * abs(b) for a, b in zip(found, wanted, strict=True))
        message = "" if close else "spread {:.3f}, from {:.3f} to {:.3f}, not {:.3f}, {:.3f} to {:.3f}"
        what = f"{ours!r}, {name} at the start"
        checks.append(Check(subject, FLOAT32, what, 0.0 if close else np.inf, message.format(*found, *wanted)))
    return checks


def default_checks(subject: str) -> list[Check]:
    """Compare the defaults of the arguments that both have; no check if PyTorch has no such class."""
    ours = next(getattr(module, subject) for module in (layers, loss, optim, cnn) if hasattr(module, subject))
    modules = (torch.nn, torch.optim, torch.optim.lr_scheduler, torch.nn.utils)
    counterpart = next((getattr(module, subject) for module in modules if hasattr(module, subject)), None)
    if counterpart is None or subject in CONTAINER_NAMES:
        return []
    theirs, wrong = inspect.signature(counterpart).parameters, []
    for name, argument in inspect.signature(ours).parameters.items():
        comparable = name in theirs and (subject, name) not in OWN_DEFAULTS and name != "params"
        if comparable and argument.default != theirs[name].default:
            wrong.append(f"{argument}, not {theirs[name]}")
    return [Check(subject, FLOAT64, "defaults", np.inf if wrong else 0.0, "; ".join(wrong))]


def average_checks(subject: str, case: AverageCase) -> list[Check]:
    """Compare averaged weights after a hundred updates."""
    ours, theirs = Linear(3, 2).to(np.float64), torch.nn.Linear(3, 2).double()
    average = optim.WeightAverage(ours, decay=case.decay)
    their_average = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(case.decay))  # type: ignore[no-untyped-call]
    for step in range(STEPS):
        for seed, (p, q) in enumerate(zip(ours.parameters(), theirs.parameters(), strict=True)):
            p.data = draw(p.shape, seed=2 * step + seed)
            q.data = tensor(p.data)
        average.update()
        their_average.update_parameters(theirs)
    pairs = zip(average.averages, their_average.parameters(), strict=True)
    what = f"{case.name}(decay={case.decay}), after {STEPS} updates"
    return [compare(subject, FLOAT64, what, a, _array(b)) for a, b in pairs]


def schedule_checks(subject: str, case: ScheduleCase) -> list[Check]:
    """Compare learning rate and momentum over a hundred steps."""
    parameter, their_parameter = Parameter(np.ones(1)), torch.nn.Parameter(torch.ones(1))
    ours, theirs = (
        optim.SGD([parameter], lr=0.4, momentum=0.9),
        torch.optim.SGD([their_parameter], lr=0.4, momentum=0.9),
    )
    rates: tuple[list[list[float]], list[list[float]]] = ([], [])
    metrics = np.abs(draw((STEPS,), seed=3)) + 1 / np.arange(1, STEPS + 1)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # PyTorch wants a step of the optimizer first, and calls deprecated functions of its own
        schedules = (case.build(optim, ours), case.build(torch.optim.lr_scheduler, theirs))
        for metric in metrics:
            rates[0].append([ours.lr, ours.momentum])
            rates[1].append([float(theirs.param_groups[0][name]) for name in ("lr", "momentum")])
            for schedule in schedules:
                schedule.step(*([float(metric)] if case.needs_metric else []))
    what = f"{case.name}, learning rate and momentum over {STEPS} steps"
    return [compare(subject, FLOAT64, what, *map(np.array, rates))]


def _weights(dtype: Any, values: Any) -> Any:
    return tensor(np.asarray(values, dtype))


def _array(value: Any) -> Array:
    found: Array = value.detach().numpy()
    return found


def _settings(optimizer: Optimizer) -> str:
    kept = {n: v for n, v in vars(optimizer).items() if not n.startswith("_") and n not in ("params", "trains_all")}
    return f"({', '.join(f'{name}={value!r}' for name, value in kept.items())})"


@contextmanager
def _all_in_float64() -> Iterator[None]:
    """Keep PyTorch in float64: NAdam's product of mu has the default dtype, and Muon rounds to bfloat16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
            yield
    finally:
        torch.set_default_dtype(before)
