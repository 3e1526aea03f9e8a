"""What the documentation promises of every public name: shapes, errors, the source where there is one, an example."""

import collections
import importlib
import inspect
import re

import pytest

from cnn.loss import LossFunc
from cnn.optim import Optimizer
from tests.test_site import modules_with_names

# Exceptions and warnings need no example: docs/errors.md has one for each message. Neither do functions that only code
# inside the library calls, and the functions of the commands, which the reference of the commands shows.
INSIDE = ("cnn.kernels", "cnn.containers.fusion", "cnn.cli", "cnn.training.health", "cnn.bench")
# What a function returns, and the base of a class: the other has the example
SHOWN_BY = {
    "Arithmetic": "cnn.explore.arithmetic",
    "ClassReport": "cnn.metrics.class_report",
    "Differentiable": "cnn.Module",
    "Difference": "cnn.explore.finite_difference",
    "Facts": "cnn.explore.facts",
    "Field": "cnn.explore.facts",
    "Finding": "cnn.utils.gradcheck",
    "GradientReport": "cnn.utils.gradcheck",
    "ImageFolder": "cnn.data.image_folder",
    "LabelReport": "cnn.metrics.label_report",
    "Node": "cnn.explore.trace",
    "Page": "cnn.explore.page",
    "Step": "cnn.training.train",
    "Trace": "cnn.explore.trace",
}


def names():
    """Yield each public class and function once: its full name and the object."""
    seen = set()
    for module in modules_with_names():
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            thing = getattr(loaded, name)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and id(thing) not in seen:
                seen.add(id(thing))
                yield f"{module}.{name}", thing


def own_docstrings(thing):
    """The docstring of a function, or those of a class and of its own methods."""
    methods = vars(thing).values() if inspect.isclass(thing) else ()
    return [inspect.getdoc(each) or "" for each in (thing, *methods) if each is thing or callable(each)]


def has(text, section):
    return re.search(rf"^{section}\n-+$", text, re.M) is not None


def has_example(thing):
    return any(">>>" in text for text in own_docstrings(thing))


def raises(thing):
    """Whether its own code has a statement that raises an error, other than for a method that is to be written."""
    return bool(re.search(r"^ +raise (?!NotImplementedError)\w", inspect.getsource(thing), re.M))


@pytest.fixture(scope="module")
def counts():
    counted = collections.Counter()
    yield counted
    print("\npublic names of which the docstring has:", dict(counted))


@pytest.fixture(scope="module")
def public():
    pytest.importorskip("numba")
    pytest.importorskip("sklearn")
    found = dict(names())
    assert len(found) > 250
    return found


def test_examples(public, counts):
    missing = []
    for name, thing in public.items():
        is_error = inspect.isclass(thing) and issubclass(thing, Exception)
        if has_example(thing):
            counts["an example"] += 1
        elif thing.__name__ in SHOWN_BY:
            module, _, other = SHOWN_BY[thing.__name__].rpartition(".")
            assert has_example(getattr(importlib.import_module(module), other)), name
            counts["none, but the function that returns it, or its subclass, has one"] += 1
        elif not is_error and not name.startswith(INSIDE):
            missing.append(name)
    assert missing == []


def test_errors(public, counts):
    missing = []
    for name, thing in public.items():
        if any(has(text, "Raises") for text in own_docstrings(thing)):
            counts["errors"] += 1
        elif raises(thing) and not name.startswith(INSIDE):
            missing.append(name)
    assert missing == []


def test_shapes(public, counts):
    missing = []
    for name, thing in public.items():
        if not name.startswith(("cnn.layers.", "cnn.loss.", "cnn.functional.", "cnn.metrics.")):
            continue
        texts = "\n".join(own_docstrings(thing))
        if has(texts, "Shape") or re.search(r"\([NCK](, |\))|\bshape\b|number of", texts):
            counts["shapes"] += 1
        else:
            missing.append(name)
    assert missing == []


def test_sources(public, counts):
    """Of what somebody has published or what has the numbers of PyTorch."""
    missing = []
    for name, thing in public.items():
        if not name.startswith(("cnn.layers.", "cnn.loss.", "cnn.optim.")) or not inspect.isclass(thing):
            continue
        texts = "\n".join(own_docstrings(thing))
        if has(texts, "Source") or "torch." in texts or thing in (LossFunc, Optimizer):  # for losses of the user
            counts["a source"] += 1
        else:
            missing.append(name)
    assert missing == []
