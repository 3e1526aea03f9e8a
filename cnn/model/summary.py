"""Summary: a table of a model's layers, with the cost of each."""

import html
import math
import re
from typing import NamedTuple

import numpy as np

from cnn.core.text import cut, padded
from cnn.core.text import width as text_width
from cnn.module import Array, Module, Parameter, evaluating, forward_hook

MIN_TEXT = 12  # columns to which a cell of text may be shortened
# The first arguments of layers, whose names can be left out
FIRST_ARGUMENTS = (
    "in_channels",
    "out_channels",
    "in_features",
    "out_features",
    "num_features",
    "output_size",
    "kernel_size",
)


class Row(NamedTuple):
    """The output and the cost of one layer, for one sample."""

    name: str
    layer: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int


class Table:
    """Rows of cells under headings: ``print`` shows them as text, a notebook as HTML.

    A subclass implements ``cells``, row by row with the total last, and ``notes``, an explanation of the numbers.
    """

    headings: tuple[str, ...]
    text_columns = 3  # the first columns hold text, the rest numbers

    def cells(self) -> list[tuple[str, ...]]:
        """Return the cells as strings."""
        raise NotImplementedError

    def notes(self) -> str:
        """Return an explanation of the numbers."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.text()

    def text(self, columns: int | None = None) -> str:
        """Return the table as text; a column of text is shortened if the table is wider than ``columns``.

        Parameters
        ----------
        columns : int, optional
            The width of the terminal. A column of text keeps at least 12 of its columns. The notes are not broken.
        """
        return self._text([self.headings, *self.cells()], columns)

    def shortened(self, cell: str, width: int) -> str:
        """Return the text of a cell with at most ``width`` columns."""
        return cut(cell, width)

    def _text(self, table: list[tuple[str, ...]], columns: int | None) -> str:
        widths = [max(text_width(row[i]) for row in table) for i in range(len(self.headings))]
        too_many = sum(widths) + 2 * len(widths) - 2 - (columns or math.inf)
        if too_many > 0:
            i = widths.index(max(widths[: self.text_columns]))
            most = max(MIN_TEXT, widths[i] - int(too_many))
            table = [(*row[:i], self.shortened(row[i], most), *row[i + 1 :]) for row in table]
        widths = [max(text_width(row[i]) for row in table) for i in range(len(self.headings))]
        lines = []
        for row in table:
            left = [
                padded(cell, width)
                for cell, width in zip(row[: self.text_columns], widths[: self.text_columns], strict=True)
            ]
            right = [
                padded(cell, width, right=True)
                for cell, width in zip(row[self.text_columns :], widths[self.text_columns :], strict=True)
            ]
            lines.append("  ".join(left + right).rstrip())
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1], self.notes()])

    def _repr_html_(self) -> str:
        def line(cells: tuple[str, ...], tag: str) -> str:
            aligned = [
                f'<{tag} style="text-align: {"left" if i < self.text_columns else "right"}">{html.escape(cell)}</{tag}>'
                for i, cell in enumerate(cells)
            ]
            return f"<tr>{''.join(aligned)}</tr>"

        body = "".join(line(cells, "td") for cells in self.cells())
        return (
            f"<table><thead>{line(self.headings, 'th')}</thead><tbody>{body}</tbody>"
            f"<caption>{html.escape(self.notes())}</caption></table>"
        )


class Summary(Table):
    """A table of every layer: output shape, parameters, multiply-adds and bytes of output, for one sample.

    ``print`` shows it as text; a notebook as HTML.

    Attributes
    ----------
    rows : list of Row
    """

    headings = ("", "layer", "output", "parameters", "multiply-adds", "memory")

    def __init__(self, model: Module, input_shape: tuple[int, ...]) -> None:
        names = {id(module): name for name, module in model.named_modules()}
        dtype = next((parameter.dtype for parameter in model.parameters()), np.dtype(np.float32))
        self.input_shape = tuple(input_shape)
        self.rows: list[Row] = []
        counted: set[int] = set()

        def record(module: Module, y: Array) -> None:
            held = [value for value in vars(module).values() if isinstance(value, Parameter)]
            if id(module) not in names or (module.children() and not held):
                return
            own = [parameter for parameter in held if id(parameter) not in counted]  # shared parameters count once
            counted.update(id(parameter) for parameter in own)
            work = module.multiply_adds(y.shape)
            size = sum(parameter.size for parameter in own)
            self.rows.append(Row(names[id(module)], repr(module), y.shape[1:], size, work, y.nbytes))

        with evaluating(), forward_hook(record):
            model(np.zeros((1, *self.input_shape), dtype))
        self.frozen_parameters = sum(parameter.size for parameter in model.parameters() if not parameter.requires_grad)
        self.parameter_bytes = sum(parameter.data.nbytes for parameter in model.parameters())

    @property
    def parameters(self) -> int:
        """The number of parameters, frozen ones included."""
        return sum(row.parameters for row in self.rows)

    def cells(self) -> list[tuple[str, ...]]:
        """Return the table's cells, row by row, the total last."""
        cells = [
            (
                row.name,
                row.layer,
                shape_text(row.output),
                f"{row.parameters:,}",
                f"{row.multiply_adds:,}",
                bytes_text(row.memory),
            )
            for row in self.rows
        ]
        work, memory = sum(row.multiply_adds for row in self.rows), sum(row.memory for row in self.rows)
        return [*cells, ("", "in all", "", f"{self.parameters:,}", f"{work:,}", bytes_text(memory))]

    def text(self, columns: int | None = None) -> str:
        """Return the table as text; in fewer columns than it needs, with shorter layers and rounded numbers."""
        full = super().text()
        if columns is None or len(full.split("\n")[1]) <= columns:
            return full
        headings = (*self.headings[:4], "mult-adds", "memory")
        work = [row.multiply_adds for row in self.rows]
        short = [
            (name, layer, output.replace(" ", ""), parameters, with_unit(count), memory)
            for (name, layer, output, parameters, _, memory), count in zip(
                self.cells(), [*work, sum(work)], strict=True
            )
        ]
        return self._text([headings, *short], columns)

    def shortened(self, cell: str, width: int) -> str:
        """Return the text of a layer with at most ``width`` characters."""
        return layer_text(cell, width)

    def notes(self) -> str:
        """Return an explanation of the numbers."""
        sample = shape_text(self.input_shape) + (" numbers" if len(self.input_shape) == 1 else "")
        size = bytes_text(self.parameter_bytes)
        text = f"For one input of {sample}. Memory is that of the outputs; the parameters take {size} more."
        return text + (f" {self.frozen_parameters:,} parameters are frozen." if self.frozen_parameters else "")


