"""The files of `torch.save`, read without PyTorch and without running the pickle in them.

Two formats: a zip archive with the pickle in data.pkl and one member for each storage; and, before version 1.6, a
stream of pickles with the storages at its end. Tensors are views of a storage: an offset, a size and strides.

Source: torch/serialization.py and torch/_utils.py of PyTorch 2.13; the old format as `_legacy_save` there writes it.
"""

import math
import mmap
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from cnn.core.parameter import Array
from cnn.core.pickle_reader import Global, PersistentId, PickleError, PickleReader
from cnn.core.text import printable, short_text

DTYPES = {  # of the classes of storages; NumPy has no bfloat16, which is the upper half of a float32
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # of the old format, as the first pickle
LEGACY_PROTOCOL = 1001
LARGEST_RANK, DEEPEST = 32, 100  # axes of a tensor; dicts and lists inside each other
BUDGET = 4 * 2**20  # bytes that the objects of a pickle may take, besides twice the size of the file
# What the module zipfile raises for damaged archives, besides its own error
DAMAGED = (ValueError, LookupError, ArithmeticError, NotImplementedError, RuntimeError, EOFError, OSError)
NOT_RUN = "Nothing was run"
SAVE_WEIGHTS = "save its weights in PyTorch with torch.save(model.state_dict(), path)"


class Storage(NamedTuple):
    """A reference to a block of numbers in the file."""

    kind: str
    key: str
    length: int


class Tensor(NamedTuple):
    """A view of a storage, in numbers from its start."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path) -> Any:
    """Return the object in a file of `torch.save`, with arrays in place of tensors; they may share memory.

    Raises
    ------
    PickleError
        If the file is damaged, or holds something else than tensors, numbers, strings, lists, tuples and dicts.
    """
    size = path.stat().st_size
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive, size)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read_stream(data, size)
    except PickleError:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, *DAMAGED) as error:
        raise PickleError(f"it is damaged ({printable(error)})") from None


def _read_zip(archive: zipfile.ZipFile, size: int) -> Any:
    members = {info.filename: info for info in archive.infolist()}
    pickles = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise PickleError("it is a zip archive, but not one of torch.save: it has no data.pkl")
    folder = pickles[0].removesuffix("data.pkl")
    if any(name.startswith(f"{folder}code/") for name in members):
        raise PickleError(f"it is a TorchScript program: {SAVE_WEIGHTS}")
    left = size  # of what may be read: members of a crafted archive may overlap

    def member(name: str) -> bytes:
        nonlocal left
        info = members.get(folder + name)
        if info is None:
            raise PickleError(f"it lacks {short_text(folder + name)}")
        if info.compress_type != zipfile.ZIP_STORED:
            raise PickleError(f"its member {short_text(name)} is compressed, which torch.save never does")
        left -= max(info.file_size, info.compress_size)  # both are claims, and reading allocates what they claim
        if left < 0:
            raise PickleError("its members are larger than the file")
        return archive.read(info)

    if f"{folder}byteorder" in members and member("byteorder") != b"little":
        raise PickleError("its numbers are in big-endian order: save it again on another machine")
    found = PickleReader(member("data.pkl"), 2 * size + BUDGET, _call).read()
    return _Storages(lambda storage: member(f"data/{storage.key}")).with_arrays(found)


def _read_stream(data: mmap.mmap, size: int) -> Any:
    reader = PickleReader(data, 2 * size + BUDGET, _call)
    try:
        is_known = reader.read() == MAGIC_NUMBER
    except PickleError:
        is_known = False
    if not is_known:
        raise PickleError("it is no file of torch.save")
    protocol, system, found, keys = (reader.read() for _ in range(4))
    if protocol != LEGACY_PROTOCOL or type(system) is not dict or system.get("little_endian") is not True:
        raise PickleError("it has another version of the old format, or numbers in big-endian order")
    kinds: dict[str, Storage] = {}
    _find_storages(found, kinds)
    if type(keys) is not list or not all(type(key) is str for key in keys) or sorted(keys) != sorted(kinds):
        raise PickleError("the list of its storages is damaged")
    blocks = {}
    for key in keys:
        count = reader.number("<q")
        if count != kinds[key].length:
            raise PickleError(f"its storage {short_text(key)} has {count:,} numbers, not {kinds[key].length:,}")
        blocks[key] = reader.take(count * np.dtype(DTYPES[kinds[key].kind]).itemsize)
    return _Storages(lambda storage: blocks[storage.key]).with_arrays(found)


def _call(function: Global, arguments: tuple[Any, ...]) -> Any:
    """Return what a call in the pickle stands for."""
    if function == ("collections", "OrderedDict") and len(arguments) < 2:
        return dict(_pairs(*arguments))
    if function.module == "torch._utils":
        if function.name == "_rebuild_parameter" and len(arguments) == 3 and type(arguments[0]) is Tensor:
            return arguments[0]
        if function.name in ("_rebuild_tensor", "_rebuild_tensor_v2") and len(arguments) >= 4:
            return _tensor(*arguments[:4])
        if function.name == "_rebuild_tensor_v3":
            raise PickleError(
                "a tensor has numbers of a kind that is not read, such as float8: convert it with .float()"
            )
    name = f"{function.module}.{function.name}"
    if function.module.startswith(("torch.nn.", "__main__")) or function.name[:1].isupper():
        raise PickleError(
            f"it holds an object of the class {short_text(name)}, whose code would have to run: {SAVE_WEIGHTS}"
        )
    raise PickleError(f"its pickle calls {short_text(name)}, which could run any code. {NOT_RUN}")


def _pairs(pairs: Any = ()) -> Any:
    """Return the items of an OrderedDict; those that Python 2 wrote have them as an argument."""
    if type(pairs) not in (list, tuple) or not all(
        type(pair) is list and len(pair) == 2 and type(pair[0]) is str for pair in pairs
    ):
        raise PickleError("an OrderedDict is damaged")
    return pairs


def _tensor(reference: Any, offset: Any, shape: Any, strides: Any) -> Tensor:
    """Return a checked view of a storage."""
    storage = _storage(reference)
    numbers = (offset, *shape, *strides) if type(shape) is type(strides) is tuple else (-1,)
    if len(numbers) > 2 * LARGEST_RANK + 1 or not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
        raise PickleError("a tensor has a damaged shape")
    if len(shape) != len(strides):
        raise PickleError("a tensor has a damaged shape")
    count = math.prod(shape)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if count and (last >= storage.length or count > storage.length):
        raise PickleError(
            f"a tensor of shape {shape} and strides {strides} does not fit its {storage.length:,} numbers"
        )
    return Tensor(storage, offset, shape, strides)


def _storage(reference: Any) -> Storage:
    value = reference.value if type(reference) is PersistentId else None
    if type(value) is not tuple or len(value) not in (5, 6) or value[0] != "storage" or value[5:] not in ((), (None,)):
        raise PickleError("a tensor has no storage")
    kind, key, count = value[1], value[2], value[4]
    if type(kind) is not Global or kind.module not in ("torch", "torch.storage") or kind.name not in DTYPES:
        name = f"{kind.module}.{kind.name}" if type(kind) is Global else kind
        raise PickleError(f"a tensor has numbers of the kind {short_text(name)}: convert it with .float() first")
    if type(key) is not str or type(count) is not int or not 0 <= count < 2**48:
        raise PickleError("a storage is damaged")
    return Storage(kind.name, key, count)


def _find_storages(value: Any, found: dict[str, Storage], depth: int = 0) -> None:
    """Collect the storages of all tensors by their keys."""
    if depth > DEEPEST:
        raise PickleError("it is nested too deeply")
    if type(value) is Tensor:
        if found.setdefault(value.storage.key, value.storage) != value.storage:
            raise PickleError(f"the storage {short_text(value.storage.key)} has two types")
    elif type(value) in (dict, list, tuple):
        for item in value.values() if type(value) is dict else value:
            _find_storages(item, found, depth + 1)


class _Storages:
    """The arrays of storages; each is read once, so that tensors which shared memory still do."""

    def __init__(self, read: Callable[[Storage], bytes]) -> None:
        self._read = read
        self._arrays: dict[Storage, Array] = {}

    def with_arrays(self, value: Any, depth: int = 0) -> Any:
        """Return an object with arrays in place of its tensors."""
        if depth > DEEPEST:
            raise PickleError("it is nested too deeply")
        if type(value) is Tensor:
            return self._view(value)
        if type(value) is dict:
            return {key: self.with_arrays(item, depth + 1) for key, item in value.items()}
        if type(value) in (list, tuple):
            return [self.with_arrays(item, depth + 1) for item in value]
        if type(value) in (Global, PersistentId):
            raise PickleError(f"it holds {short_text(value)}, which is no tensor, number or text: {SAVE_WEIGHTS}")
        return value

    def _view(self, tensor: Tensor) -> Array:
        storage, dtype = tensor.storage, np.dtype(DTYPES[tensor.storage.kind])
        if storage not in self._arrays:
            block = self._read(storage)
            if len(block) != storage.length * dtype.itemsize:
                raise PickleError(
                    f"its storage {short_text(storage.key)} has {len(block):,} bytes, but should have "
                    f"{storage.length * dtype.itemsize:,}"
                )
            array = np.frombuffer(block, dtype)
            if storage.kind == "BFloat16Storage":
                array = (array.astype(np.uint32) << 16).view(np.float32)
            self._arrays[storage] = array
        array = self._arrays[storage]
        if math.prod(tensor.shape) == 0:
            array = np.empty(tensor.shape, array.dtype)
            array.flags.writeable = False
            return array
        strides = [stride * array.itemsize for stride in tensor.strides]
        return as_strided(array[tensor.offset :], tensor.shape, strides, writeable=False)
