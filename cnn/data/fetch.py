"""Finding a data set: in the folder given, in $CNN_DATA, from the Debian package, in the cache, on the network.

Whatever the place, a file is used only after its digest was checked. A place that the user named must be right: a
damaged file there is an error. The other places are passed over with a warning.
"""

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn.data.catalogue import DataFile, DatasetInfo
from cnn.data.errors import DataError, DataWarning

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Located:
    """A data set that was found and checked.

    Attributes
    ----------
    info : DatasetInfo
        Which one.
    folder : pathlib.Path
        Where its four files lie.
    source : str
        In words: "the folder given", "the folder in CNN_DATA", "the Debian package dataset-fashion-mnist", "the cache",
        "downloaded from storage.googleapis.com".
    arrays : tuple
        ``x_train, y_train, x_test, y_test``: uint8 images (N, 1, H, W), int64 labels (N,).

    Examples
    --------
    >>> from pathlib import Path
    >>> from cnn.data import MNIST, Located
    >>> Located(MNIST, Path("data"), "the cache", arrays=())
    Located(info='mnist', folder='data', source='the cache')
    """

    info: DatasetInfo
    folder: Path
    source: str
    arrays: Arrays = field(repr=False)

    def __repr__(self) -> str:
        return f"Located(info={self.info.name!r}, folder={str(self.folder)!r}, source={self.source!r})"


def locate(info: DatasetInfo, path: str | os.PathLike[str] | None = None, *, quiet: bool = False) -> Located:
    """Find a published data set, check it and read it; download it if it lies nowhere.

    Looked at in this order: ``path``, the folder in the environment variable CNN_DATA, the Debian package's folder, the
    user's cache; then the mirrors, unless CNN_OFFLINE is set. In ``path`` and CNN_DATA the files may lie directly, in a
    folder of the data set's name, or as torchvision leaves them, as ``.gz`` or decompressed.

    Parameters
    ----------
    info : DatasetInfo
        ``FASHION_MNIST``, ``MNIST``, or ``dataset(name)``.
    path : str or path-like, optional
        A folder to look at first.
    quiet : bool
        Whether to say nothing on stderr about a download.

    Returns
    -------
    Located

    Raises
    ------
    DataError
        If ``path`` or CNN_DATA is no folder or holds damaged, wrong or only some of the files, or if the files lie
        nowhere and cannot be downloaded. The message names the files and what to do.

    Warns
    -----
    DataWarning
        If ``path`` holds none of the files; if a damaged file in the Debian package's folder or the cache, or a mirror,
        was passed over.

    Examples
    --------
    >>> from cnn.data import FASHION_MNIST, locate
    >>> located = locate(FASHION_MNIST)  # doctest: +SKIP
    >>> located.source  # doctest: +SKIP
    'the Debian package dataset-fashion-mnist'
    """
    variable = os.environ.get("CNN_DATA")
    for place, source, name in ((path, "the folder given", "path"), (variable, "the folder in CNN_DATA", "CNN_DATA")):
        if place is None or place == "":
            continue
        folder = _folder_with(info, Path(place), name)
        if folder is not None:
            arrays, problems = _read(info, folder)
            if problems:
                raise DataError("\n".join([*problems, f"Put the published files there, or give another {name}."]))
            return _located(info, folder, source, arrays)
        if name == "path":
            names = ", ".join(file.name for file in info.files)
            _warn(f"{place} holds none of {info.title}'s files ({names}); looking elsewhere")

    if info.debian_folder is not None and any(_find(Path(info.debian_folder), file) for file in info.files):
        folder = Path(info.debian_folder)
        arrays, problems = _read(info, folder)
        if not problems:
            return _located(info, folder, f"the Debian package {info.debian_package}", arrays)
        _warn("\n".join([*problems, f"Looking elsewhere; apt-get install --reinstall {info.debian_package} mends it."]))
    return _from_cache_or_network(info, quiet)


def _from_cache_or_network(info: DatasetInfo, quiet: bool) -> Located:
    import pooch  # here, not above: importing it takes 0.1 s

    folder = pooch.os_cache("cnn") / info.name
    arrays, problems = _read(info, folder, missing_is_a_problem=False)
    if problems:
        _warn("\n".join([*problems, "Not used; looking for a good copy."]))
    missing = [file for file in info.files if file.name not in arrays]
    if not missing:
        return _located(info, folder, "the cache", arrays)
    from cnn.data.download import download

    downloaded, hosts, notes = download(info, missing, folder, quiet)
    for note in notes:
        _warn(f"Passed over {note}")
    return _located(info, folder, f"downloaded from {' and '.join(hosts)}", arrays | downloaded)


def _folder_with(info: DatasetInfo, place: Path, name: str) -> Path | None:
    """The folder at or below ``place`` that holds all the files, else some of them."""
    place = place.expanduser().absolute()
    if not place.is_dir():
        what = "is a file" if place.exists() else "does not exist"
        raise DataError(f"{place}, given as {name}, {what}; {name} must be the folder with {info.title}'s files")
    # The named folders come first: MNIST and Fashion-MNIST use the same file names.
    folders = [place / info.name, place / info.torchvision_name / "raw", place]
    found = {folder: sum(_find(folder, file) is not None for file in info.files) for folder in folders}
    best = max(folders, key=lambda folder: found[folder])
    return best if found[best] else None


def _find(folder: Path, file: DataFile) -> Path | None:
    # The .gz first: a download replaces that one, so a damaged decompressed copy beside it cannot come back.
    for name in (file.name, file.plain_name):
        if (folder / name).is_file():
            return folder / name
    return None


def _read(info: DatasetInfo, folder: Path, missing_is_a_problem: bool = True) -> tuple[dict[str, NDArray], list[str]]:
    """Read every file of the folder: the arrays of the good ones by file name, and what is wrong with the others."""
    from concurrent.futures import ThreadPoolExecutor

    from cnn.data.check import read_checked

    def read(file: DataFile) -> NDArray | str:
        path = _find(folder, file)
        if path is None:
            return f"{folder / file.name} is missing" if missing_is_a_problem else ""
        try:
            return read_checked(path, file)
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor(max_workers=2) as pool:  # zlib and hashlib let other threads run
        results = dict(zip((file.name for file in info.files), pool.map(read, info.files), strict=True))
    arrays = {name: result for name, result in results.items() if not isinstance(result, str)}
    return arrays, [result for result in results.values() if isinstance(result, str) and result]


def _located(info: DatasetInfo, folder: Path, source: str, arrays: dict[str, NDArray]) -> Located:
    x_train, y_train, x_test, y_test = (arrays[file.name] for file in info.files)
    one_channel = (x_train[:, None], y_train.astype(np.int64), x_test[:, None], y_test.astype(np.int64))
    return Located(info, folder, source, one_channel)


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=4)  # near the line that asked for the data set
