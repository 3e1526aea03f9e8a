"""The padding of layers whose windows slide over images: how it is written, and how it is kept."""

from typing import Any

from cnn.core.checks import Pair, pair

Pads = tuple[Pair, Pair]  # ((top, bottom), (left, right))
Padding = Pair | Pads | str  # (vertical, horizontal), all four sides, or "same"


def sides(padding: Padding) -> Pads:
    """Return the padding of all four sides: ((top, bottom), (left, right))."""
    return tuple((side, side) if isinstance(side, int) else side for side in padding)  # type: ignore[return-value]


def parse_padding(value: Any, words: tuple[str, ...] = ("same", "valid")) -> Padding:
    """Return the padding around images as a layer keeps it: a pair, four sides or "same"; "valid" is (0, 0).

    Examples
    --------
    >>> parse_padding(1), parse_padding([[0, 1], [0, 1]])
    ((1, 1), ((0, 1), (0, 1)))
    """
    if isinstance(value, str) and value in words:
        return "same" if value == "same" else (0, 0)
    both = value if isinstance(value, (tuple, list)) else ()
    lengths = [len(side) if isinstance(side, (tuple, list)) else 1 for side in both]
    if lengths == [2, 2]:
        return pair(both[0], "padding[0]", 0), pair(both[1], "padding[1]", 0)
    if isinstance(value, str) or lengths not in ([], [1, 1]):
        quoted = "".join(f', "{word}"' for word in words)
        raise ValueError(
            f"padding must be an integer, a pair (vertical, horizontal){quoted} or four, ((top, bottom), (left, "
            f"right)), got {value!r}"
        )
    return pair(value, "padding", 0)


def check_pool_padding(padding: Padding, size: Pair, dilation: Pair = (1, 1)) -> None:
    """Raise an error if a pool could have a window beside the image: more padding than a window spans, or, for a pair,
    more than half of ``size``, which is PyTorch's limit.
    """
    if isinstance(padding, str):
        return
    is_pair = isinstance(padding[0], int)
    down, across = (k // 2 if is_pair else d * (k - 1) for k, d in zip(size, dilation, strict=True))
    most = (down, across)
    if any(max(pads) > largest for pads, largest in zip(sides(padding), most, strict=True)):
        what = "more than half of kernel_size" if is_pair else "as much as a window spans"
        raise ValueError(f"padding={padding} is {what}: use at most {most if is_pair else sides(most)}")
