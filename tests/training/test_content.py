"""What a checkpoint holds is checked: damage leads to an older file, a crafted value to one error that names it."""

import json

import numpy as np
import pytest
from safetensors.numpy import save

from cnn.core.files import read_tensors
from cnn.errors import CheckpointError, CheckpointWarning
from cnn.layers import Dropout, Linear, ReLU
from cnn.loss import MSELoss
from cnn.optim import SGD
from cnn.sequential import Sequential
from cnn.training import Checkpoint, checkpoint_file
from cnn.training.callbacks import EarlyStopping, TimeBudget

X = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)


def net():
    layers = [Linear(3, 4, rng=0), Dropout(0.5, rng=1), ReLU(), Linear(4, 1, rng=2)]
    return Sequential(layers, loss_func=MSELoss(), optimizer=SGD(lr=0.1, momentum=0.9))


def train(folder, epochs=1, resume=None, model=None, callbacks=(), keep=1, rng=3):
    model = net() if model is None else model
    model.fit(
        X,
        X[:, :1],
        epochs=epochs,
        batch_size=4,
        rng=rng,
        verbose_freq=0,
        resume=resume,
        callbacks=[*callbacks, Checkpoint(folder, keep=keep)],
    )
    return model


def rewrite(path, change):
    """Change the state in a checkpoint, and compute its checksum again."""
    arrays, text = read_tensors(path)
    change(text["state"])
    checkpoint_file.write(path, arrays, text["state"])


def latest(folder):
    return checkpoint_file.find_checkpoints(folder)[0]


@pytest.mark.parametrize("key", ["state", "sha256", "checkpoint", "cnn", "first", "model.0.weight", "$array"])
def test_a_flipped_byte_in_a_key_leads_to_the_older_file(tmp_path, key):
    train(tmp_path, epochs=2, keep=2)
    newest, older = checkpoint_file.find_checkpoints(tmp_path)
    data = newest.read_bytes()
    for quote in ('"', '\\"'):
        data = data.replace(f"{quote}{key}{quote}".encode(), f"{quote}{key[:-1]}_{quote}".encode(), 1)
    assert data != newest.read_bytes()
    newest.write_bytes(data)
    with pytest.warns(CheckpointWarning, match=rf"{newest.name} .*using {older.name}"):
        model = train(tmp_path, epochs=2, resume=tmp_path)
    assert len(model.history) == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.update(first=2**63), r"first must be an integer from 0 to 2\*\*53, got 9223372036854775808"),
        (lambda s: s.update(first=5), r"loader.epoch must be first \+ epoch = 6, got 1"),
        (lambda s: s.update(epoch=-1), r"epoch must be an integer from 0"),
        (lambda s: s.update(step=True), r"step must be an integer from 0 to 2\*\*53, got True"),
        (lambda s: s.update(stopped=0), r"stopped must be true or false, got 0"),
        (lambda s: s.update(means=[1.0]), r"means must be a list of 4 items, got \[1.0\]"),
        (lambda s: s.update(input_shape=[2**70]), r"input_shape\[0\] must be an integer from 0 to 2147483647"),
        (lambda s: s["history"].update(val_loss=[]), r"history.val_loss must be a list of 1 items"),
        (lambda s: s["history"].pop("val_loss"), r"history has no val_loss"),
        (lambda s: s.pop("loader"), r"state has no loader"),
        (lambda s: s["loader"].update(taken=1), r"loader.taken must be the number of the step, 2, got 1"),
        (lambda s: s["loader"].update(epoch=None), r"loader.epoch must be an integer"),
        (lambda s: s["loader"].pop("rng"), r"the loader: state of a random generator must be a dict"),
        (lambda s: s["loader"]["rng"].update(has_uint32=2), r"the loader: has_uint32 of a random generator must be"),
        (
            lambda s: s["random"]["model"].popitem(),
            r"the random generators: random.model must have the states of 1.rng",
        ),
        (lambda s: s["random"]["default"].update(children=-1), r"children must be an integer from 0"),
        (lambda s: s["random"]["default"].update(entropy="x"), r"entropy and key must be integers"),
        (lambda s: s["architecture"].update(tensors=[]), r"architecture.tensors must be a dict, got \[\]"),
        (lambda s: s["data"].update(sample_shape="x"), r"data.sample_shape must be a list, got 'x'"),
        (lambda s: s.update(callbacks=[["EarlyStopping"]]), r"callbacks\[0\] must be a list of 2 items"),
        (lambda s: s["callbacks"][0][1].update(waited=-1), r"callback EarlyStopping: waited must be an integer"),
        (lambda s: s["callbacks"][0][1].update(weights={}), r"callback EarlyStopping: weights belong to another model"),
        (lambda s: s["callbacks"][1][1].update(seconds=float("nan")), r"callback TimeBudget: seconds must be a finite"),
    ],
)
def test_a_crafted_state_is_one_error_that_changes_nothing(tmp_path, change, says):
    def callbacks():
        return [EarlyStopping(patience=9, monitor="train_loss"), TimeBudget(minutes=9)]

    train(tmp_path, callbacks=callbacks())
    rewrite(latest(tmp_path), change)
    model = net()
    before = model.state_dict(), model.optimizer.state_dict(), model[1].rng.bit_generator.state
    with pytest.raises(CheckpointError, match=says) as caught:
        train(tmp_path, epochs=2, resume=tmp_path, model=model, callbacks=callbacks())
    assert str(latest(tmp_path)) in str(caught.value)
    np.testing.assert_equal(
        (model.state_dict(), model.optimizer.state_dict(), model[1].rng.bit_generator.state), before
    )