def shape_text(shape: tuple[int, ...]) -> str:
    """Return a shape in the usual notation.

    Examples
    --------
    >>> shape_text((32, 28, 28))
    '32 x 28 x 28'
    """
    return " x ".join(str(n) for n in shape)


def with_unit(count: int) -> str:
    """Return a large count with three digits and a unit: k, M, G for thousands, millions, thousand millions.

    Examples
    --------
    >>> with_unit(512), with_unit(18432), with_unit(4718592), with_unit(999999)
    ('512', '18.4 k', '4.72 M', '1.00 M')
    """
    if count < 1000:
        return str(count)
    rounded = float(f"{count:.3g}")
    power = min(3, int(math.log10(rounded) / 3))
    digits = 2 - int(math.log10(rounded / 1000**power))
    return f"{rounded / 1000**power:.{max(digits, 0)}f} {' kMG'[power]}"


def layer_text(layer: str, width: int) -> str:
    """Return the repr of a layer with at most ``width`` characters: without names, then without the last arguments.

    Examples
    --------
    >>> conv = "Conv2d(in_channels=16, out_channels=32, kernel_size=(3, 3), padding=(1, 1), bias=False)"
    >>> for width in (90, 50, 35, 20, 8):
    ...     print(layer_text(conv, width))
    Conv2d(in_channels=16, out_channels=32, kernel_size=(3, 3), padding=(1, 1), bias=False)
    Conv2d(16, 32, 3, padding=1, bias=False)
    Conv2d(16, 32, 3, padding=1, ...)
    Conv2d(16, 32, ...)
    Conv2d
    >>> layer_text("AdaptiveMaxPool2d(output_size=4)", 12)
    'AdaptiveM...'
    """
    text = layer.partition("\n")[0]
    if len(text) <= width:
        return text
    text = re.sub(r"\((\d+)(?:, \1)+\)", r"\1", text)  # (3, 3) is 3
    name, _, rest = text.removesuffix(")").partition("(")
    arguments = re.split(r", (?=\w+=)", rest)
    for k, argument in enumerate(arguments):
        key, _, value = argument.partition("=")
        if key not in FIRST_ARGUMENTS:
            break
        arguments[k] = value
    for count in range(len(arguments), 0, -1):
        text = f"{name}({', '.join([*arguments[:count], *(['...'] if count < len(arguments) else [])])})"
        if len(text) <= width:
            return text
    text = f"{name}(...)"
    return text if len(text) <= width else cut(name, width)


def bytes_text(count: int) -> str:
    """Return a number of bytes in a suitable unit.

    Examples
    --------
    >>> bytes_text(100352)
    '98.0 KiB'
    """
    power = min(3, int(math.log(max(count, 1), 1024)))
    return f"{count / 1024**power:.{1 if power else 0}f} {('B', 'KiB', 'MiB', 'GiB')[power]}"
