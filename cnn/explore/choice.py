"""Which numbers of a large net a page keeps, so that what it keeps can be explained."""

from collections.abc import Collection, Iterable

from cnn.explore.chunk import as_bytes, deflate
from cnn.explore.describing import tensor_names
from cnn.explore.trace import Trace
from cnn.explore.walk import INPUT
from cnn.layers import Conv2d, Linear
from cnn.module import Array

Piece = tuple[str, str]  # "layers" for an output, "gradients" or "tensors", and a name
KINDS = ("layers", "gradients", "tensors")
KERNELS = 0.6  # of the space at most is for layers with kernels at first
FORWARD = 0.75  # of the space is for outputs and weights at first, and what is left for gradients
BLOCK, BLOCKS = 2**13, 8  # bytes of a large array, and how often, that are deflated to estimate its size


class Choice:
    """The outputs, gradients and weights of a net, from which those are chosen that fit.

    A unit is the output of a layer together with what the layer reads and its weights: all that explains its numbers.
    Units are kept whole. First come the answer, and layers with kernels: the first, then the last, one in the middle,
    and so on between them, each if it takes at most half of the space that is left for these; then whatever takes the
    least, which is most of the late layers, because their maps are small. Gradients get at least a quarter of the
    space, the smallest first. In the end single arrays fill it. The input is not among them: a page always has it.

    Parameters
    ----------
    found : Trace
        Of the image.
    tensors : dict of str to ndarray
        The weights that take space.
    absent : collection of str
        Names of weights that cannot be kept: a layer with one of them is no unit.

    Attributes
    ----------
    sizes : dict of tuple to int
        About how many bytes each piece takes, deflated; of those with the same memory only the first is there.
    """

    def __init__(self, found: Trace, tensors: dict[str, Array], absent: Collection[str] = ()) -> None:
        nodes = {name: node for name, node in found.nodes.items() if name != INPUT}
        arrays: dict[Piece, Array] = {("layers", name): node.output for name, node in nodes.items()}
        arrays |= {("gradients", n): node.grad for n, node in found.nodes.items() if node.grad is not None}
        arrays |= {("tensors", name): data for name, data in tensors.items()}
        self._same = _first_of_same(arrays)
        self.sizes = {piece: _size(array) for piece, array in arrays.items() if self._same[piece] == piece}
        self._units: dict[str, list[Piece]] = {}
        for name, node in nodes.items():
            weights = tensor_names(node).values()
            if not any(each in absent for each in weights):
                pieces = [("layers", each) for each in (name, *node.reads) if each != INPUT]
                pieces += [("tensors", each) for each in weights if each in tensors]
                self._units[name] = [self._same[piece] for piece in pieces]
        self._examples = _spread([name for name in self._units if type(nodes[name].layer) in (Conv2d, Linear)])
        names = list(nodes)
        self._answer = names[next((i for i, n in enumerate(names) if nodes[n].output is found.logits), len(names)) :]

    def choose(self, space: float) -> set[Piece]:
        """Return the pieces to keep in so many bytes."""
        kept: set[Piece] = set()
        if sum(self.sizes.values()) <= space:
            return set(self.sizes)
        self._add_single(kept, [(kind, name) for name in self._answer for kind in KINDS[:2]], space)
        for i, name in enumerate(self._examples):
            share = 1 if i == 0 else 1 / 2  # so that one large layer leaves space for others
            if self._cost(kept, name) <= share * (KERNELS * space - self._total(kept)):
                kept.update(self._units[name])
        self._add_units(kept, FORWARD * space)
        self._add_gradients(kept, space)
        self._add_units(kept, space)
        self._add_single(kept, [piece for piece in self.sizes if piece[0] != "gradients"], space)
        self._add_gradients(kept, space)
        return kept

    def left_out(self, kept: set[Piece]) -> dict[str, list[str]]:
        """Return the names of what is not kept, by kind."""
        missing = [piece for piece, same in self._same.items() if same not in kept]
        return {kind: [name for each, name in missing if each == kind] for kind in KINDS}

    def _total(self, pieces: Iterable[Piece]) -> int:
        return sum(self.sizes[piece] for piece in pieces)

    def _cost(self, kept: set[Piece], name: str) -> int:
        return self._total({*self._units[name]} - kept)

    def _add_units(self, kept: set[Piece], space: float) -> None:
        """Add the unit that takes the least more, again and again, while one fits."""
        names, used = set(self._units), self._total(kept)
        while names:
            name = min(sorted(names), key=lambda each: self._cost(kept, each))
            used += self._cost(kept, name)
            if used > space:
                return
            kept.update(self._units[name])
            names.remove(name)

    def _add_gradients(self, kept: set[Piece], space: float) -> None:
        names = [INPUT, *(name for kind, name in self._same if kind == "layers" and self._same[kind, name] in kept)]
        self._add_single(kept, [("gradients", name) for name in names], space)

    def _add_single(self, kept: set[Piece], pieces: list[Piece], space: float) -> None:
        """Add pieces, the smallest first, while one fits."""
        used, new = self._total(kept), {self._same[piece] for piece in pieces if piece in self._same} - kept
        for piece in sorted(new, key=lambda each: (self.sizes[each], each)):
            used += self.sizes[piece]
            if used > space:
                return
            kept.add(piece)


def _spread(names: list[str]) -> list[str]:
    """Return the first, the last, the middle one, those in the middle between them, and so on."""
    order = dict.fromkeys([*names[:1], *names[-1:]])  # a set that keeps its order
    parts = 1
    while len(order) < len(names):
        parts *= 2
        order |= dict.fromkeys(names[i * (len(names) - 1) // parts] for i in range(parts))
    return list(order)


def _first_of_same(arrays: dict[Piece, Array]) -> dict[Piece, Piece]:
    """Return for each array the first with the same memory, such as that before Flatten: they are stored once."""
    first: dict[tuple[int, int], Piece] = {}
    return {
        piece: first.setdefault((array.__array_interface__["data"][0], array.nbytes), piece)
        for piece, array in arrays.items()
    }


def _size(array: Array) -> int:
    """Return about how many bytes an array takes, deflated."""
    data = as_bytes(array)
    if len(data) <= BLOCK * BLOCKS:
        return len(deflate(data))
    starts = [i * (len(data) - BLOCK) // (BLOCKS - 1) for i in range(BLOCKS)]
    return sum(len(deflate(data[start : start + BLOCK])) for start in starts) * len(data) // (BLOCK * BLOCKS)
