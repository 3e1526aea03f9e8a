"""Where data sets are found and which files are rejected, with small synthetic data sets and local mirrors."""

import dataclasses
import gzip
import hashlib
import http.server
import struct
import threading
from pathlib import Path

import numpy as np
import pooch
import pytest

from cnn.data import FASHION_MNIST, MNIST, DataError, DataFile, DataWarning, load_dataset
from cnn.data import download as download_module
from cnn.data.check import decode
from cnn.data.download import download

NAMES = [file.name for file in FASHION_MNIST.files]


def contents(seed: int) -> dict[str, bytes]:
    """Return four small IDX files, decompressed, by .gz name; another seed gives another data set of the same sizes."""
    rng = np.random.default_rng(seed)
    made = {}
    for name in NAMES:
        count = 12 if name.startswith("train") else 5
        shape = (count, 28, 28) if "images" in name else (count,)
        body = rng.integers(0, 256 if "images" in name else 10, shape, dtype=np.uint8)
        made[name] = bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + body.tobytes()
    return made


CONTENTS = contents(0)
OTHER_CONTENTS = contents(1)


def put(folder: Path, files: dict[str, bytes] = CONTENTS, names: list[str] = NAMES, plain: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        if plain:
            (folder / name.removesuffix(".gz")).write_bytes(files[name])
        else:
            (folder / name).write_bytes(gzip.compress(files[name]))
    return folder


def is_valid(dataset) -> bool:
    x_train, y_train, x_test, y_test = dataset.arrays
    assert (x_train.shape, x_test.shape) == ((12, 1, 28, 28), (5, 1, 28, 28))
    assert (x_train.dtype, y_train.dtype, x_test.dtype, y_test.dtype) == ("u1", "i8", "u1", "i8")
    return all(
        array.astype(np.uint8).tobytes() == CONTENTS[name][8 if "labels" in name else 16 :]
        for name, array in zip(NAMES, dataset.arrays, strict=True)
    )


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder of the synthetic data set; the user's environment variables do not affect tests."""
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    for name in ("CNN_DATA", "CNN_OFFLINE", "NO_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "cnn" / "fashion-mnist"


@pytest.fixture
def info(tmp_path, cache):
    """Fashion-MNIST's entry with the digests of the synthetic files, no mirror, and a Debian folder that does not exist."""
    files = tuple(DataFile(name, len(CONTENTS[name]), hashlib.sha256(CONTENTS[name]).hexdigest()) for name in NAMES)
    return dataclasses.replace(FASHION_MNIST, files=files, mirrors=(), debian_folder=str(tmp_path / "debian"))


@pytest.fixture
def serve(tmp_path):
    """A function that starts a mirror that serves a folder, and returns its URL."""
    servers = []

    def start(folder: Path) -> str:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args):
                super().__init__(*args, directory=str(folder))

            def log_message(self, *args):
                server.requests.append(self.path)

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.requests = []
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        start.requests = server.requests
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def forbid_download(monkeypatch):
    def refuse(*args):
        raise AssertionError("the network was contacted")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", refuse)


# Where files are found


@pytest.mark.parametrize("plain", [False, True], ids=["gz", "decompressed"])
@pytest.mark.parametrize("below", ["", "fashion-mnist", "FashionMNIST/raw"])
@pytest.mark.parametrize("given_as", ["path", "CNN_DATA"])
def test_a_folder_the_user_names(info, tmp_path, monkeypatch, given_as, below, plain):
    forbid_download(monkeypatch)
    folder = put(tmp_path / "mine" / below, plain=plain)
    if given_as == "CNN_DATA":
        monkeypatch.setenv("CNN_DATA", str(tmp_path / "mine"))
        dataset = load_dataset(info)
        assert dataset.source == "the folder in CNN_DATA"
    else:
        dataset = load_dataset(info, str(tmp_path / "mine"))
        assert dataset.source == "the given folder"
    assert is_valid(dataset)
    assert dataset.folder == folder


def test_the_order_of_the_locations(info, tmp_path, cache, monkeypatch, serve):
    """All five contain the data; one after the other is removed."""
    info = dataclasses.replace(info, mirrors=(serve(put(tmp_path / "mirror")),))
    path, variable, debian = put(tmp_path / "path"), put(tmp_path / "variable"), put(tmp_path / "debian")
    put(cache)
    monkeypatch.setenv("CNN_DATA", str(variable))
    seen = [load_dataset(info, path)]
    seen.append(load_dataset(info))
    monkeypatch.delenv("CNN_DATA")
    seen.append(load_dataset(info))
    for name in NAMES:
        (debian / name).unlink()
    seen.append(load_dataset(info))
    for name in NAMES:
        (cache / name).unlink()
    seen.append(load_dataset(info))
    assert [dataset.folder for dataset in seen] == [path, variable, debian, cache, cache]
    assert [dataset.source for dataset in seen[:4]] == [
        "the given folder",
        "the folder in CNN_DATA",
        "the Debian package dataset-fashion-mnist",
        "the cache",
    ]
    assert seen[4].source.startswith("downloaded from 127.0.0.1:")
    assert all(is_valid(dataset) for dataset in seen)


def test_the_sub_folder_comes_before_files_with_the_same_names(info, tmp_path):
    """MNIST in the folder itself does not hide Fashion-MNIST in the folder below it."""
    put(tmp_path / "both", OTHER_CONTENTS)
    put(tmp_path / "both" / "fashion-mnist")
    assert is_valid(load_dataset(info, tmp_path / "both"))


def test_a_cnn_data_without_this_data_set_is_skipped(info, tmp_path, cache, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("CNN_DATA", str(tmp_path / "empty"))
    put(cache)
    assert load_dataset(info).source == "the cache"


def test_an_empty_path_is_skipped_with_a_warning(info, tmp_path, cache):
    (tmp_path / "empty").mkdir()
    put(cache)
    with pytest.warns(DataWarning, match="empty contains none of Fashion-MNIST's files"):
        assert is_valid(load_dataset(info, tmp_path / "empty"))


@pytest.mark.parametrize("given_as", ["path", "CNN_DATA"])
def test_a_path_that_is_not_a_folder(info, tmp_path, cache, monkeypatch, given_as):
    put(cache)
    file = tmp_path / "file"
    file.write_bytes(b"")
    for path, words in ((tmp_path / "typo", "does not exist"), (file, "is a file")):
        if given_as == "CNN_DATA":
            monkeypatch.setenv("CNN_DATA", str(path))
        with pytest.raises(DataError, match=f"{path.name}, given as {given_as}, {words}"):
            load_dataset(info, path if given_as == "path" else None)


def test_the_home_folder_is_expanded(info, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    put(tmp_path / "mine")
    assert load_dataset(info, "~/mine").folder == tmp_path / "mine"


# Files that are rejected

GZ = gzip.compress(CONTENTS[NAMES[0]])
FLIPPED = GZ[: len(GZ) // 2] + bytes([GZ[len(GZ) // 2] ^ 0xFF]) + GZ[len(GZ) // 2 + 1 :]
DAMAGED = {
    "cut short": (GZ[: len(GZ) // 2], "is cut short: its gzip data ends early"),
    "header only": (GZ[:10], "is cut short: its gzip data ends early"),
    "flipped byte": (FLIPPED, "is damaged|is not the published file"),
    "wrong checksum": (GZ[:-8] + bytes([GZ[-8] ^ 1]) + GZ[-7:], "is damaged"),
    "another data set": (gzip.compress(OTHER_CONTENTS[NAMES[0]]), "is not the published file"),
    "too little": (gzip.compress(CONTENTS[NAMES[0]][:-1]), "is cut short"),
    "too much": (gzip.compress(CONTENTS[NAMES[0]] + bytes(10**6)), "is too long"),
    "a web page": (b"\n<!DOCTYPE html><html>Sign in</html>", r"is not the published file \(a web page\)"),
    "not compressed": (CONTENTS[NAMES[0]], r"is not the published file \(not gzip data\)"),
    "empty": (b"", r"is not the published file \(empty\)"),
}


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("given_as", ["path", "CNN_DATA"])
def test_a_bad_file_in_a_given_folder_is_an_error(info, tmp_path, cache, monkeypatch, given_as, what):
    put(cache)  # a good copy elsewhere changes nothing
    data, words = DAMAGED[what]
    bad = put(tmp_path / "mine") / NAMES[0]
    bad.write_bytes(data)
    if given_as == "CNN_DATA":
        monkeypatch.setenv("CNN_DATA", str(bad.parent))
    with pytest.raises(DataError, match=words) as caught:
        load_dataset(info, bad.parent if given_as == "path" else None)
    message = str(caught.value)
    assert message.startswith(str(bad))
    assert info.files[0].sha256[:12] in message
    assert f"or use another {given_as}" in message
    assert "SHA-256" in message.partition("found")[2]


def test_the_reported_digest_is_that_of_the_content(info, tmp_path):
    put(tmp_path / "mine", OTHER_CONTENTS, NAMES[:1])
    put(tmp_path / "mine", CONTENTS, NAMES[1:])
    with pytest.raises(DataError, match=hashlib.sha256(OTHER_CONTENTS[NAMES[0]]).hexdigest()[:12]):
        load_dataset(info, tmp_path / "mine")


def test_a_wrong_file_cannot_exhaust_the_memory(info):
    import tracemalloc

    bomb = gzip.compress(bytes(20_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="a file is too long"):
            decode(bomb, "a file", info.files[0])
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_bad_decompressed_file(info, tmp_path):
    folder = put(tmp_path / "mine", plain=True)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(OTHER_CONTENTS[NAMES[3]])
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte is not the published file"):
        load_dataset(info, folder)


def test_every_bad_and_missing_file_is_named(info, tmp_path):
    folder = put(tmp_path / "mine", OTHER_CONTENTS, NAMES[:2])
    put(folder, CONTENTS, NAMES[2:3])
    with pytest.raises(DataError) as caught:
        load_dataset(info, folder)
    assert [line.partition(" ")[0] for line in str(caught.value).splitlines()[:3]] == [
        str(folder / name) for name in (NAMES[0], NAMES[1], NAMES[3])
    ]
    assert f"{NAMES[3]} is missing" in str(caught.value)


def test_a_file_that_cannot_be_read(info, tmp_path, monkeypatch):
    folder = put(tmp_path / "mine")

    def deny(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(DataError, match=r"images-idx3-ubyte\.gz cannot be read: Permission denied"):
        load_dataset(info, folder)


@pytest.mark.parametrize("what", DAMAGED)
@pytest.mark.parametrize("location", ["debian", "cache"])
def test_a_bad_file_in_other_locations_is_skipped(info, tmp_path, cache, serve, location, what):
    bad = put(tmp_path / "debian" if location == "debian" else cache) / NAMES[0]
    bad.write_bytes(DAMAGED[what][0])
    info = dataclasses.replace(info, mirrors=(serve(put(tmp_path / "mirror")),))
    with pytest.warns(DataWarning, match=DAMAGED[what][1]) as caught:
        dataset = load_dataset(info)
    assert [str(bad) in str(warning.message) for warning in caught] == [True]
    assert is_valid(dataset)
    assert dataset.source.startswith("downloaded from")
    # In the cache only the bad file was downloaded, and it was replaced by a good one.
    assert serve.requests == [f"/{name}" for name in (NAMES if location == "debian" else NAMES[:1])]
    if location == "cache":
        assert load_dataset(info).source == "the cache"


def test_part_of_the_debian_package(info, tmp_path, cache):
    put(tmp_path / "debian", names=NAMES[:3])
    put(cache)
    with pytest.warns(DataWarning, match=r"t10k-labels-idx1-ubyte\.gz is missing\n.*apt-get install --reinstall"):
        assert load_dataset(info).source == "the cache"


def test_a_bad_decompressed_file_in_the_cache_is_not_used_again(info, tmp_path, cache, serve):
    put(cache, OTHER_CONTENTS, plain=True)
    info = dataclasses.replace(info, mirrors=(serve(put(tmp_path / "mirror")),))
    with pytest.warns(DataWarning, match="is not the published file"):
        assert is_valid(load_dataset(info))
    assert is_valid(load_dataset(info))


@pytest.fixture
def by_gz(info, tmp_path):
    """The same data set with digests of the .gz, as MNIST has."""
    folder = put(tmp_path / "mine")
    files = [
        DataFile(name, len(CONTENTS[name]), hashlib.sha256((folder / name).read_bytes()).hexdigest(), digest_of="gz")
        for name in NAMES
    ]
    return dataclasses.replace(info, files=tuple(files))


def test_digests_of_the_gz(by_gz, tmp_path):
    assert is_valid(load_dataset(by_gz, tmp_path / "mine"))
    (tmp_path / "mine" / NAMES[0]).write_bytes(gzip.compress(CONTENTS[NAMES[0]], compresslevel=1))
    with pytest.raises(DataError, match=r"is not the published file: expected a \.gz with SHA-256"):
        load_dataset(by_gz, tmp_path / "mine")


def test_a_decompressed_file_is_rejected_if_it_cannot_be_verified(by_gz, tmp_path):
    folder = put(tmp_path / "plain", plain=True)
    with pytest.raises(DataError, match="train-images-idx3-ubyte cannot be checked: only the digest of train-images"):
        load_dataset(by_gz, folder)


# The network


def test_a_download_leaves_only_the_complete_files(info, tmp_path, cache, serve, capsys):
    mirror = serve(put(tmp_path / "mirror"))
    dataset = load_dataset(dataclasses.replace(info, mirrors=(mirror,)))
    assert is_valid(dataset)
    assert dataset.folder == cache
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)
    host = mirror.removeprefix("http://").rstrip("/")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"downloading {name} from {host}" for name in NAMES]
    assert load_dataset(info).source == "the cache"


@pytest.mark.parametrize("what", DAMAGED)
def test_a_bad_mirror_is_named_and_the_next_is_tried(info, tmp_path, cache, serve, what):
    bad_folder = put(tmp_path / "bad")
    (bad_folder / NAMES[0]).write_bytes(DAMAGED[what][0])
    bad, good = serve(bad_folder), serve(put(tmp_path / "good"))
    with pytest.warns(DataWarning, match=DAMAGED[what][1]) as caught:
        dataset = load_dataset(dataclasses.replace(info, mirrors=(bad, good)))
    assert [bad + NAMES[0] in str(warning.message) for warning in caught] == [True]
    assert is_valid(dataset)
    assert bad not in dataset.source
    assert serve.requests == [f"/{name}" for name in NAMES]  # the good mirror serves the other files too
    assert sorted(path.name for path in cache.iterdir()) == sorted(NAMES)


def test_a_mirror_that_lacks_some_files(info, tmp_path, serve):
    first, second = serve(put(tmp_path / "first", names=NAMES[:2])), serve(put(tmp_path / "second"))
    with pytest.warns(DataWarning, match=f"{first}{NAMES[2]}: HTTP status 404 File not found"):
        dataset = load_dataset(dataclasses.replace(info, mirrors=(first, second)))
    assert is_valid(dataset)
    assert dataset.source == f"downloaded from {first[7:-1]} and {second[7:-1]}"


def test_all_mirrors_fail(info, tmp_path, cache, serve):
    put(cache, names=NAMES[:1])
    wrong, empty = serve(put(tmp_path / "wrong", OTHER_CONTENTS)), serve(put(tmp_path / "empty", names=[]))
    dead = "http://127.0.0.1:9/"
    with pytest.raises(DataError) as caught:
        load_dataset(dataclasses.replace(info, mirrors=(wrong, empty, dead)))
    message = str(caught.value)
    found = hashlib.sha256(OTHER_CONTENTS[NAMES[1]]).hexdigest()[:12]
    assert f"{wrong}{NAMES[1]} is not the published file: expected" in message
    assert f"found {len(OTHER_CONTENTS[NAMES[1]])} bytes with SHA-256 {found}" in message
    assert f"{empty}{NAMES[1]}: HTTP status 404 File not found" in message
    assert f"{dead}{NAMES[1]}: " in message
    assert "refused" in message
    assert "object at 0x" not in message
    assert f"Missing: {', '.join(NAMES[1:])}" in message
    assert f"Put them into {cache}, " in message
    assert "CNN_DATA" in message
    assert "apt-get install dataset-fashion-mnist" in message
    assert [path.name for path in cache.iterdir()] == NAMES[:1]


def test_a_connection_that_breaks_off(info, tmp_path, cache):
    """The server sends half of the announced bytes."""
    body = gzip.compress(CONTENTS[NAMES[0]])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            with pytest.raises(DataError, match=f"{NAMES[0]}: .*bytes read|{NAMES[0]} is cut short"):
                load_dataset(dataclasses.replace(info, mirrors=(f"http://127.0.0.1:{server.server_port}/",)))
        finally:
            server.shutdown()
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("value", ["1", "yes"])
def test_offline(info, tmp_path, cache, monkeypatch, value):
    forbid_download(monkeypatch)
    monkeypatch.setenv("CNN_OFFLINE", value)
    with pytest.raises(DataError, match="CNN_OFFLINE is set, so nothing was downloaded") as caught:
        load_dataset(dataclasses.replace(info, mirrors=("http://127.0.0.1:9/",)))
    assert all(name in str(caught.value) for name in NAMES)
    assert f"Put them into {cache}, " in str(caught.value)
    assert "apt-get install dataset-fashion-mnist" in str(caught.value)
    assert not cache.exists()


def test_offline_uses_files_on_this_machine(info, cache, monkeypatch):
    forbid_download(monkeypatch)
    monkeypatch.setenv("CNN_OFFLINE", "1")
    put(cache)
    assert is_valid(load_dataset(info))


def test_offline_0_allows_the_network(info, tmp_path, monkeypatch, serve):
    monkeypatch.setenv("CNN_OFFLINE", "0")
    assert is_valid(load_dataset(dataclasses.replace(info, mirrors=(serve(put(tmp_path / "mirror")),))))


def test_the_error_for_a_data_set_without_a_debian_package(info, cache, monkeypatch):
    monkeypatch.setenv("CNN_OFFLINE", "1")
    with pytest.raises(DataError, match="MNIST is not on this machine") as caught:
        load_dataset(MNIST)
    assert "apt-get" not in str(caught.value)


def test_a_full_disk_is_not_blamed_on_the_mirrors(info, tmp_path, cache, monkeypatch, serve):
    def full(url, name, stream, quiet):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download_module, "_transfer", full)
    with pytest.raises(DataError, match="No space left on device") as caught:
        load_dataset(dataclasses.replace(info, mirrors=("http://127.0.0.1:9/",)))
    assert "127.0.0.1" not in str(caught.value)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_created(info, tmp_path, cache):
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    with pytest.raises(DataError, match="could not be downloaded"):
        load_dataset(dataclasses.replace(info, mirrors=("http://127.0.0.1:9/",)))


def test_an_interrupted_download_leaves_nothing(info, cache, monkeypatch):
    def interrupted(url, name, stream, quiet):
        stream.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(download_module, "_transfer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_dataset(dataclasses.replace(info, mirrors=("http://127.0.0.1:9/",)))
    assert list(cache.iterdir()) == []


class Terminal:
    """A stderr that reports being a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return True


@pytest.mark.parametrize("no_progress", [False, True])
def test_a_progress_bar_in_a_terminal(info, tmp_path, cache, monkeypatch, serve, no_progress):
    mirror = serve(put(tmp_path / "mirror"))
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    if no_progress:
        monkeypatch.setenv("NO_PROGRESS", "1")
    arrays, hosts, notes = download(dataclasses.replace(info, mirrors=(mirror,)), info.files[:1], cache)
    assert list(arrays) == NAMES[:1]
    assert (hosts, notes) == ([mirror[7:-1]], [])
    assert f"downloading {NAMES[0]} from {mirror[7:-1]}" in terminal.text
    assert ("\x1b[" in terminal.text) is not no_progress
    size = len(gzip.compress(CONTENTS[NAMES[0]])) / 1000
    assert (f"{size:.1f}/{size:.1f} kB" in terminal.text) is not no_progress


def test_a_quiet_download_prints_nothing(info, tmp_path, cache, serve, capfd):
    info = dataclasses.replace(info, mirrors=(serve(put(tmp_path / "mirror")),))
    assert is_valid(load_dataset(info, quiet=True))
    assert capfd.readouterr() == ("", "")


def test_a_download_without_a_console(info, tmp_path, cache, serve, monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert is_valid(load_dataset(dataclasses.replace(info, mirrors=(serve(put(tmp_path / "mirror")),))))


def test_importing_needs_neither_pooch_nor_rich():
    import subprocess
    import sys

    heavy = "{'pooch', 'requests', 'rich', 'matplotlib', 'PIL'}"
    code = f"import sys, cnn.data; loaded = {heavy} & set(sys.modules); assert not loaded, loaded"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
