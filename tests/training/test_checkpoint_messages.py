"""What errors and warnings say about checkpoints: advice that works, and names that are safe to print."""

import sys
import textwrap
import warnings

import numpy as np
import pytest

from cnn.core.files import locked
from cnn.core.text import printable_lines
from cnn.errors import CheckpointError, CheckpointWarning
from cnn.layers import Linear
from cnn.sequential import Sequential
from cnn.training import Checkpoint
from cnn.training.checkpoint_file import find_checkpoints, read, write
from tests.training.test_load_best import X, net, trained


def test_weights_of_a_model_with_another_head(tmp_path):
    """The advice to load some of a state is only given where there is a way to get that state."""
    trained(tmp_path)
    body = Sequential([Linear(3, 1, rng=5), Linear(1, 2, rng=5)])
    with pytest.raises(ValueError, match="of another model") as caught:
        Checkpoint(tmp_path).load_best(body)
    assert "2 of 4 fit: 0.weight, 0.bias" in str(caught.value)
    assert "state.items()" not in str(caught.value)
    other = Sequential([Linear(3, 1, rng=1), Linear(1, 3, rng=1)])
    other.save_weights(tmp_path / "other")
    with pytest.raises(ValueError, match="2 of 4 fit") as caught:
        body.load_weights(tmp_path / "other")
    _, _, advice = str(caught.value).partition("keep the rest of the model as it is: ")
    exec(textwrap.dedent(advice), {"model": body})  # it runs as it stands
    np.testing.assert_array_equal(body[0].weight.data, other[0].weight.data)


@pytest.mark.parametrize("load", [Sequential.load, lambda path: net().load_weights(path)], ids=["load", "load_weights"])
def test_without_a_best_epoch_only_resume_is_named(tmp_path, load):
    trained(tmp_path)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(ValueError, match=r"build the model, then model\.fit\(\.\.\., resume=") as caught:
        load(tmp_path / "step-00000004.safetensors")
    assert "load_best" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
def test_a_folder_with_control_characters_is_escaped_in_messages(tmp_path):
    folder = tmp_path / "ck\x1b[31mX"
    settings = {"epochs": 1, "batch_size": 8, "verbose_freq": 0, "rng": 0}
    messages = []

    def refused(x, outputs=1, **arguments):
        with pytest.raises((ValueError, OSError)) as caught:
            net(outputs).fit(x, X[:, :outputs], **settings, **arguments)
        messages.append(str(caught.value))

    refused(X, resume=folder)  # there is no such folder
    folder.mkdir()
    with pytest.warns(CheckpointWarning, match="has no checkpoint yet") as caught:
        net().fit(X, X[:, :1], **settings, resume=folder)
    messages.append(str(caught[0].message))
    trained(folder)
    refused(X, callbacks=[Checkpoint(folder)])
    refused(X + 1, callbacks=[Checkpoint(folder)], resume=folder)
    refused(X, 2, callbacks=[Checkpoint(folder)], resume=folder)
    with locked(folder):
        refused(X, callbacks=[Checkpoint(folder)])
    with pytest.raises(FileNotFoundError) as missing:
        net().save(folder / "missing" / "m")
    messages.append(str(missing.value))
    for message in messages:
        assert r"ck\x1b[31mX" in message
        assert printable_lines(message) == message


@pytest.mark.parametrize("key", ["loss", "callbacks", "transforms", "environment"])
def test_texts_in_a_crafted_checkpoint_are_escaped(key, tmp_path):
    settings = {"batch_size": 8, "verbose_freq": 0, "rng": 0}
    net().fit(X, X[:, :1], epochs=1, callbacks=[Checkpoint(tmp_path)], **settings)
    bad = "x\x1b[31m"
    path, *older = find_checkpoints(tmp_path)
    for other in older:
        other.unlink()
    arrays, state = read(path)
    state |= {"callbacks": {"callbacks": [[bad, None]], "settings": None}}.get(
        key, {key: {"loss": bad, "transforms": [bad], "environment": {"cnn": bad}}.get(key)}
    )
    write(path, arrays, state)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            net().fit(X, X[:, :1], epochs=2, resume=tmp_path, **settings)
        except CheckpointError as error:
            message = str(error)
        else:
            message = str(caught[0].message)
    assert r"x\x1b[31m" in message
    assert message == printable_lines(message)
