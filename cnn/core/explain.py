"""Errors that name our words to whoever uses one of another library; the table is in words.py.

An argument is looked up when Python has refused it, a method or the name of a module when somebody asks for it. So a
program without mistakes never comes here.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar

from cnn.core.words import ATTRIBUTES, HOMES, INSTEAD_OF, MADE_BY, NAMES, SETTINGS, WORDS_FOR

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=type)


def explain_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Make the error for an unknown argument of a function name ours; the signature stays as it is.

    Examples
    --------
    >>> @explain_arguments
    ... def convolve(image, kernel_size=3): ...
    >>> convolve(0, kernel=5)
    Traceback (most recent call last):
    TypeError: convolve has no argument 'kernel': use kernel_size
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            explain_call(error, function, args, kwargs)
            raise

    return run


def explain_init(cls: C) -> C:
    """Make the error for an unknown argument of a class name ours: a class decorator."""
    cls.__init__ = explain_arguments(cls.__init__)  # type: ignore[misc]
    return cls


class Explained:
    """Base class of layers, losses, optimizers and schedules: `explain_init` for each of ours, not for those of users.

    A layer without arguments gets an ``__init__`` without arguments.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("cnn.layers.") and cls.__init__ is object.__init__:
            cls.__init__ = _no_arguments  # type: ignore[method-assign]
        if cls.__module__.startswith("cnn.") and "__init__" in vars(cls):
            explain_init(cls)


def _no_arguments(self: object) -> None:
    pass


def explain_call(
    error: TypeError, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Collection[str]
) -> None:
    """Raise a better error if Python refused this call; not if the function itself raised the error."""
    if error.__traceback__ is None or error.__traceback__.tb_next is not None:
        return
    parameters = inspect.signature(function).parameters
    is_method = "self" in parameters
    if is_method and not args:  # called on the class
        return
    known = [name for name in parameters if name != "self"]
    name = type(args[0]).__name__ if function.__name__ in ("__init__", "_no_arguments") else function.__name__
    if name in MADE_BY:
        raise TypeError(f"{name}: {MADE_BY[name]}") from None
    unknown = next((word for word in kwargs if word not in known), None)
    if unknown is not None:
        raise TypeError(f"{name} has no argument {unknown!r}: {ours(unknown, known)}") from None
    if not known:
        raise TypeError(f"{name} takes no arguments, got {args[is_method]!r}") from None
    if name == "backward" and "grad" in known and not args[1:]:
        raise TypeError(
            "backward needs the gradient of the output: model.backward(model.loss_func.backward())"
        ) from None


def ours(word: str, known: Collection[str]) -> str:
    """Return what to write instead of an argument that is not among those known.

    Examples
    --------
    >>> ours("filters", ["in_channels", "out_channels"]), ours("epoch", ["epochs"]), ours("device", ["x"])
    ('use out_channels', 'did you mean epochs?', 'leave it out: everything runs on the CPU')
    """
    counterpart = ours_for(word, known)
    if counterpart is not None:
        return f"use {counterpart}"
    if word in INSTEAD_OF:
        return INSTEAD_OF[word]
    near = nearest(word, known)
    if near is not None:
        return f"did you mean {near}?"
    return f"it takes {', '.join(known)}" if known else "it takes none"


def ours_for(word: str, known: Collection[str]) -> str | None:
    """Return the known argument that another library calls by this word, if there is one."""
    return next((name for name in known if word in WORDS_FOR.get(name, "").split()), None)


def nearest(word: str, known: Collection[str], cutoff: float = 0.6) -> str | None:
    """Return the known word that is most similar, whatever its capitals; None if none is similar."""
    import difflib  # a slow import, needed only here

    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), lower, n=1, cutoff=cutoff)
    return lower[found[0]] if found else None


class NotHere:
    """An attribute that something like this has elsewhere: whoever asks for it reads what to use instead."""

    def __init__(self, name: str, instead: str) -> None:
        self.name, self.instead = name, instead

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(f"{owner.__name__} has no {self.name}: {self.instead}")


class NotASetting(NotHere):
    """A setting that something like this has elsewhere: assigning to it would change nothing, and raises that error.

    A class of a user may have a setting of that name.
    """

    def __get__(self, instance: object, owner: type) -> Any:
        if self.name in getattr(instance, "__dict__", ()):
            return vars(instance)[self.name]
        return super().__get__(instance, owner)

    def __set__(self, instance: object, value: Any) -> None:
        if type(instance).__module__.startswith("cnn."):
            super().__get__(instance, type(instance))
        vars(instance)[self.name] = value


def explain_attributes(cls: C) -> C:
    """Add a `NotHere` to a class for each attribute that it has elsewhere; ``dir`` does not show them.

    A ``__getattr__`` would do the same, but makes every other attribute of the class slower.
    """
    for name, instead in ATTRIBUTES[cls.__name__].items():
        setattr(cls, name, (NotASetting if name in SETTINGS else NotHere)(name, instead))
    cls.__dir__ = _here  # type: ignore[assignment]
    return cls


def _here(self: object) -> list[str]:
    own = getattr(self, "__dict__", ())
    names = object.__dir__(self)
    return [name for name in names if name in own or not isinstance(inspect.getattr_static(self, name, None), NotHere)]


def missing_name(module: str, name: str, known: Collection[str]) -> Exception:
    """Return the error for a name that a module does not have.

    Examples
    --------
    >>> missing_name("cnn.layers", "Dense", [])
    AttributeError("module 'cnn.layers' has no attribute 'Dense': use Linear(in_features, out_features)")
    """
    instead = NAMES[module].get(name)
    for home in HOMES:
        if instead is None and name in getattr(sys.modules.get(home), "__all__", ()):
            instead = f"it is {home}.{name}"
    if instead is None and not name.startswith("_") and (near := nearest(name, known, cutoff=0.8)) is not None:
        instead = f"did you mean {near}?"
    text = f"module {module!r} has no attribute {name!r}" + ("" if instead is None else f": {instead}")
    # ``from cnn.layers import Dense`` asks with hasattr first, and replaces an AttributeError by a text of its own.
    asked_by_import = sys._getframe(2).f_globals.get("__name__") == "importlib._bootstrap"
    return ImportError(text, name=module) if asked_by_import and instead is not None else AttributeError(text)
