"""Downloads of published data sets, from the first mirror that works. Only this module contacts the network."""

import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from numpy.typing import NDArray

from cnn.data.catalogue import DataFile, DatasetInfo
from cnn.data.check import decode
from cnn.data.errors import DataError

_TIMEOUT = (10, 30)  # seconds to connect, and between two chunks of a response


def download(
    info: DatasetInfo, files: Sequence[DataFile], folder: Path, quiet: bool = False
) -> tuple[dict[str, NDArray], list[str], list[str]]:
    """Download files into a folder; each appears there only after it is complete and verified.

    If ``quiet``, no progress is shown on stderr.

    Returns
    -------
    arrays : dict
        The array of each file, by file name.
    hosts : list of str
        The mirrors that served them.
    notes : list of str
        Errors of mirrors that were skipped.

    Raises
    ------
    DataError
        If CNN_OFFLINE is set, no mirror serves a file, or the folder cannot be written to.
    """
    if os.environ.get("CNN_OFFLINE", "") not in ("", "0"):
        raise _failure(info, files, folder, ["CNN_OFFLINE is set, so nothing was downloaded; unset it to allow that."])
    arrays: dict[str, NDArray] = {}
    hosts: list[str] = []
    notes: list[str] = []
    mirrors = list(info.mirrors)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            errors: list[str] = []
            for mirror in mirrors:
                try:
                    arrays[file.name] = _download_one(mirror + file.name, file, folder, quiet)
                except _MirrorError as error:
                    errors.append(str(error))
                    continue
                break
            else:
                raise _failure(info, [file for file in files if file.name not in arrays], folder, errors)
            notes += errors
            mirrors.sort(key=mirror.__ne__)  # the working mirror first: one that does not respond costs seconds
            host = _host(mirror)
            if host not in hosts:
                hosts.append(host)
    except DataError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise _failure(
            info, files, folder, [f"An error occurred on this machine while writing to {folder}: {reason}."]
        ) from error
    return arrays, hosts, notes


class _MirrorError(Exception):
    """An error of one mirror; the next mirror may work."""


def _download_one(url: str, file: DataFile, folder: Path, quiet: bool) -> NDArray:
    """Download to a temporary file in the same folder, verify it, and only then rename it to its final name."""
    from requests import RequestException  # pooch's own HTTP library

    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{file.name}.", suffix=".part", delete=False) as stream:
        temporary = Path(stream.name)
        try:
            _transfer(url, file.name, stream, quiet)
            stream.flush()
            os.fsync(stream.fileno())
            array = decode(temporary.read_bytes(), url, file)
            stream.close()  # Windows cannot rename an open file
            temporary.replace(folder / file.name)
        except RequestException as error:
            raise _MirrorError(f"{url}: {_reason(error)}") from error
        except DataError as error:
            raise _MirrorError(str(error)) from error
        finally:
            stream.close()
            with suppress(FileNotFoundError):
                temporary.unlink()
    return array


def _transfer(url: str, name: str, stream: IO[bytes], quiet: bool) -> None:
    """Write the response to the stream, with a progress bar if stderr is a terminal."""
    import pooch

    label = f"downloading {name} from {_host(url)}"
    silent = quiet or sys.stderr is None  # None: Python without a console, such as pythonw on Windows
    if silent or not sys.stderr.isatty() or os.environ.get("NO_PROGRESS"):
        if not silent:
            print(label, file=sys.stderr, flush=True)
        pooch.HTTPDownloader(chunk_size=1 << 16, timeout=_TIMEOUT)(url, stream, None)
        return
    from cnn.data.progress import download_bar

    with download_bar(label) as bar:
        pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=_TIMEOUT)(url, stream, None)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _reason(error: OSError) -> str:
    """The last part of the HTTP library's message, which is the informative one."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code} {response.reason}"
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", None) or inner).rpartition(": ")[2] or type(error).__name__


def _failure(info: DatasetInfo, files: Sequence[DataFile], folder: Path, errors: list[str]) -> DataError:
    lines = [
        f"{info.title} is not on this machine and could not be downloaded.",
        *(f"  {line}" for line in errors),
        f"Missing: {', '.join(file.name for file in files)}",
        f"Put them into {folder}, or into any folder and set the environment variable CNN_DATA to it.",
    ]
    if info.debian_package is not None:
        lines.append(f"On Debian and Ubuntu, a package contains them: apt-get install {info.debian_package}")
    return DataError("\n".join(lines))
