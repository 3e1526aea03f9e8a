"""Does `cnn predict RUN FOLDER --csv` take at most 20 % longer than reading the images? Prints seconds and the ratio.

python benchmarks/predict_folder.py [ROUNDS] [IMAGES]

Writes IMAGES JPEG files of 640 x 480 pixels (default 1,000) and a net of `cnn train FOLDER` (photo-cnn, untrained, 10
classes, 64 x 64 pixels) to a temporary folder. Then, in turn, ROUNDS times (default 5): reads all files as the command
does, in the same threads, without the net; and runs the command in this process. Last, once, the command in a new
process, which has to import the library first.
"""

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cnn import zoo
from cnn.cli.main import main as command
from cnn.cli.predict_images import files_in, read_for_model
from cnn.cli.predict_stream import read_ahead
from cnn.loss import CrossEntropyLoss

TARGET = 1.2
SIZE = 64


def write_images(folder, count):
    """Write smooth random images with a little noise, in JPEG files of about 80 kB."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-12, 13, (480, 640, 3), dtype=np.int16)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((640, 480), Image.Resampling.BICUBIC), dtype=np.int16)
        pixels = (smooth + np.roll(noise, i, axis=0)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:05}.jpg", quality=85)
    return sum(path.stat().st_size for path in folder.iterdir()) / count


def save_model(path):
    model = zoo.photo_cnn((3, SIZE, SIZE), 10)
    model.loss_func, model.input_shape = CrossEntropyLoss(), (3, SIZE, SIZE)
    model.preprocessing = {
        "scale": 1 / 255,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.3, 0.3, 0.3],
        "size": [SIZE, SIZE],
        "colour": "rgb",
        "fit": "squashed",
    }
    model.save(path)
    return model


def seconds_to_read(folder, model):
    began = time.perf_counter()
    for _ in read_ahead(
        lambda name: read_for_model(name, model.input_shape, "auto", model.preprocessing), files_in(folder)
    ):
        pass
    return time.perf_counter() - began


def seconds_to_predict(folder, path, count):
    printed = io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stdout(printed):
        status = command(["predict", str(path), str(folder), "--csv"])
    elapsed = time.perf_counter() - began
    assert status == 0
    assert len(printed.getvalue().splitlines()) == count + 1
    return elapsed


def main(rounds=5, count=1000):
    with tempfile.TemporaryDirectory() as place:
        folder, path = Path(place, "photos"), Path(place, "model.safetensors")
        folder.mkdir()
        size = write_images(folder, count)
        model = save_model(path)
        print(f"{count:,} JPEG files of 640 x 480 pixels, {size / 1000:.0f} kB each; {os.cpu_count()} cores")
        seconds_to_predict(folder, path, count)  # compiles, and brings the files into the memory of the system
        pairs = [(seconds_to_read(folder, model), seconds_to_predict(folder, path, count)) for _ in range(rounds)]
        began = time.perf_counter()
        program = [sys.executable, "-m", "cnn", "predict", str(path), str(folder), "--csv"]
        subprocess.run(program, stdout=subprocess.DEVNULL, check=True)
        whole = time.perf_counter() - began
    read, predicted = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(second / first for first, second in pairs)
    print(f"reading alone        {read:.2f} s, median of {rounds}")
    print(f"cnn predict --csv    {predicted:.2f} s, median of {rounds}")
    verdict = "reached" if ratio <= TARGET else "not reached"
    print(f"ratio                {ratio:.2f}, median of {rounds}; at most {TARGET}: {verdict}")
    print(f"in a new process     {whole:.2f} s")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
