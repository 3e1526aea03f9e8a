"""`cnn explore --live`."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest

import cnn
import cnn.explore.live
from cnn.cli import explore_live
from cnn.layers import Flatten, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss, MSELoss
from cnn.sequential import Sequential
from tests.cli.example_files import write_image

needs_signals = pytest.mark.skipif(os.name == "nt", reason="Windows has no signals for one process")


def test_arguments_that_do_not_fit_together(run, brightness_model):
    for words, expected in (
        (["--live", "--out", "a.html"], "argument --out: not with --live, which writes no file"),
        (["--port", "8000"], "argument --port: only with --live"),
        (["--live", "--port", "0"], "argument --port: expected a number from 1 to 65535, got 0"),
        (["--live", "--port", "65536"], "argument --port: expected a number from 1 to 65535, got 65536"),
        (["--live", "--port", "x"], "argument --port: invalid int value: 'x'"),
    ):
        code, _, err = run("explore", brightness_model, *words)
        assert (code, expected in err) == (2, True), err


def test_a_port_that_is_taken_is_said_before_the_page_is_made(run, brightness_model):
    write_image("a.png")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run("explore", brightness_model, "--images", "a.png", "--live", "--port", port)
    reason = os.strerror(errno.EADDRINUSE)
    assert (code, out) == (1, "")
    assert (
        err == f"error: port {port} cannot be used ({reason}): give another one, or leave out --port for a free one\n"
    )


@pytest.mark.parametrize("name", ["starlette", "uvicorn"])
def test_without_the_extra(run, brightness_model, monkeypatch, name):
    monkeypatch.delitem(sys.modules, "cnn.explore.live", raising=False)
    monkeypatch.delattr(cnn.explore, "live", raising=False)
    for each in [each for each in sys.modules if each.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, each)
    monkeypatch.setitem(sys.modules, name, None)
    code, _, err = run("explore", brightness_model, "--live")
    assert code == 1
    assert 'error: --live needs starlette and uvicorn: pip install "cnn[live]"' in err


def test_a_model_that_takes_no_images(run):
    model = Sequential([Linear(2, 8, rng=0), ReLU(), Linear(8, 3, rng=1), Softmax()], loss_func=CrossEntropyLoss())
    model.input_shape = (2,)
    model.save("points.safetensors")
    code, _, err = run("explore", "points.safetensors", "--live")
    assert (code, err) == (1, "error: the model takes 2 numbers, not images to draw: leave out --live\n")


@pytest.mark.parametrize("channels", [1, 3])
def test_without_images_it_starts_with_an_empty_one(run, monkeypatch, channels):
    model = Sequential([Flatten(), Linear(channels * 64, 2, rng=0), Softmax()], loss_func=CrossEntropyLoss())
    model.input_shape = (channels, 8, 8)
    model.save("m.safetensors")
    served = []
    monkeypatch.setattr(cnn.explore.live, "serve", lambda *given: served.append(given))
    code, out, err = run("explore", "m.safetensors", "--live")
    assert (code, out.startswith("http://127.0.0.1:"), "error" in err) == (0, True, False)
    text, about, _, _, answer = served[0]
    assert "No image was given: the numbers are those of an empty image. Draw one below" in text
    assert about == {"dark": channels == 1}
    assert "nothing drawn yet" in text
    write_image("a.png")
    assert b'"a.png"' in answer(Path("a.png").read_bytes(), "a.png", None)
    code, _, err = run("explore", "m.safetensors")
    assert (code, "give images, --images FOLDER or FILE ..., or draw them with --live" in err) == (1, True)


def test_an_answer_lacks_what_the_page_lacks(run, brightness_model, monkeypatch):
    given = []
    monkeypatch.setattr(cnn.explore.live, "serve", lambda *each: given.append(each[4]))
    monkeypatch.setattr(explore_live, "pack_image", lambda *each: given.append(each) or ({}, b""))
    write_image("a.png")
    pages = cnn.explore.page
    monkeypatch.setattr(cnn.explore, "page", lambda *each, **options: pages(*each, **options, limit=500))
    assert run("explore", brightness_model, "--images", "a.png", "--live")[0] == 0
    given[0](Path("a.png").read_bytes(), "a.png", None)
    assert "1.weight" in given[1][-1]


def test_nan_weights(run, brightness_model):
    write_image("a.png")
    model = Sequential.load(brightness_model)
    model[1].weight.data = np.full((2, 64), np.nan)
    model.save("nan.safetensors")
    code, _, err = run("explore", "nan.safetensors", "--images", "a.png", "--live")
    assert (code, "NaN" in err) == (1, True)


class Started:
    """The command in a process of its own; `address` is what it prints first."""

    def __init__(self, *arguments, **options):
        env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1])}
        command = [sys.executable, "-m", "cnn", "explore", *map(str, arguments), "--live"]
        self.process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
        )
        self.address = self.process.stdout.readline().strip()

    def send(self, path):
        with urllib.request.urlopen(f"{self.address}images?name=a.png", Path(path).read_bytes(), timeout=60) as answer:
            body = answer.read()
        length = int.from_bytes(body[:4], "little")
        return json.loads(body[4 : 4 + length])["image"]

    def stop(self, number=signal.SIGINT):
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


def test_a_port_that_is_given_and_a_model_without_classes():
    model = Sequential([Flatten(), Linear(64, 2, rng=0)], loss_func=MSELoss())
    model.input_shape = (1, 8, 8)
    model.save("m.safetensors")
    write_image("a.png", background=20, square=200)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = Started("m.safetensors", "--images", "a.png", "--port", port)
    assert started.address.startswith(f"http://127.0.0.1:{port}/")
    entry = started.send("a.png")
    assert (entry["probabilities"], entry["label"]) == (None, 0.0)
    code, out, err = started.stop()
    assert (code, out) == (130, "")
    assert err.splitlines()[-2:] == [
        "open this address in a browser on this machine; Ctrl-C ends the server",
        "interrupted",
    ]


def test_each_start_has_another_token(run, brightness_model, monkeypatch):
    write_image("a.png")
    tokens = []
    monkeypatch.setattr(cnn.explore.live, "serve", lambda text, about, listener, token, answer: tokens.append(token))
    for _ in range(2):
        code, out, _ = run("explore", brightness_model, "--images", "a.png", "--live")
        assert code == 0
        assert out.startswith("http://127.0.0.1:")
        assert out.endswith(f"/{tokens[-1]}/\n")
    assert tokens[0] != tokens[1]
    assert all(len(token) >= 20 for token in tokens)


SLOW = """
import sys, time
from cnn.cli import explore_live
from cnn.cli.main import main
def slow(*_, **__):
    print("computing", file=sys.stderr, flush=True)
    time.sleep(3600)
