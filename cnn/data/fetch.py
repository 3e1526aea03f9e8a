"""Loading a published data set from a given folder, $CNN_DATA, the Debian package, the cache, or the network.

Wherever a file comes from, it is used only after its digest has been verified. A damaged file in a folder that the user
named is an error. In the other locations it is skipped with a warning.
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
class LoadedDataset:
    """A data set that was loaded and verified.

    Attributes
    ----------
    info : DatasetInfo
        Its metadata.
    folder : pathlib.Path
        The folder that contains its four files.
    source : str
        Where it came from, for messages: "the given folder", "the folder in CNN_DATA",
        "the Debian package dataset-fashion-mnist", "the cache", "downloaded from storage.googleapis.com".
    arrays : tuple
        ``x_train, y_train, x_test, y_test``: uint8 images (N, 1, H, W), int64 labels (N,).

    Examples
    --------
    >>> from pathlib import Path
    >>> from cnn.data import MNIST, LoadedDataset
    >>> LoadedDataset(MNIST, Path("data"), "the cache", arrays=())
    LoadedDataset(info='mnist', folder='data', source='the cache')
    """

    info: DatasetInfo
    folder: Path
    source: str
    arrays: Arrays = field(repr=False)

    def __repr__(self) -> str:
        return f"LoadedDataset(info={self.info.name!r}, folder={str(self.folder)!r}, source={self.source!r})"


def load_dataset(
    info: DatasetInfo, path: str | os.PathLike[str] | None = None, *, quiet: bool = False
) -> LoadedDataset:
    """Find a published data set, verify it and read it; download it if it is not on this machine.

    Searched in this order: ``path``, the folder in the environment variable CNN_DATA, the Debian package's folder, the
    user's cache; then the mirrors, unless CNN_OFFLINE is set. In ``path`` and CNN_DATA the files may be in the folder
    itself, in a sub-folder with the data set's name, or in the sub-folders that torchvision creates; they may be
    ``.gz`` or decompressed.

    Parameters
    ----------
    info : DatasetInfo
        ``FASHION_MNIST``, ``MNIST``, or ``dataset_info(name)``.
    path : str or path-like, optional
        A folder to search first.
    quiet : bool
        Whether to print nothing on stderr about a download.

    Returns
    -------
    LoadedDataset

    Raises
    ------
    DataError
        If ``path`` or CNN_DATA is not a folder or contains damaged or wrong files or only some of the files, or if the
        files are not on this machine and cannot be downloaded. The message names the files and what to do.

    Warns
    -----
    DataWarning
        If ``path`` contains none of the files; if a damaged file in the Debian package's folder or the cache, or a
        mirror, was skipped.

    Examples
    --------
    >>> from cnn.data import FASHION_MNIST, load_dataset
    >>> dataset = load_dataset(FASHION_MNIST)  # doctest: +SKIP
    >>> dataset.source  # doctest: +SKIP
    'the Debian package dataset-fashion-mnist'
    """
    variable = os.environ.get("CNN_DATA")
    for given, source, name in ((path, "the given folder", "path"), (variable, "the folder in CNN_DATA", "CNN_DATA")):
        if given is None or given == "":
            continue
        folder = _folder_with(info, Path(given), name)
        if folder is not None:
            arrays, problems = _read(info, folder)
            if problems:
                raise DataError("\n".join([*problems, f"Put the published files there, or use another {name}."]))
            return _loaded(info, folder, source, arrays)
        if name == "path":
            names = ", ".join(file.name for file in info.files)
            _warn(f"{given} contains none of {info.title}'s files ({names}); searching other locations")

    if info.debian_folder is not None and any(_find(Path(info.debian_folder), file) for file in info.files):
        folder = Path(info.debian_folder)
        arrays, problems = _read(info, folder)
        if not problems:
            return _loaded(info, folder, f"the Debian package {info.debian_package}", arrays)
        repair = f"apt-get install --reinstall {info.debian_package}"
        _warn("\n".join([*problems, f"Searching other locations; repair the package with {repair}"]))
    return _from_cache_or_network(info, quiet)


def _from_cache_or_network(info: DatasetInfo, quiet: bool) -> LoadedDataset:
    import pooch  # here, not above: importing it takes 0.1 s

    folder = pooch.os_cache("cnn") / info.name
    arrays, problems = _read(info, folder, missing_is_a_problem=False)
    if problems:
        _warn("\n".join([*problems, "Not used; searching for a good copy."]))
    missing = [file for file in info.files if file.name not in arrays]
    if not missing:
        return _loaded(info, folder, "the cache", arrays)
    from cnn.data.download import download

    downloaded, hosts, notes = download(info, missing, folder, quiet)
    for note in notes:
        _warn(f"Skipped {note}")
    return _loaded(info, folder, f"downloaded from {' and '.join(hosts)}", arrays | downloaded)


def _folder_with(info: DatasetInfo, root: Path, name: str) -> Path | None:
    """Return the folder at or below ``root`` that contains the most of the files, or None if none contains any."""
    root = root.expanduser().absolute()
    if not root.is_dir():
        problem = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root}, given as {name}, {problem}; {name} must be the folder with {info.title}'s files")
    # The sub-folders come first: MNIST and Fashion-MNIST use the same file names.
    folders = [root / info.name, root / info.torchvision_name / "raw", root]
    found = {folder: sum(_find(folder, file) is not None for file in info.files) for folder in folders}
    best = max(folders, key=lambda folder: found[folder])
    return best if found[best] else None


def _find(folder: Path, file: DataFile) -> Path | None:
    # The .gz first: a download replaces it, so a damaged decompressed copy next to it is not used again.
    for name in (file.name, file.decompressed_name):
        if (folder / name).is_file():
            return folder / name
    return None


def _read(info: DatasetInfo, folder: Path, missing_is_a_problem: bool = True) -> tuple[dict[str, NDArray], list[str]]:
    """Read every file of the folder: -> (arrays of the valid files by file name, error messages for the others)."""
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

    with ThreadPoolExecutor(max_workers=2) as pool:  # zlib and hashlib release the GIL
        results = dict(zip((file.name for file in info.files), pool.map(read, info.files), strict=True))
    arrays = {name: result for name, result in results.items() if not isinstance(result, str)}
    return arrays, [result for result in results.values() if isinstance(result, str) and result]


def _loaded(info: DatasetInfo, folder: Path, source: str, arrays: dict[str, NDArray]) -> LoadedDataset:
    x_train, y_train, x_test, y_test = (arrays[file.name] for file in info.files)
    one_channel = (x_train[:, None], y_train.astype(np.int64), x_test[:, None], y_test.astype(np.int64))
    return LoadedDataset(info, folder, source, one_channel)


def _warn(message: str) -> None:
    warnings.warn(message, DataWarning, stacklevel=4)  # points near the line that asked for the data set
