"""Ranks: the processes of a program, each with a number, and what they tell each other: arrays and small JSON."""

import contextlib
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import numpy as np

from cnn.core.parameter import Array, Parameter
from cnn.errors import InputError

T = TypeVar("T")

LARGE = 2**20  # bytes: arrays from that size on are sent one by one, which needs no memory for a copy
MAX_BYTES = 2**30  # of one message; the counts of an older MPI are 32-bit integers
ABORT = 10.0  # seconds that mpiexec has to end a process
DELIVERY = 0.5  # seconds that mpiexec has to pass on what was printed; what it has not is lost with the end


class Ranks:
    """The processes of a program that MPI has started, as one of them sees it. `world` returns it.

    All methods but `part`, `shard`, `leave`, `will_end_all`, `all_have_left`, `set_words` and `end_all` are
    conversations: every process must call them, in the same order. Only arrays and text in JSON are sent, never
    pickles. A wait of more than `stall_seconds` ends all processes.

    Attributes
    ----------
    rank : int
        The number of this process, from 0.
    size : int
        How many there are.
    stall_seconds : float
        How long a process waits for the others, 600 unless it is set.
    check_weights : bool
        Whether `fit` compares the weights of all processes after each epoch, to the last bit, and the states of the
        random generators; False unless it is set.

    Examples
    --------
    >>> import cnn
    >>> ranks = cnn.distributed.world()
    >>> ranks.add([1.0, 2.0])
    array([1., 2.])
    >>> ranks.agree(False)
    False
    """

    def __init__(self, mpi: Any, comm: Any, watchdog: Any) -> None:
        self._mpi, self._comm, self._watchdog = mpi, comm, watchdog
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self._waiting: Any = contextlib.nullcontext() if watchdog is None else watchdog
        self._stall_seconds = 600.0
        self.check_weights = False

    def __repr__(self) -> str:
        return f"Ranks(rank={self.rank}, size={self.size})"

    @property
    def stall_seconds(self) -> float:
        return self._stall_seconds

    @stall_seconds.setter
    def stall_seconds(self, value: float) -> None:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value < math.inf:
            raise InputError(f"stall_seconds must be a finite number above 0, got {value!r}")
        self._stall_seconds = float(value)
        if self._watchdog is not None:
            self._watchdog.seconds = self._stall_seconds

    def part(self, samples: int) -> slice:
        """Return which of so many samples are this process's: equal parts, the first ones one sample larger.

        Examples
        --------
        >>> import cnn
        >>> cnn.distributed.world().part(5)
        slice(0, 5, None)
        """
        each, more = divmod(samples, self.size)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more))

    def shard(self, batch: T) -> T:
        """Return this process's part of a batch: of an array, or of each array of a tuple or list.

        A part is empty if there are more processes than samples.

        Examples
        --------
        >>> import cnn
        >>> x, y = cnn.distributed.world().shard((np.zeros((4, 2)), np.arange(4)))
        >>> x.shape, y.shape
        ((4, 2), (4,))
        """
        if isinstance(batch, (tuple, list)):
            if len({len(array) for array in batch}) > 1:
                raise InputError(f"a batch needs as many targets as samples, got {[len(a) for a in batch]}")
            parts = [array[self.part(len(array))] for array in batch]
            return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)  # a named tuple has fields
        return batch[self.part(len(batch))]  # type: ignore[index, arg-type]

    def add(self, numbers: Any) -> Array:
        """Return the sums of a few numbers over all processes, in float64; each gets the same bits."""
        total = np.array(numbers, np.float64)
        with self._waiting:
            self._comm.Allreduce(self._mpi.IN_PLACE, total)
        return total

    def gather(self, numbers: Any) -> Array:
        """Return a few numbers of every process, in float64, one row for each."""
        own = np.array(numbers, np.float64)
        rows = np.empty((self.size, *own.shape))
        with self._waiting:
            self._comm.Allgather(own, rows)
        return rows

    def agree(self, stop: bool) -> bool:
        """Return whether any process says so: a way to leave a loop in the same step everywhere."""
        return bool(self.add([bool(stop)])[0])

    def leave(self) -> None:
        """Say that this process has left a training before its end; `train` calls it after a break and an error.

        It waits for nobody. The next conversation begins when all have left; if one of them waits elsewhere, all end.
        """
        if self._watchdog is not None:
            self._watchdog.leave()

    def will_end_all(self) -> None:
        """Say that this process ends all, after an error, when it has saved what it can.

        The others wait for that, up to `stall_seconds`; without it they wait a few seconds.
        """
        if self._watchdog is not None:
            self._watchdog.will_end_all()

    def set_words(self, where: Callable[[], str], stay: str, come: str) -> None:
        """Let a wait without end speak to the user of a command; see the attributes of `Watchdog`."""
        if self._watchdog is not None:
            self._watchdog.where, self._watchdog.stay, self._watchdog.come = where, stay, come

    def all_have_left(self) -> bool:
        """Return whether the others leave the training that this process has left as well, within a second."""
        return self._watchdog is None or self._watchdog.all_have_left(1.0)

    def meet(self) -> None:
        """Wait for all, as long as it takes, without using the processor, which the others need."""
        request = self._comm.Ibarrier()
        while not request.Test():
            time.sleep(0.01)

    def without_limit(self) -> "Ranks":
        """Return the same processes for other conversations, in which a wait may take as long as it needs."""
        return Ranks(self._mpi, self._comm.Dup(), None)

    def end_all(self, status: int) -> None:
        """End all processes with this exit status, wherever they are; the others need not call it."""
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(DELIVERY)
        self._mpi.COMM_WORLD.Abort(status)
        time.sleep(ABORT)  # it may return before mpiexec ends this process, whose program must not go on
        os._exit(status)

    def add_up(self, parameters: Iterable[Parameter], count: float | None = None) -> None:
        """Replace the gradients by their sums over all processes.

        A gradient that some processes do not have counts as zeros there; frozen parameters are left out.

        Parameters
        ----------
        parameters : iterable of Parameter
            The same in all processes: ``model.parameters()``.
        count : float, optional
            What this process's loss is a mean over, such as ``len(x)``: the sums are then the gradients of the mean
            over all. Leave it out for a loss with reduction="sum".

        Raises
        ------
        TypeError
            If they are no parameters.
        """
        parameters = list(parameters)
        if not all(isinstance(parameter, Parameter) for parameter in parameters):
            raise TypeError("parameters must be Parameters: pass model.parameters()")
        factor = 1.0
        if count is not None:
            total = float(self.add([count])[0])
            factor = count / total if total else 0.0
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        for dtype in sorted({parameter.dtype for parameter in trained}, key=str):
            self._add_up([parameter for parameter in trained if parameter.dtype == dtype], dtype, factor)

    def _add_up(self, parameters: list[Parameter], dtype: Any, factor: float) -> None:
        """Add up the gradients of parameters of one dtype, in one array: -> (gradients, whether each exists)."""
        ends = np.cumsum([parameter.size for parameter in parameters])
        flat = np.empty(int(ends[-1]) + len(parameters), dtype)  # each time: a gradient belongs to who has asked for it
        exists = flat[ends[-1] :]
        views = [a.reshape(p.shape) for a, p in zip(np.split(flat[: ends[-1]], ends[:-1]), parameters, strict=True)]
        for i, (parameter, view) in enumerate(zip(parameters, views, strict=True)):
            exists[i] = parameter.grad is not None
            if parameter.grad is None:
                view[...] = 0
            else:
                np.multiply(parameter.grad, factor, out=view)
        with self._waiting:
            self._comm.Allreduce(self._mpi.IN_PLACE, flat)
        for parameter, view, some in zip(parameters, views, exists, strict=True):
            parameter.grad = view if some else None

    def broadcast(self, array: Any = None) -> Array:
        """Return the array of process 0, whose shape and dtype the others need not know; process 0 gets its own."""
        return self.broadcast_arrays({"array": np.asarray(array)})["array"]

    def broadcast_arrays(self, arrays: dict[str, Array] | None = None) -> dict[str, Array]:
        """Return the arrays of process 0, by name; process 0 gets its own. Small ones are sent together."""
        own = {name: np.asarray(array, order="C") for name, array in (arrays or {}).items()} if self.rank == 0 else {}
        for name, array in own.items():
            if array.dtype.kind not in "biufcSU":
                raise TypeError(f"broadcast sends numbers and texts, but {name} is an array of {array.dtype}")
        kinds = self.broadcast_json([[name, array.dtype.str, array.shape] for name, array in own.items()])
        if self.rank == 0:
            parts = [array.reshape(-1).view(np.uint8) for array in own.values()]
        else:
            parts = [np.empty(math.prod(shape) * np.dtype(dtype).itemsize, np.uint8) for _, dtype, shape in kinds]
        small, large = [part for part in parts if len(part) < LARGE], [part for part in parts if len(part) >= LARGE]
        together = np.concatenate([np.empty(0, np.uint8), *small])
        with self._waiting:
            for flat in (together, *large):
                for start in range(0, len(flat), MAX_BYTES):
                    self._comm.Bcast(flat[start : start + MAX_BYTES])
        if self.rank == 0:
            return own
        start = 0
        for part in small:
            part[:] = together[start : start + len(part)]
            start += len(part)
        return {name: part.view(dtype).reshape(shape) for (name, dtype, shape), part in zip(kinds, parts, strict=True)}

    def broadcast_json(self, value: Any = None) -> Any:
        """Return the value of process 0: anything that JSON can hold."""
        text = np.frombuffer(bytearray(json.dumps(value).encode()), np.uint8)
        length = np.array([len(text)], np.int64)
        with self._waiting:
            self._comm.Bcast(length)
        if self.rank:
            text = np.empty(int(length[0]), np.uint8)
        with self._waiting:
            self._comm.Bcast(text)
        return json.loads(text.tobytes())

    def gather_json(self, value: Any) -> list[Any]:
        """Return the values of all processes, in order: anything that JSON can hold."""
        text = np.frombuffer(bytearray(json.dumps(value).encode()), np.uint8)
        lengths = self.gather([len(text)])[:, 0].astype(int)
        padded = np.zeros(lengths.max(), np.uint8)
        padded[: len(text)] = text
        rows = np.empty((self.size, len(padded)), np.uint8)
        with self._waiting:
            self._comm.Allgather(padded, rows)
        return [json.loads(row[:length].tobytes()) for row, length in zip(rows, lengths, strict=True)]

    def broadcast_weights(self, model: Any) -> None:
        """Give the weights and buffers of process 0 to all: models start from different random numbers."""
        tensors = dict(model.named_tensors())
        for name, values in self.broadcast_arrays({name: tensor.data for name, tensor in tensors.items()}).items():
            tensors[name].data = values

    def check_equal(self, model: Any) -> None:
        """Raise an error unless weights and buffers are the same in all processes, to the last bit.

        Raises
        ------
        RuntimeError
            In all processes; it names the first that differs.
        """
        digests = {name: hashlib.blake2b(tensor.data.tobytes()).hexdigest() for name, tensor in model.named_tensors()}
        found = self.gather_json(digests)
        for rank, other in enumerate(found):
            name = next((name for name in digests if other.get(name) != found[0].get(name)), None)
            if name is not None:
                raise RuntimeError(
                    f"{name} of rank {rank} is not that of rank 0: something has changed it in one of them alone, such "
                    "as a callback of your own"
                )
