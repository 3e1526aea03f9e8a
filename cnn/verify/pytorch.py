"""Parity with PyTorch: the same weights, the same input, the same numbers, forward and backward."""

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from cnn import optim
from cnn.layers import Linear
from cnn.module import Array, Parameter
from cnn.optim import Optimizer
from cnn.utils.numeric import difference
from cnn.verify.cases import AverageCase, LayerCase, LossCase, OptimizerCase, ScheduleCase
from cnn.verify.check import FLOAT32, FLOAT64, Check, compare, draw

try:
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
except ImportError:  # run.py leaves PyTorch out then
    torch = None  # type: ignore[assignment]

SOURCES = ((np.float64, FLOAT64), (np.float32, FLOAT32))
STEPS = 100


def installed() -> bool:
    """Tell whether PyTorch is here."""
    return torch is not None


def version() -> str:
    """Return the version of PyTorch."""
    return str(torch.__version__)


def tensor(array: Any, needs_grad: bool = False) -> Any:
    """Copy an array to PyTorch."""
    return torch.tensor(np.ascontiguousarray(array), requires_grad=needs_grad)


def layer_checks(subject: str, case: LayerCase) -> list[Check]:
    """Compare output, all gradients and the buffers afterwards, in each mode and dtype."""
    checks = []
    for training in case.torch_modes or case.modes:
        for dtype, source in SOURCES:
            ours, theirs = case.make().to(dtype).train(training), _twin(case)
            theirs.to(getattr(torch, np.dtype(dtype).name)).train(training)
            theirs.load_state_dict({name: tensor(array) for name, array in ours.state_dict().items()})
            x = draw(case.shape, dtype)
            theirs_x = tensor(x, needs_grad=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # PyTorch finds an even kernel with padding="same" slow
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
    return checks


def loss_checks(subject: str, case: LossCase) -> list[Check]:
    """Compare the loss and the gradient of the prediction in each dtype."""
    checks = []
    for dtype, source in SOURCES:
        ours = case.make()
        theirs = (case.twin or case.build)(torch.nn, functools.partial(_weights, dtype))
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
    """Take a hundred steps on the same random gradients."""
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
    what = f"{case.name}{_settings(our_optimizer)}, after {STEPS} steps, parameter "
    arrays = zip(ours, theirs, strict=True)
    return [compare(subject, FLOAT64, what + str(p.shape), p.data, _array(q)) for p, q in arrays]


def average_checks(subject: str, case: AverageCase) -> list[Check]:
    """Average a hundred changes of the weights."""
    ours, theirs = Linear(3, 2).to(np.float64), torch.nn.Linear(3, 2).double()
    average = optim.WeightAverage(ours, decay=case.decay)
    twin = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(case.decay))  # type: ignore[no-untyped-call]
    for step in range(STEPS):
        for seed, (p, q) in enumerate(zip(ours.parameters(), theirs.parameters(), strict=True)):
            p.data = draw(p.shape, seed=2 * step + seed)
            q.data = tensor(p.data)
        average.update()
        twin.update_parameters(theirs)
    pairs = zip(average.averages, twin.parameters(), strict=True)
    what = f"{case.name}(decay={case.decay}), after {STEPS} updates"
    return [compare(subject, FLOAT64, what, a, _array(b)) for a, b in pairs]


def schedule_checks(subject: str, case: ScheduleCase) -> list[Check]:
    """Follow the learning rate for a hundred steps."""
    parameter, twin = Parameter(np.ones(1)), torch.nn.Parameter(torch.ones(1))
    ours, theirs = optim.SGD([parameter], lr=0.4, momentum=0.9), torch.optim.SGD([twin], lr=0.4, momentum=0.9)
    rates: tuple[list[float], list[float]] = ([], [])
    measures = np.abs(draw((STEPS,), seed=3)) + 1 / np.arange(1, STEPS + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch wants a step of the optimizer first, and calls its own old forms
        schedules = (case.build(optim, ours), case.build(torch.optim.lr_scheduler, theirs))
        for measure in measures:
            rates[0].append(_rate(ours))
            rates[1].append(float(theirs.param_groups[0]["lr"]))
            for schedule in schedules:
                schedule.step(*([float(measure)] if case.reads_measure else []))
    return [compare(subject, FLOAT64, f"{case.name}, learning rate over {STEPS} steps", *map(np.array, rates))]


def _rate(optimizer: Optimizer) -> float:
    return float(optimizer.lr)


def _weights(dtype: Any, values: Any) -> Any:
    return tensor(np.asarray(values, dtype))


def _array(value: Any) -> Array:
    found: Array = value.detach().numpy()
    return found


def _settings(optimizer: Optimizer) -> str:
    kept = {n: v for n, v in vars(optimizer).items() if not n.startswith("_") and n not in ("params", "takes_all")}
    return f"({', '.join(f'{name}={value!r}' for name, value in kept.items())})"


@contextmanager
def _all_in_float64() -> Iterator[None]:
    """Let PyTorch keep float64: NAdam's product of mu has the default dtype, and Muon rounds to bfloat16."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mock.patch.object(torch.Tensor, "bfloat16", torch.Tensor.clone):
            yield
    finally:
        torch.set_default_dtype(before)


def _twin(case: LayerCase) -> Any:
    """Make PyTorch's layer; the backward of its Hardsigmoid rounds 1/6 to float32 in float64 too, unlike its parts."""
    if case.name != "Hardsigmoid":
        return case.build(torch.nn)

    class Hardsigmoid(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.nn.functional.relu6(x + 3) / 6

    return Hardsigmoid()
