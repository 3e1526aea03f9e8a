"""The only code that contacts the network: files of a published data set, from the first mirror that has them."""

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

_TIMEOUT = (10, 30)  # seconds to connect, and between two pieces of an answer


def download(
    info: DatasetInfo, files: Sequence[DataFile], folder: Path, quiet: bool = False
) -> tuple[dict[str, NDArray], list[str], list[str]]:
    """Download files into a folder; each appears there only complete and checked.

    If ``quiet``, stderr shows no progress.

    Returns
    -------
    arrays : dict
        The array of each file, by its name.
    hosts : list of str
        The mirrors that served them.
    notes : list of str
        What was wrong with mirrors that were passed over.

    Raises
    ------
    DataError
        If CNN_OFFLINE forbids it, no mirror serves a file, or the folder cannot be written to.
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
            said: list[str] = []
            for mirror in mirrors:
                try:
                    arrays[file.name] = _download_one(mirror + file.name, file, folder, quiet)
                except _MirrorError as error:
                    said.append(str(error))
                    continue
                break
            else:
                raise _failure(info, [file for file in files if file.name not in arrays], folder, said)
            notes += said
            mirrors.sort(key=mirror.__ne__)  # the one that works first: a dead one costs seconds
            host = _host(mirror)
            if host not in hosts:
                hosts.append(host)
    except DataError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise _failure(
            info, files, folder, [f"This machine stopped it while writing to {folder}: {reason}."]
        ) from error
    return arrays, hosts, notes


class _MirrorError(Exception):
    """What was wrong with one mirror; the next may do better."""


def _download_one(url: str, file: DataFile, folder: Path, quiet: bool) -> NDArray:
    """Download to a temporary file beside the final one, check it, and only then give it its name."""
    from requests import RequestException  # pooch's own HTTP library

    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{file.name}.", suffix=".part", delete=False) as stream:
        temporary = Path(stream.name)
        try:
            _transfer(url, file.name, stream, quiet)
            stream.flush()
            os.fsync(stream.fileno())
            array = decode(temporary.read_bytes(), url, file)
            stream.close()  # Windows renames no open file
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
    """Write what the address serves to the stream, with a progress bar where a person can watch one."""
    import pooch

    label = f"downloading {name} from {_host(url)}"
    nobody = quiet or sys.stderr is None  # Python without a console, as pythonw on Windows
    if nobody or not sys.stderr.isatty() or os.environ.get("NO_PROGRESS"):
        if not nobody:
            print(label, file=sys.stderr, flush=True)
        pooch.HTTPDownloader(chunk_size=1 << 16, timeout=_TIMEOUT)(url, stream, None)
        return
    from cnn.data.progress import download_bar

    with download_bar(label) as bar:
        pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=_TIMEOUT)(url, stream, None)


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _reason(error: OSError) -> str:
    """The last, telling part of what the HTTP library says."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"HTTP status {response.status_code} {response.reason}"
    inner = error.args[0] if error.args else error
    return str(getattr(inner, "reason", None) or inner).rpartition(": ")[2] or type(error).__name__


def _failure(info: DatasetInfo, files: Sequence[DataFile], folder: Path, said: list[str]) -> DataError:
    lines = [
        f"{info.title} is not on this machine and could not be downloaded.",
        *(f"  {line}" for line in said),
        f"Missing: {', '.join(file.name for file in files)}",
        f"They belong in {folder}, or in any folder that the environment variable CNN_DATA names.",
    ]
    if info.debian_package is not None:
        lines.append(f"On Debian and Ubuntu a package holds them: apt-get install {info.debian_package}")
    return DataError("\n".join(lines))
