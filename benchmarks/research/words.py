"""What it would cost to look words of other libraries up in other ways: docs/decisions/012-words.md.

python benchmarks/research/words.py
"""

import timeit

READS = 4000


class Plain:
    """A class without anything."""

    def __init__(self) -> None:
        self.weight = 1.0


class WithGetattr(Plain):
    """The same with a ``__getattr__``, which Python calls only for attributes that do not exist."""

    def __getattr__(self, name: str) -> None:
        raise AttributeError(name)


class LossValue(float):
    """A number with a method ``backward``."""

    def backward(self) -> None:
        raise AttributeError("use loss_func.backward()")


def read(thing: Plain) -> None:
    """Read an attribute that exists."""
    for _ in range(READS // 4):
        thing.weight, thing.weight, thing.weight, thing.weight  # noqa: B018


def nanoseconds(statement: str, count: int, **names: object) -> float:
    """Return the shortest time of a statement."""
    return min(timeit.repeat(statement, globals=names, number=count, repeat=9)) / count * 1e9


def main() -> None:
    """Print the times."""
    for kind in (Plain, WithGetattr):
        time = nanoseconds("read(a)", 50, read=read, a=kind()) / READS
        print(f"reading an attribute, {kind.__name__:12} {time:6.1f} ns")
    for kind in (float, LossValue):
        name = kind.__name__
        print(f"making a {name:10} {nanoseconds('kind(x)', 200_000, kind=kind, x=0.5):6.1f} ns")
        print(f"doubling a {name:10} {nanoseconds('2.0 * x', 200_000, x=kind(0.5)):6.1f} ns")


if __name__ == "__main__":
    main()
