"""Names from outside in plots: of classes, files and libraries, drawn as they are, and short enough to be legible."""

import functools
from collections import Counter
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib import font_manager

from cnn.core.text import printable, width

MAX_CLASSES = 10_000  # more would take too much memory, because something is drawn for each class
CHARACTER = 0.56  # mean width of a character, relative to the font size
JOINERS = dict.fromkeys((0x200D, 0xFE0F))  # invisible parts of an emoji
MISSING = "□"  # drawn instead of characters that no font has

# Fonts of several systems for what the font of matplotlib lacks, of which those that are installed are used
FALLBACK_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "Hiragino Sans", "Yu Gothic",
    "WenQuanYi Zen Hei", "Noto Sans CJK KR", "Malgun Gothic", "Apple SD Gothic Neo", "Noto Sans Devanagari",
    "Nirmala UI", "Noto Sans Thai", "Leelawadee UI", "Noto Emoji", "Segoe UI Emoji", "Segoe UI Symbol",
)  # fmt: skip


def font_families() -> list[str]:
    """Return the fonts to draw names with: those of matplotlib's settings, then the installed fallback fonts."""
    return [*mpl.rcParams["font.family"], *_installed_fallback()]


@functools.cache
def _installed_fallback() -> tuple[str, ...]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return tuple(name for name in FALLBACK_FONTS if name in installed)


@functools.cache
def _characters(family: str) -> frozenset[int]:
    """Return the code points that a font has."""
    path = font_manager.findfont(font_manager.FontProperties(family=[family]))
    return frozenset(font_manager.get_font(path).get_charmap())


def drawable(name: object) -> str:
    r"""Return a name with control characters escaped, and a box for each run of characters that no font has.

    Examples
    --------
    >>> print(drawable("a\tb 猫"))
    a\tb □
    """
    text = printable(_joined(name))
    if text.isascii():
        return text
    fonts = [_characters(family) for family in font_families()]
    kept = [c if any(ord(c) in font for font in fonts) else MISSING for c in text]
    return "".join(c for i, c in enumerate(kept) if c != MISSING or kept[i - 1 : i] != [MISSING])


def _joined(name: object) -> str:
    return str(name).translate(JOINERS)


def plain(name: object) -> str:
    r"""Return a name as the text of a plot: `drawable`, and no dollar sign that begins a formula.

    Examples
    --------
    >>> print(plain("$5 to $10"))
    \$5 to \$10
    """
    return drawable(name).replace("$", r"\$")


def legend_text(text: str) -> str:
    """Return a text for a legend, which leaves out those that begin with an underscore."""
    return f" {text}" if text.startswith("_") else text


def shortened(text: str, columns: int) -> str:
    """Return a text of at most so many columns, at least 3, without its middle if it is longer.

    Examples
    --------
    >>> shortened("a long name.jpg", 10), shortened("short", 10)
    ('a lon….jpg', 'short')
    """
    if width(text) <= columns:
        return text
    start, end, free = 0, len(text), max(3, columns) - 1
    while True:  # from both sides in turn
        at = start if start <= len(text) - end else end - 1
        free -= width(text[at])
        if free < 0:
            return f"{text[:start]}…{text[end:]}"
        start, end = (start + 1, end) if at == start else (start, at)


def short_names(names: Sequence[str], columns: int) -> list[str]:
    """Return `drawable` names of classes, each of at most so many columns and different from the others.

    Names that would be the same, without their middle or the characters that no font has, begin with the class id.

    Examples
    --------
    >>> short_names(["a class of cats", "a class of rats", "dog"], 8)
    ['#0 a …ts', '#1 a …ts', 'dog']
    """
    drawn = [drawable(name) for name in names]
    short = [shortened(name, columns) for name in drawn]
    same = Counter(short)
    for i, name in enumerate(drawn):
        if same[short[i]] > 1 or MISSING in name or not name:
            id_text = f"#{i} "
            short[i] = (id_text + shortened(name, columns - len(id_text))).rstrip()
    return short


def class_labels(class_names: Sequence[str] | None, needed: int) -> list[str]:
    """Return a printable name for each class id below ``needed``: the names given, or the ids."""
    if class_names is None and needed > MAX_CLASSES:
        raise ValueError(f"class ids: expected at most {MAX_CLASSES - 1:,}, got {needed - 1:,}")
    names = (
        [str(k) for k in range(needed)] if class_names is None else [printable(_joined(name)) for name in class_names]
    )
    if len(names) < needed:
        raise ValueError(f"class_names: expected a name for each of {needed} classes, got {len(names)}")
    return names
