"""Training on several processes, on one machine or many, that MPI connects: each computes a part of every batch.

`world` returns the `Ranks`, which training loops use. It needs mpi4py: ``pip install "cnn[mpi]"`` where there is an
MPI, ``pip install "cnn[mpich]"`` where there is none.
"""

from cnn.distributed.ranks import Ranks
from cnn.distributed.world import world

__all__ = ["Ranks", "world"]
