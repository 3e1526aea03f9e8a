"""Resume from crafted checkpoints and load crafted model files, in a process of its own: one line of JSON for each.

    python tests/training/crafted.py FOLDER PART PARTS

A case is the replacement of one value in the JSON of a file, or of one array, or some flipped bytes; the checksum is
computed again. Each either works (it trains on, or predicts) or raises an error of this library.
"""

import copy
import json
import signal
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np
from safetensors.numpy import save

import cnn
from cnn.core.files import read_tensors
from cnn.layers import BatchNorm1d, Conv2d, Dropout, Flatten, Linear, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam, ReduceLROnPlateau, StepLR
from cnn.sequential import Sequential
from cnn.training import Checkpoint, checkpoint_file
from cnn.training.callbacks import Averaged, EarlyStopping, Scheduled, TimeBudget
from cnn.training.health import Health
from cnn.training.logs import CSVLog

SECONDS = 30  # for one case, which takes some milliseconds
DEEP, DEEPER = "@deep@", "@deeper@"  # replaced in the text, because no writer nests so deeply
NESTED = {DEEP: 150, DEEPER: 100_000}
VALUES = [True, None, float("nan"), float("inf"), -1, 0, 1.5, 2**63, 2**70, "", "x", [], {}, [[1]], {"$array": "no"}]
VALUES += [DEEP, DEEPER, "missing", "extra"]
X = np.random.default_rng(0).standard_normal((10, 2, 3, 3)).astype(np.float32)
Y = np.arange(10) % 3


class Hang(BaseException):
    """A case took longer than `SECONDS`."""


def net():
    cnn.manual_seed(5)
    layers = [Conv2d(2, 3, 2, rng=0), ReLU(), Flatten(), Linear(12, 4, rng=1), BatchNorm1d(4), Dropout(0.2, rng=2)]
    model = Sequential([*layers, Linear(4, 3, rng=3), Softmax()], loss_func=CrossEntropyLoss(), optimizer=Adam())
    model.class_names = ["a", "b", "c"]
    model.preprocessing = {"scale": 0.5, "mean": [0.1, 0.2], "std": [1.0, 2.0]}
    return model


def train(folder, epochs, resume=None):
    model = net()
    callbacks = [
        EarlyStopping(patience=9),
        Averaged(0.9),
        Scheduled(ReduceLROnPlateau(model.optimizer), monitor="val_loss"),
        Scheduled(StepLR(model.optimizer, 4), every="step"),
        TimeBudget(minutes=9),
        Health(X[:4], Y[:4]),
        CSVLog(folder.parent / "log.csv"),
        Checkpoint(folder, steps=3, keep=1),
    ]
    settings = {"epochs": epochs, "batch_size": 4, "rng": np.random.Generator(np.random.MT19937(1))}
    model.fit(X, Y, validation_data=(X, Y), verbose_freq=0, callbacks=callbacks, resume=resume, **settings)
    return model


def paths(value, path=()):
    """Yield the path of every value inside a JSON value; of a list of numbers only the first two."""
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*path, key))


def replaced(description, path, new):
    """Return a copy in which the value at ``path`` is new, missing, or has a neighbour; None if that is impossible."""
    description = copy.deepcopy(description)
    parent = description
    for key in path[:-1]:
        parent = parent[key]
    if new == "missing":
        del parent[path[-1]]
    elif new == "extra":
        if isinstance(parent, dict):
            parent["extra"] = 1
        else:
            parent.append(copy.deepcopy(parent[path[-1]]))
    else:
        parent[path[-1]] = new
    return description


def changed_arrays(arrays, name):
    """Yield what is done to one array, and the arrays with that."""
    array = arrays[name]
    flat = array.reshape(-1)
    others = {
        **{kind: array.astype(kind) for kind in ("int8", "int64", "float16", "float64", "bool")},
        "0-d": np.array(1, array.dtype),
        "empty": flat[:0],
        "flat": flat,
        "axis": array[None],
        "longer": np.concatenate([flat, flat]),
        "nan": np.full_like(array, np.nan, dtype="float32"),
    }
    for what, other in others.items():
        yield what, {**arrays, name: other}
    yield "missing", {key: a for key, a in arrays.items() if key != name}
    yield "extra", {**arrays, f"{name}.extra": array}


def write(path, arrays, description):
    """Write a file without the checks of the library."""
    text = json.dumps(description, sort_keys=True)
    for word, depth in NESTED.items():
        text = text.replace(f'"{word}"', "[" * depth + "]" * depth)
    path.write_bytes(save({name: np.array(array, order="C") for name, array in arrays.items()}, {"cnn": text}))


