"""Models from PyTorch and for PyTorch. Reading weights needs no PyTorch; `to_torch` and `from_torch` do."""

import inspect
from typing import Any

import cnn.layers
from cnn.containers.branches import Concat, Product, Residual, Sum
from cnn.containers.graph import Graph
from cnn.containers.joins import Add, Concatenate, Multiply
from cnn.core.weights import read_weights
from cnn.errors import InputError
from cnn.module import Module
from cnn.sequential import Sequential

__all__ = ["from_torch", "read_weights", "to_torch"]

BRANCHES, JOINS = (Sum, Product, Residual, Concat), (Add, Multiply, Concatenate)
ONLY_OURS = (cnn.layers.Affine, cnn.layers.ChannelSlice, cnn.layers.Permute)  # layers that torch_modules.py has
OTHER_WAY = (
    "write the net as cnn.Sequential, Sum, Concat or Graph and load the weights with load_state_dict, or export it "
    "with torch.onnx.export and read it with cnn.interop.onnx.load"
)


def to_torch(model: Module) -> Any:
    """Return the same net as a torch.nn.Module, with copies of the weights and the same keys in its state_dict.

    Parameters
    ----------
    model : Module
        A container or a layer of this library. Loss and optimizer are not part of it.

    Returns
    -------
    torch.nn.Module
        In the same mode, training or evaluation, in the same dtype, and with the same parameters frozen.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    InputError
        (a ValueError) If it has layers that PyTorch does not have; the message lists all of them.

    Examples
    --------
    >>> from cnn.layers import Linear, ReLU
    >>> to_torch(Sequential([Linear(3, 2), ReLU()]))
    Sequential(
      (0): Linear(in_features=3, out_features=2, bias=True)
      (1): ReLU()
    )
    """
    torch = _torch()
    problems: list[str] = []
    theirs = _to_torch(model, "", problems)
    if problems:
        raise InputError("PyTorch has no counterpart of\n  " + "\n  ".join(problems))
    tensors = {name: torch.tensor(tensor.data) for name, tensor in model.named_tensors()}
    floats = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(floats) == 1:
        theirs.to(floats.pop())
    theirs.load_state_dict(tensors)
    for name, parameter in model.named_parameters():
        theirs.get_parameter(name).requires_grad_(parameter.requires_grad)
    for name, module in model.named_modules():
        theirs.get_submodule(name).training = module.training
    return theirs


def _to_torch(module: Module, path: str, problems: list[str]) -> Any:
    from cnn.interop import torch_modules

    nn, kind = _torch().nn, type(module).__name__
    children = {
        name: _to_torch(child, f"{path}.{name}".strip("."), problems) for name, child in module.children().items()
    }
    if type(module) is Sequential:
        return nn.Sequential(*children.values())
    if type(module) is Graph:
        return torch_modules.Graph([(name, children[name], inputs) for name, _, inputs in module.nodes], module.outputs)
    if type(module) in JOINS:
        return getattr(torch_modules, kind)()
    if type(module) in BRANCHES:
        return getattr(torch_modules, kind)(children)
    if type(module) in ONLY_OURS:
        return getattr(torch_modules, kind)(**module.arguments())
    if getattr(cnn.layers, kind, None) is type(module) and hasattr(nn, kind):
        try:
            return getattr(nn, kind)(**_settings(module, getattr(nn, kind)))
        except (TypeError, ValueError) as error:
            problems.append(f"{path or 'the model'}, {module!r}: {error}")
    else:
        problems.append(f"{path or 'the model'}, {module!r}")
    return nn.Identity()


def _settings(layer: Module, theirs: Any) -> dict[str, Any]:
    """Return the settings of a layer as PyTorch's class takes them; raise an error for one that it does not have."""
    settings, known = layer.arguments(), inspect.signature(theirs).parameters
    defaults = {name: argument.default for name, argument in inspect.signature(type(layer)).parameters.items()}
    for name, value in list(settings.items()):
        if name not in known:
            if value != defaults[name]:
                raise InputError(f"it has no {name}")
            del settings[name]
    padding = settings.get("padding", 0)
    if isinstance(padding, str) and (type(layer) is not cnn.layers.Conv2d or layer.stride != (1, 1)):
        raise InputError(f"it has no padding={padding!r} with a stride")
    if isinstance(padding, tuple) and len(padding) == 2 and isinstance(padding[0], tuple):
        raise InputError("it has no padding that differs from side to side")
    return settings


