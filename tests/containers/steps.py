"""Which fused steps ran in the last forward pass of a Sequential, as its slot tells."""

from cnn.containers.chain import Chain
from cnn.containers.fusion.step import FusedStep


def fused_steps(model):
    """The fused steps that a model, and every Sequential inside it, will walk back."""
    records = [module._saved[0] for module in model.modules() if isinstance(module, Chain) and module._saved]
    return [step for record in records for _, step, *_ in record if isinstance(step, FusedStep)]


def names(model):
    """Their classes, in order."""
    return [type(step).__name__ for step in fused_steps(model)]


def ran(model, x):
    """The classes of the fused steps of a forward pass, in order."""
    model(x)
    return names(model)