def sealed(arrays, state):
    """Return the description of a checkpoint with the right checksum."""
    nested = json.loads(json.dumps(state).replace(f'"{DEEP}"', "[" * 150 + "]" * 150))
    return {"checkpoint": 1, "sha256": checkpoint_file.checksum(arrays, nested), "state": state}


def cases(arrays, description, per_path, per_array):
    """Yield names, arrays and descriptions of the cases: some changes of each value and array, with a fixed seed."""
    rng = np.random.default_rng(17)
    for path in paths(description):
        name = ".".join(map(str, path))
        for index in rng.permutation(len(VALUES))[:per_path]:
            new = VALUES[index]
            yield f"{name} = {new!r:.30}", arrays, replaced(description, path, new)
    for name in arrays:
        changes = list(changed_arrays(arrays, name))
        for index in rng.permutation(len(changes))[:per_array]:
            what, changed = changes[index]
            yield f"{name} {what}", changed, description


def flips(whole, count):
    """Yield copies of a file with some bytes changed: most of them in its header, where one changes a key."""
    rng = np.random.default_rng(3)
    header = 8 + int.from_bytes(whole[:8], "little")
    for i in range(count):
        data = bytearray(whole)
        for position in rng.integers(0, header if i % 4 else len(whole), 1 + i % 2):
            data[position] ^= 1 << int(rng.integers(8))
        yield f"flip {i}", bytes(data)


def resume(path, log):
    (path.parent.parent / "log.csv").write_bytes(log)
    train(path.parent, epochs=4, resume=path.parent)


def predict(path):
    model = Sequential.load(path)
    shape = model.input_shape or X.shape[1:]
    model.preprocess(np.zeros((1, *shape)))
    ids = model.predict(np.ones((2, *shape), np.float32))
    return [model.class_names[k] for k in ids] if model.class_names else ids


def outcome(action):
    """Return "works", or how the error ends; "raw" if it is not one of the library's."""
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        action()
    except Hang:
        return "raw", "hangs"
    except Exception as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        last = traceback.extract_tb(error.__traceback__)[-1]
        is_ours = str(Path(cnn.__file__).parent) in last.filename and "raise " in "".join(
            Path(last.filename).read_text().splitlines(True)[last.lineno - 1 : last.end_lineno]
        )
        is_kind = isinstance(error, (ValueError, FloatingPointError, FileNotFoundError, FileExistsError))
        return "error" if is_ours and is_kind else "raw", f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "works", ""


def main(folder, part, parts):
    def alarm(*_):
        raise Hang

    signal.signal(signal.SIGALRM, alarm)
    warnings.simplefilter("ignore")
    checkpoints = folder / "checkpoints"
    train(checkpoints, epochs=2)
    log = (folder / "log.csv").read_bytes()
    original = checkpoint_file.find_checkpoints(checkpoints)[0]
    arrays, text = read_tensors(original)
    whole, state = original.read_bytes(), text["state"]
    model_file = folder / "model.safetensors"
    net_ = net()
    net_.input_shape = X.shape[1:]
    net_.save(model_file)
    model_arrays, model_description = read_tensors(model_file)
    model_whole = model_file.read_bytes()

    def fresh():
        for other in checkpoints.iterdir():
            other.unlink()
        return original

    def all_cases():
        for name, changed, new in cases(arrays, state, 3, 4):
            yield "checkpoint", name, lambda changed=changed, new=new: write(fresh(), changed, sealed(changed, new))
        for name, data in flips(whole, 60):
            fixed = folder / "flipped.safetensors"
            fixed.write_bytes(data)
            try:
                flipped, description = read_tensors(fixed)
                description = sealed(flipped, description["state"])
                yield "checkpoint", f"{name} sealed", lambda a=flipped, d=description: write(fresh(), a, d)
            except (ValueError, KeyError, TypeError):
                yield "checkpoint", name, lambda data=data: fresh().write_bytes(data)
        for name, changed, new in cases(model_arrays, model_description, 4, 12):
            yield "model", name, lambda changed=changed, new=new: write(model_file, changed, new)
        for name, data in flips(model_whole, 60):
            yield "model", name, lambda data=data: model_file.write_bytes(data)

    for number, (kind, name, prepare) in enumerate(all_cases()):
        if number % parts != part:
            continue
        prepare()
        print(json.dumps({"kind": kind, "case": name}), end="\t", flush=True)  # it stays if the process dies
        result = outcome((lambda: resume(original, log)) if kind == "checkpoint" else (lambda: predict(model_file)))
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