@pytest.mark.parametrize(
    "change",
    [lambda a: a.astype(np.float64), lambda a: a.reshape(-1), lambda a: a[None], lambda a: np.full_like(a, np.nan)],
)
def test_crafted_weights(tmp_path, change):
    train(tmp_path)
    arrays, text = read_tensors(latest(tmp_path))
    arrays["model.0.weight"] = change(arrays["model.0.weight"])
    checkpoint_file.write(latest(tmp_path), arrays, text["state"])
    with pytest.raises(CheckpointError, match=r"0\.weight"):
        train(tmp_path, epochs=2, resume=tmp_path)


@pytest.mark.parametrize("depth", [201, 1000, 1_000_000])
@pytest.mark.parametrize("key", ["state", "sha256", "extra"])
def test_json_that_is_nested_too_deeply(tmp_path, depth, key):
    train(tmp_path, epochs=2, keep=2)
    newest = latest(tmp_path)
    arrays, text = read_tensors(newest)
    deep = json.dumps({**text, key: "@"}).replace('"@"', "[" * depth + "]" * depth)
    newest.write_bytes(save(arrays, {"cnn": deep}))
    with pytest.warns(CheckpointWarning, match="nested more than 200 levels deep.*using"):
        train(tmp_path, epochs=2, resume=tmp_path)


def test_brackets_in_strings_are_not_nesting(tmp_path):
    model = Sequential([Linear(2, 2)])
    model.class_names = ["[" * 500, '\\"' + "{" * 500]
    model.save(tmp_path / "m")
    assert Sequential.load(tmp_path / "m").class_names == model.class_names


def test_positions_of_generators_that_compiled_code_trusts(tmp_path):
    for kind, key in ((np.random.MT19937, "pos"), (np.random.Philox, "buffer_pos")):
        folder = tmp_path / kind.__name__
        train(folder, rng=np.random.Generator(kind(1)))

        def change(state, key=key):
            saved = state["loader"]["rng"]
            (saved if key in saved else saved["state"])[key] = 10**6

        rewrite(latest(folder), change)
        with pytest.raises(CheckpointError, match=rf"{key} of a random generator must be an integer from 0 to"):
            train(folder, epochs=2, resume=folder, rng=np.random.Generator(kind(1)))


def test_a_callback_of_ones_own_that_stumbles(tmp_path):
    class Own:
        def __call__(self, step):
            pass

        def state_dict(self):
            return {"a": 1}

        def load_state_dict(self, state):
            state["b"]

    train(tmp_path, callbacks=[Own()])
    with pytest.raises(CheckpointError, match=r"step-00000002.safetensors does not fit: callback Own: KeyError: 'b'"):
        train(tmp_path, epochs=2, resume=tmp_path, callbacks=[Own()])
