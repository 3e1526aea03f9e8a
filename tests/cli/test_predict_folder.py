"""`cnn predict RUN FOLDER`: all images in a folder, as lines of text, CSV or JSON."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cnn
from cnn.cli import predict_stream
from cnn.cli.csv_text import path_cell, text_cell
from cnn.cli.predict_images import ModelImage
from cnn.data import images
from cnn.kernels.backend import has_numba
from cnn.layers import BatchNorm2d, Conv2d, Flatten, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.sequential import Sequential
from tests.cli.example_files import json_lines, write_image

HEADER = ["file", "class", "probability", "second_class", "second_probability", "error"]
needs_posix_names = pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
# A name for each danger: separators of CSV, formulas, control characters, invalid UTF-8, direction of text, a backslash
STRANGE = [
    "a,b.png",
    'say "hi".png',
    "two\nlines\r\n.png",
    "\x1b[31mred\x1b[2J.png",
    "=1+2.png",
    "+1.png",
    "-1.png",
    "@SUM(A1).png",
    "\t=1.png",
    "\u202egnp.exe.png",
    "back\\x1bslash.png",
    "Grüße 写真.png",
    " leading and trailing .png",
    os.fsdecode(b"invalid \xff.png"),
    "Screenshot at 1.23\u202fPM.png",
]


@pytest.fixture
def photos():
    """Two dark and two light images in folders inside each other, and files that are to be skipped or reported."""
    folder = Path("photos")
    (folder / "nested" / "deep").mkdir(parents=True)
    for name, level in (("b.png", 10), ("a.png", 240), ("nested/c.png", 10), ("nested/deep/d.png", 240)):
        write_image(folder / name, background=level, square=255 - level)
    for hidden in (".hidden.png", "Thumbs.db", "nested/.DS_Store"):
        (folder / hidden).write_bytes(b"x")
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir" / "thumbnail.png").write_bytes(b"x")
    return folder


def rows_of(text):
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == HEADER
    return rows[1:]


def recovered(cell):
    """Return the file name that a cell stands for, as the help says."""
    return cell.encode("latin-1", "backslashreplace").decode("unicode_escape")


def test_lines(run, brightness_model, photos):
    code, out, err = run("predict", brightness_model, photos, "--invert", "no")
    assert code == 0
    rows = [line.split(maxsplit=3) for line in out.splitlines()]
    names = [str(photos / name) for name in ("a.png", "b.png", "nested/c.png", "nested/deep/d.png")]
    assert [row[3] for row in rows] == names
    assert [row[2] for row in rows] == ["light", "dark", "dark", "light"]
    assert all(50 < float(row[0]) <= 100 for row in rows)
    assert err == "4 images: light 2, dark 2\n"
    _, out, _ = run("predict", brightness_model, photos, "--invert", "no", "--top", "2")
    assert out.splitlines()[0].split()[2::3] == ["light", "dark"]


def test_csv(run, brightness_model, photos):
    code, out, err = run("predict", brightness_model, photos, "--csv", "--invert", "no")
    assert (code, err) == (0, "")
    rows = rows_of(out)
    assert [row[0] for row in rows] == [
        "photos/a.png",
        "photos/b.png",
        "photos/nested/c.png",
        "photos/nested/deep/d.png",
    ]
    assert [(row[1], row[3], row[5]) for row in rows] == [
        ("light", "dark", ""),
        ("dark", "light", ""),
        ("dark", "light", ""),
        ("light", "dark", ""),
    ]
    assert all(abs(float(row[2]) + float(row[4]) - 1) < 1e-5 for row in rows)


def test_json_lines(run, brightness_model, photos):
    code, out, err = run("predict", brightness_model, photos, "--json", "--invert", "no", "--top", 1)
    assert (code, err) == (0, "")
    assert [row["image"] for row in json_lines(out)][2:] == [
        str(photos / n) for n in ("nested/c.png", "nested/deep/d.png")
    ]
    assert [row["classes"][0]["name"] for row in json_lines(out)] == ["light", "dark", "dark", "light"]


@pytest.mark.parametrize("form", ["--csv", "--json", None])
def test_files_that_cannot_be_read(run, brightness_model, photos, form):
    """A damaged image is an error; another file is only named, unless the user named it."""
    (photos / "b.jpg").write_bytes(b"")
    (photos / "notes.txt").write_text("dark and light", encoding="utf-8")
    arguments = ["--invert", "no", *([form] if form else [])]
    code, out, err = run("predict", brightness_model, photos, *arguments)
    assert code == 1
    assert f"error: {photos / 'b.jpg'} is empty (0 bytes)\n" in err
    assert f"skipped 1 file that is not an image: {photos / 'notes.txt'}\n" in err
    if form == "--csv":
        assert rows_of(out)[1] == ["photos/b.jpg", "", "", "", "", "is empty (0 bytes)"]
        assert len(rows_of(out)) == 5
    elif form == "--json":
        assert json_lines(out)[1] == {"image": str(photos / "b.jpg"), "error": f"{photos / 'b.jpg'} is empty (0 bytes)"}
        assert len(json_lines(out)) == 5
    else:
        assert err.endswith("1 image could not be read\n4 images: light 2, dark 2\n")
    (photos / "b.jpg").unlink()
    assert run("predict", brightness_model, photos, *arguments)[0] == 0
    assert run("predict", brightness_model, photos, photos / "notes.txt", *arguments)[0] == 1


def test_a_folder_without_images(run, brightness_model):
    Path("empty").mkdir()
    code, out, err = run("predict", brightness_model, "empty")
    assert (code, out, err) == (1, "", "error: empty is a folder without images\n")
    Path("empty", "notes.txt").write_text("x", encoding="utf-8")
    code, out, err = run("predict", brightness_model, "empty")
    assert (code, out) == (1, "")
    assert "skipped 1 file that is not an image: " in err


def test_nearly_uniform_images_are_counted(run, brightness_model, photos):
    for i in range(3):
        write_image(photos / f"z{i}.png", background=90, square=91)
    _, _, err = run("predict", brightness_model, photos)
    assert f"warning: {photos / 'z0.png'} and 2 more: the image is nearly one colour; --show-input" in err


def test_runs_inside_the_folder_are_left_out(run, brightness_model, photos):
    settings = {"data": "x", "model": "mlp", "epochs": 1, "batch_size": 1, "lr": 1, "seed": 0, "lr_schedule": "one"}
    for folder in (photos / "runs" / "x-1", photos / "nested" / "run"):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        write_image(folder / "curves.png")
    code, out, err = run("predict", brightness_model, photos, "--invert", "no")
    assert (code, len(out.splitlines()), err) == (0, 4, "4 images: light 2, dark 2\n")
    assert "is a folder without images" in run("predict", brightness_model, photos / "runs")[2]


@pytest.mark.parametrize("fit", [None, "squashed"])
def test_readers_leave_the_filters_of_warnings_alone(run, brightness_model, photos, monkeypatch, fit):
    model = Sequential.load(brightness_model)
    model.preprocessing = {**(model.preprocessing or {}), **({"fit": fit} if fit else {})}
    model.save("model.safetensors")
    convert, threads = images._convert_mode, []

    class Recorded(warnings.catch_warnings):
        def __enter__(self):
            threads.append(threading.current_thread())
            return super().__enter__()

    def convert_and_warn(image):
        warnings.warn_explicit("odd metadata", UserWarning, "x.py", 1, module="PIL.TiffImagePlugin")
        return convert(image)

    monkeypatch.setattr(images, "_convert_mode", convert_and_warn)
    monkeypatch.setattr(warnings, "catch_warnings", Recorded)
    assert run("predict", "model.safetensors", photos, "--invert", "no")[::2] == (0, "4 images: light 2, dark 2\n")
    assert set(threads) == {threading.main_thread()}


def test_links_that_lead_back(run, brightness_model, photos):
    (photos / "nested" / "back").symlink_to(photos.resolve(), target_is_directory=True)
    assert len(run("predict", brightness_model, photos)[1].splitlines()) == 4


def test_show_input_of_a_folder_does_not_overwrite_an_image(run, brightness_model, photos):
    before = (photos / "a.png").read_bytes()
    code, _, err = run("predict", brightness_model, photos, "--show-input", photos / "a.png")
    assert code == 1
    assert "is one of the images to read: give another name" in err
    assert (photos / "a.png").read_bytes() == before
    assert run("predict", brightness_model, photos, "--show-input", "sheet.png")[0] == 0
    with Image.open("sheet.png") as sheet:
        assert sheet.size == (4 * 288 + 8, 296)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--csv", "--json"], "not allowed with"), (["--csv", "--top", "2"], "argument --top: not with --csv")],
)
def test_options_that_exclude_each_other(run, brightness_model, arguments, says):
    code, _, err = run("predict", brightness_model, "a.png", *arguments)
    assert code == 2
    assert says in err


# Names


@needs_posix_names
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_strange_names_are_safe_and_can_be_recovered(process, brightness_model, encoding):
    folder = Path("=photos")
    folder.mkdir()
    for name in STRANGE:
        write_image(folder / name)
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = process("predict", brightness_model, folder, "--csv", **environment)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("cnn: compiling kernels")]
    assert (done.returncode, lines) == (0, [])
    assert len(done.stdout.splitlines()) == len(STRANGE) + 1
    assert done.stdout.replace("\n", "").isprintable()
    rows = rows_of(done.stdout)
    assert not any(cell.startswith(tuple("=+-@\t\r")) for row in rows for cell in row)
    assert {os.path.normpath(recovered(row[0])) for row in rows} == {str(folder / name) for name in STRANGE}
    done = process("predict", brightness_model, folder, "--json", **environment)
    assert done.stdout.isascii()
    assert {row["image"] for row in json_lines(done.stdout)} == {str(folder / name) for name in STRANGE}
    done = process("predict", brightness_model, folder, **environment)
    assert done.stdout.replace("\n", "").isprintable()
    assert len(done.stdout.splitlines()) == len(STRANGE)


@needs_posix_names
def test_errors_of_strange_names(run, brightness_model):
    for name in STRANGE:
        Path(name).touch()
    code, out, err = run("predict", brightness_model, "--csv", "--", *STRANGE)
    assert code == 1
    rows = rows_of(out)
    assert [os.path.normpath(recovered(row[0])) for row in rows] == STRANGE
    assert {row[5] for row in rows} == {"is empty (0 bytes)"}
    assert (out + err).replace("\n", "").isprintable()


@pytest.mark.parametrize("name", ["=1+2", "'quoted", "a,b", "\x1b[2J", "back\\slash", "＋1", "rose"])  # noqa: RUF001
def test_strange_classes(run, brightness_model, name):
    model = Sequential.load(brightness_model)
    model.class_names = [name, name + "2"]
    model.save("strange.safetensors")
    write_image("a.png")
    cell = rows_of(run("predict", "strange.safetensors", "a.png", "--csv")[1])[0][1]
    assert not cell.startswith(("=", "+", "＋"))  # noqa: RUF001
    assert recovered(cell.removeprefix("'")) == name
    assert cell == text_cell(name)


def test_the_cell_of_a_path_is_the_same_file():
    assert [path_cell(name) for name in ("a/b.png", "=a.png", "./=a.png")] == ["a/b.png", "./=a.png", "./=a.png"]


# In batches


def photo_model(shape=(3, 16, 16)):
    layers = [
        Conv2d(3, 8, 3, bias=False, rng=0),
        BatchNorm2d(8),
        ReLU(),
        Flatten(),
        Linear(8 * 14 * 14, 5, rng=1),
        Softmax(),
    ]
    model = Sequential(layers, loss_func=CrossEntropyLoss())
    model.input_shape = shape
    return model


def random_images(count):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
    return [ModelImage(one, (16, 16), 0.0, False, "") for one in pixels]


@pytest.mark.parametrize("backend", ["reference", "array", "jit"])
def test_an_image_gets_the_same_bits_alone_and_beside_others(backend):
    if backend == "jit" and not has_numba():
        pytest.skip("Numba is not installed")
    images = random_images(50)
    names = [str(i) for i in range(50)]
    model = photo_model()
    before = cnn.kernels.active()
    cnn.kernels.use(backend)
    try:
        together = [
            one.probabilities for one in predict_stream.predictions(model, names, lambda name: images[int(name)])
        ]
        alone = [
            next(predict_stream.predictions(model, [name], lambda name: images[int(name)])).probabilities
            for name in names
        ]
    finally:
        cnn.kernels.use(before)
    assert np.array_equal(together, alone)
    assert np.allclose(together, model.predict_proba(np.stack([one.pixels for one in images]) / 255), atol=1e-6)


def test_a_model_that_uses_statistics_of_the_batch_gets_one_image_at_a_time():
    model = Sequential(
        [
            Conv2d(3, 8, 3, bias=False, rng=0),
            BatchNorm2d(8, track_running_stats=False),
            Flatten(),
            Linear(8 * 14 * 14, 2),
            Softmax(),
        ],
        loss_func=CrossEntropyLoss(),
    )
    images = random_images(20)
    found = list(predict_stream.predictions(model, map(str, range(20)), lambda name: images[int(name)]))
    for image, one in zip(images, found, strict=True):
        assert np.array_equal(one.probabilities, model.predict_proba(model.preprocess(image.pixels[None]))[0])


def test_files_are_read_in_order_and_not_too_far_ahead():
    begun, lock = [], threading.Lock()

    def read(name):
        with lock:
            begun.append(name)
        return name

    names = [str(i) for i in range(1000)]
    reading = predict_stream.read_ahead(read, names)
    for position, name in enumerate(names[:500]):
        assert next(reading) == name
        assert len(begun) <= position + predict_stream.READ_AHEAD
    reading.close()
    assert len(begun) < 1000


def test_files_are_read_in_several_threads():
    together = threading.Barrier(2)

    def read(name):
        together.wait(timeout=60)  # fails unless another thread reads at the same time
        return name

    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core has one thread")
    assert list(predict_stream.read_ahead(read, "abcd")) == list("abcd")


def test_this_thread_reads_as_well_while_others_are_busy():
    """With a reader for each core besides this thread, threads would wait for each other."""
    begun, is_over, read_here = threading.Semaphore(0), threading.Event(), []

    def read(name):
        if threading.current_thread() is not threading.main_thread():
            begun.release()
            assert is_over.wait(timeout=20)
            return name
        if not read_here:
            assert begun.acquire(timeout=20)  # another thread holds a file
        read_here.append(name)
        if len(read_here) == 20:
            is_over.set()
        return name

    names = [str(i) for i in range(predict_stream.READERS + 20)]
    assert list(predict_stream.read_ahead(read, names)) == names
    assert len(read_here) >= 20
    assert 1 <= predict_stream.READERS < max(2, os.cpu_count() or 1)


def test_files_before_one_with_an_unexpected_error_are_given():
    given = []

    def read(name):
        if name == "5":
            raise RuntimeError("a bug")
        return name

    def take_all():
        for name in predict_stream.read_ahead(read, map(str, range(40))):
            given.append(name)

    with pytest.raises(RuntimeError, match="a bug"):
        take_all()
    assert given == list("01234")


def test_the_number_of_threads_is_as_before(run, brightness_model, photos):
    before = cnn.get_num_threads()
    assert run("predict", brightness_model, photos, "--json")[0] == 0
    assert cnn.get_num_threads() == before


def test_reading_stops_when_nobody_reads_the_output(brightness_model):
    Path("photos").mkdir()
    first = write_image("photos/0.png")
    for i in range(1, 3000):
        os.link(first, f"photos/{i}.png")
    program = (
        "import sys\nfrom cnn.cli import predict_images, predict\nfrom cnn.cli.main import main\n"
        "real, count = predict.read_for_model, []\n"
        "predict.read_for_model = lambda *given: (count.append(1), real(*given))[1]\n"
        "status = main(sys.argv[1:])\nprint(status, len(count), file=sys.stderr)\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
    command = [sys.executable, "-c", program, "predict", str(brightness_model), "photos", "--csv"]
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running.stdout.readline()
    running.stdout.close()
    status, count = running.stderr.read().split()
    running.stderr.close()
    running.wait(60)
    assert status == "0"
    assert int(count) < 3000