def from_torch(module: Any) -> Module:
    """Return a net of PyTorch as one of this library, with copies of its weights and the same keys of its state_dict.

    A torch.nn.Sequential becomes a `Sequential`, and its layers become those of the same names; so do the modules that
    `to_torch` returns. A class with a ``forward`` of its own is code, and its layers alone do not tell what it does.

    Parameters
    ----------
    module : torch.nn.Module
        Built of layers that this library has, too.

    Returns
    -------
    Module
        In the same mode, in the same dtype, and with the same parameters frozen.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    InputError
        (a ValueError) If it has modules or settings that this library does not have; the message lists all of them.

    Examples
    --------
    >>> import torch
    >>> from_torch(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()))
    Sequential(layers=[
        Linear(in_features=3, out_features=2),
        ReLU(),
    ])
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"from_torch takes a torch.nn.Module, got {type(module).__name__}; read_weights reads files")
    problems: list[str] = []
    ours = _from_torch(module, "", problems)
    if problems:
        raise InputError("this library has no counterpart of\n  " + "\n  ".join(problems) + f"\n{OTHER_WAY}")
    if any(tensor.dtype == torch.float64 for tensor in module.state_dict().values()):
        ours.to("float64")
    ours.load_state_dict({name: _array(tensor) for name, tensor in module.state_dict().items()})
    for name, parameter in ours.named_parameters():
        parameter.requires_grad = module.get_parameter(name).requires_grad
    for name, each in ours.named_modules():
        each.training = module.get_submodule(name).training
    return ours


def _array(tensor: Any) -> Any:
    torch = _torch()
    values = tensor.detach().cpu()
    return (values.float() if values.dtype in (torch.bfloat16, torch.float16) else values).numpy()


def _from_torch(module: Any, path: str, problems: list[str]) -> Module:
    from cnn.interop import torch_modules

    nn, kind = _torch().nn, type(module).__name__
    ours = {getattr(torch_modules, one.__name__): one for one in (Graph, *BRANCHES, *JOINS, *ONLY_OURS)}
    if ours.get(type(module)) in ONLY_OURS:
        return _layer(module, ours[type(module)])
    if type(module) is nn.Sequential or type(module) in ours:
        children = {
            name: _from_torch(child, f"{path}.{name}".strip("."), problems) for name, child in module.named_children()
        }
        return _container(module, kind, children, path, problems)
    if hasattr(cnn.layers, kind) and type(module) is getattr(nn, kind, None):
        try:
            return _layer(module, getattr(cnn.layers, kind))
        except (TypeError, ValueError) as error:
            problems.append(f"{path or 'the module'}, {module!r}: {error}")
    else:
        inner = ", whose forward is code" if list(module.children()) else ""
        problems.append(f"{path or 'the module'}, of the class {kind}{inner}")
    return cnn.layers.Identity()


def _container(module: Any, kind: str, children: dict[str, Module], path: str, problems: list[str]) -> Module:
    if kind == "Sequential":
        if list(children) == [str(i) for i in range(len(children))] and children:
            return Sequential(list(children.values()))
        problems.append(f"{path or 'the module'}, a Sequential with the names {', '.join(children) or 'of no layer'}")
        return cnn.layers.Identity()
    if kind == "Graph":
        return Graph([(name, children[name], module.inputs[name]) for name in children], module.outputs)
    if kind == "Residual":
        return Residual(children["body"], children["shortcut"])
    made: Any = {one.__name__: one for one in (*BRANCHES, *JOINS)}[kind]
    result: Module = made(list(children.values())) if made in BRANCHES else made()
    return result


def _layer(theirs: Any, kind: Any) -> Module:
    """Return a layer with the settings of PyTorch's; raise an error for a setting that ours does not have."""
    known = inspect.signature(kind).parameters
    settings = inspect.signature(type(theirs)).parameters
    for name, setting in settings.items():
        if name in known or name in ("inplace", "device", "dtype") or not hasattr(theirs, name):
            continue
        value = getattr(theirs, name)
        if isinstance(setting.default, bool) and not isinstance(value, bool):  # a tensor where the setting is True
            value = value is not None or theirs.weight is None
        if value != setting.default:
            raise InputError(f"{name}={value!r} is not supported")
    arguments: dict[str, Any] = {}
    for name in known:
        if name == "rng" or not hasattr(theirs, name):
            continue
        value = getattr(theirs, name)
        is_flag = isinstance(known[name].default, bool) and not isinstance(value, bool)
        arguments[name] = value is not None if is_flag else value
    layer: Module = kind(**arguments)
    return layer


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ImportError("this needs PyTorch, which is not installed: pip install torch") from None
    return torch
