"""A mark that is another one after each change of an attribute of a module.

Whatever was derived from the settings of a model keeps the mark of that moment. As long as it is the latest one, no
module of this process has got another layer, setting or mode since. Changes inside arrays and lists leave no mark.
"""

from collections.abc import Callable
from typing import Any

latest: object = object()  # compared by identity: two threads that change something at once cannot make the same one
_missing = object()


def note() -> None:
    """Make a new mark."""
    global latest
    latest = object()


def assign(set_attribute: Callable[[str, Any], None], instance: object, name: str, value: Any) -> None:
    """Set an attribute of an instance, and make a new mark unless it has this value already."""
    if vars(instance).get(name, _missing) is value or isinstance(getattr(type(instance), name, None), property):
        set_attribute(name, value)  # a property sets another attribute
        return
    note()
    set_attribute(name, value)
    note()  # again: another thread may have looked just before the change