explore_live.pack_image = slow
sys.exit(main(sys.argv[1:]))
"""

OWN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
"""


@needs_signals
@pytest.mark.parametrize("busy", [False, True])
def test_ctrl_c_in_a_terminal_ends_it_at_once(brightness_model, busy):
    import pty

    write_image("a.png")
    ours, theirs = pty.openpty()
    env = os.environ | {"PYTHONPATH": str(Path(cnn.__file__).parents[1]), "TERM": "xterm"}
    command = [
        sys.executable,
        "-c",
        OWN_TERMINAL,
        SLOW,
        "explore",
        str(brightness_model),
        "--images",
        "a.png",
        "--live",
    ]
    running = subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    output = b""

    def read_until(text):
        nonlocal output
        while text not in output:
            output += os.read(ours, 65536)

    read_until(b"ends the server\r\n")
    address = next(word for word in output.decode().split() if word.startswith("http://"))
    if busy:

        def ask():
            with pytest.raises((OSError, urllib.error.HTTPError)):
                urllib.request.urlopen(f"{address}images?name=a.png", Path("a.png").read_bytes(), timeout=600)

        asking = threading.Thread(target=ask)
        asking.start()
        read_until(b"computing\r\n")
    os.write(ours, b"\x03")
    status = running.wait(timeout=60)  # the image takes longer
    if busy:
        asking.join(timeout=60)
        assert not asking.is_alive()
    try:
        while part := os.read(ours, 65536):
            output += part
    except OSError:  # the terminal is closed
        pass
    os.close(ours)
    assert status == 130
    assert b"Traceback" not in output
    assert output.endswith(b"interrupted\r\n")


def test_how_the_images_are_drawn():
    dark = np.zeros((3, 1, 8, 8), np.uint8)
    dark[:, :, 2:6, 2:6] = 255
    assert explore_live._is_dark(dark)
    assert not explore_live._is_dark(255 - dark)
