"""A training run interrupted at any step and resumed ends with the same bits as an uninterrupted one."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import cnn
from cnn import Sequential, training
from cnn.core import files
from cnn.data import DataLoader
from cnn.errors import CheckpointError, CheckpointWarning
from cnn.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, ReLU, Softmax
from cnn.loss import CrossEntropyLoss
from cnn.optim import (
    SGD,
    Adam,
    AdamW,
    ChainedScheduler,
    CosineAnnealingLR,
    Muon,
    NAdam,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
    decay_groups,
)
from cnn.training import Averaged, Checkpoint, EarlyStopping, Scheduled, checkpoint, checkpoint_file

EPOCHS, BATCH, SAMPLES = 3, 8, 30
STEPS = 4 * EPOCHS


def data(seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((SAMPLES, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, SAMPLES)


def make(optimizer=None, width=4):
    cnn.manual_seed(3)
    model = Sequential(
        [
            *(Conv2d(1, width, 3, padding=1, bias=False), BatchNorm2d(width), ReLU(), MaxPool2d(2)),
            *(Flatten(), Linear(16 * width, 8), ReLU(), Dropout(0.3), Linear(8, 3), Softmax()),
        ],
        loss_func=CrossEntropyLoss(),
    )
    model.optimizer = Adam(lr=0.01) if optimizer is None else optimizer(model)
    return model


def train(folder, stop=None, resume=False, optimizer=None, epochs=EPOCHS, every=1, **settings):
    """Train with a learning rate that the loop sets; leave the loop at step ``stop``, from 1, before its checkpoint."""
    model = make(optimizer)
    x, y = data()
    settings = {"rng": 7, "validation_data": (x[:10], y[:10])} | settings
    steps = training.train(
        model,
        *(x, y),
        epochs=epochs,
        batch_size=BATCH,
        callbacks=[Checkpoint(folder, steps=every)],
        resume=folder if resume else None,
        **settings,
    )
    for step in steps:
        number = (step.epoch - 1) * step.steps + step.step
        model.optimizer.lr = 0.01 * (1 - number / STEPS) + 1e-4
        if number == stop:
            break
    return model


def everything(model, folder):
    """Everything that must be the same: weights, buffers, optimizer state, history, and the file of the last step."""
    metrics = {name: values for name, values in vars(model.history).items() if name != "seconds"}
    last = checkpoint.find_checkpoints(Path(folder))[0]
    return model.state_dict(), model.optimizer.state_dict(), metrics, last.name, last.read_bytes()


def assert_same(a, b):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_equal(one, other)


OPTIMIZERS = {
    "Adam": None,
    "SGD": lambda model: SGD(lr=0.01, momentum=0.9, nesterov=True),
    "AdamW in groups": lambda model: AdamW(decay_groups(model, 0.1), lr=0.01),
    "NAdam": lambda model: NAdam(lr=0.01),
    "Muon": lambda model: Muon([p for p in model.parameters() if p.data.ndim > 1], lr=0.01),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_interrupted_at_every_step(tmp_path, optimizer):
    expected = everything(train(tmp_path / "uninterrupted", optimizer=optimizer), tmp_path / "uninterrupted")
    for stop in range(1, STEPS + 1):
        folder = tmp_path / str(stop)
        train(folder, stop=stop, optimizer=optimizer)
        assert_same(everything(train(folder, resume=True, optimizer=optimizer), folder), expected)


def test_interrupted_several_times_and_resumed_from_an_older_checkpoint(tmp_path):
    expected = everything(train(tmp_path / "uninterrupted"), tmp_path / "uninterrupted")
    folder = tmp_path / "interrupted"
    train(folder, stop=4, every=3)
    train(folder, stop=6, every=3, resume=True)
    train(folder, stop=5, every=3, resume=True)
    assert_same(everything(train(folder, resume=True), folder), expected)


@pytest.mark.parametrize("stop", [1, 2, 5, 9])
def test_one_generator_for_everything(tmp_path, stop):
    """The order of the samples and dropout may use the same generator."""

    def run(folder, **settings):
        model = make()
        x, y = data()
        rng = model[7].rng
        steps = training.train(
            model, x, y, epochs=EPOCHS, batch_size=BATCH, rng=rng, callbacks=[Checkpoint(folder, steps=1)], **settings
        )
        for i, _ in enumerate(steps, 1):
            if i == stop and "resume" not in settings and folder.name != "uninterrupted":
                break
        return everything(model, folder)

    expected = run(tmp_path / "uninterrupted")
    run(tmp_path / "interrupted")
    assert_same(run(tmp_path / "interrupted", resume=tmp_path / "interrupted"), expected)


def test_more_epochs(tmp_path):
    def fit(folder, epochs, **settings):
        model = make()
        model.fit(
            *data(),
            epochs=epochs,
            batch_size=BATCH,
            rng=0,
            verbose_freq=0,
            callbacks=[Checkpoint(folder, steps=1)],
            **settings,
        )
        return everything(model, folder)

    expected = fit(tmp_path / "uninterrupted", 3)
    fit(tmp_path / "more", 1)
    assert_same(fit(tmp_path / "more", 3, resume=tmp_path / "more"), expected)
    again = fit(tmp_path / "more", 3, resume=tmp_path / "more")  # which is already finished
    assert_same(again, expected)
    with pytest.raises(CheckpointError, match="training has already reached epoch 3: epochs=2 is too few"):
        fit(tmp_path / "more", 2, resume=tmp_path / "more")


def test_a_callback_stops_training(tmp_path):
    ended = []

    class Stop:
        def __call__(self, step):
            return step.epoch == 2 and step.step == 3

        def end(self, step):
            ended.append((step.epoch, step.step, step.model is model))

    for resume in (None, tmp_path):
        model = make()
        model.fit(
            *data(), batch_size=BATCH, verbose_freq=0, callbacks=[Stop(), Checkpoint(tmp_path, epochs=9)], resume=resume
        )
    assert ended == [(2, 3, True)] * 2  # resumed, it is still at its end


def test_only_true_stops_training():
    model = make()
    model.fit(*data(), epochs=3, verbose_freq=0, callbacks=[lambda step: np.float32(step.loss) < 1e9])
    assert len(model.history) == 1
    model.fit(*data(), epochs=1, batch_size=BATCH, verbose_freq=0, callbacks=[lambda step: 1, lambda step: "yes"])
    assert len(model.history) == 1
    for wrong, text in (
        ([3], "cannot be called"),
        ([Checkpoint], r"is a class: write Checkpoint\(...\)"),
        (print, "must be a list"),
    ):
        with pytest.raises(TypeError, match=text):
            model.fit(*data(), callbacks=wrong)
    with pytest.raises(TypeError, match="resume is the folder"):
        model.fit(*data(), resume=Checkpoint("x"))


def test_which_checkpoints_are_kept(tmp_path):
    model = make()
    x, y = data()
    settings = {"validation_data": (x, y), "batch_size": BATCH, "epochs": 4, "verbose_freq": 0}
    model.fit(x, y, callbacks=[Checkpoint(tmp_path, steps=2, keep=3, best="val_loss")], **settings)
    assert [path.name for path in checkpoint.find_checkpoints(tmp_path)] == [
        f"step-{n:08}.safetensors" for n in (16, 14, 12)
    ]
    best = checkpoint_file.read(tmp_path / "best.safetensors")[1]
    assert best["epoch"] == 1 + int(np.argmin(model.history.val_loss))
    assert len(json.loads((tmp_path / "times.json").read_text())["seconds"]) == 4
    with pytest.raises(ValueError, match=r"best='loss' is not a metric: choose one of train_loss"):
        Checkpoint(tmp_path / "other", best="loss")
    with pytest.raises(ValueError, match=r"Checkpoint needs validation data, because it watches val_loss"):
        make().fit(x, y, callbacks=[Checkpoint(tmp_path / "other", best="val_loss")])


def test_minutes(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    written = []
    monkeypatch.setattr(checkpoint, "write", lambda path, *_: written.append(path.name))
    model = make()
    for _ in training.train(model, *data(), epochs=2, batch_size=BATCH, callbacks=[Checkpoint(tmp_path, minutes=1)]):
        now[0] += 25
    assert written == [f"step-{n:08}.safetensors" for n in (0, 3, 6, 8)]


def test_a_damaged_checkpoint_is_reported_and_the_previous_one_is_used(tmp_path):
    expected = everything(train(tmp_path / "uninterrupted"), tmp_path / "uninterrupted")
    train(tmp_path / "interrupted", stop=7)
    latest, before = checkpoint.find_checkpoints(tmp_path / "interrupted")
    whole = latest.read_bytes()
    damages = (whole[:-1000], b"", whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:], b"x" * 100)
    for i, damage in enumerate(damages):
        folder = tmp_path / f"damaged {i}"
        shutil.copytree(tmp_path / "interrupted", folder)
        (folder / latest.name).write_bytes(damage)
        with pytest.warns(CheckpointWarning, match=rf"{latest.name} .*damaged.*; using {before.name}"):
            assert_same(everything(train(folder, resume=True), folder), expected)
        assert (
            folder / f"damaged-{latest.name}"
        ).read_bytes() == damage  # renamed, so that it does not count as the latest


def test_leaving_the_loop_loses_nothing(tmp_path):
    train(tmp_path, stop=5, every=100)
    assert [path.name for path in checkpoint.find_checkpoints(tmp_path)] == [
        "step-00000005.safetensors",
        "step-00000000.safetensors",
    ]


def test_the_same_loader_can_be_used_again(tmp_path):
    x, y = data()
    loader = DataLoader(x, y, BATCH, rng=3)
    next(iter(loader))
    histories = [make().fit(loader, epochs=2, verbose_freq=0) for _ in range(2)]
    assert [len(history) for history in histories] == [2, 2]
    step = next(training.train(make(), loader, epochs=2))
    assert (step.epoch, step.step) == (1, 1)

    def fit(folder, stop=None, resume=None):
        loader = DataLoader(x, y, BATCH, rng=3)
        list(loader)
        model = make()
        for i, _ in enumerate(
            training.train(model, loader, epochs=2, callbacks=[Checkpoint(folder, steps=1)], resume=resume), 1
        ):
            if i == stop:
                break
        return everything(model, folder)

    expected = fit(tmp_path / "uninterrupted")
    fit(tmp_path / "interrupted", stop=6)
    assert_same(fit(tmp_path / "interrupted", resume=tmp_path / "interrupted"), expected)


def test_all_checkpoints_are_damaged(tmp_path):
    train(tmp_path, stop=4)
    for path in checkpoint.find_checkpoints(tmp_path):
        path.write_bytes(b"")
    with (
        pytest.warns(CheckpointWarning, match="; using step-"),
        pytest.raises(CheckpointError, match=r"no checkpoint in .* can be read"),
    ):
        train(tmp_path, resume=True)


def test_nothing_to_resume(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        train(tmp_path / "none", resume=True)
    with pytest.warns(CheckpointWarning, match="has no checkpoint yet: training starts from the beginning"):
        model = train(tmp_path, resume=True)
    expected = train(tmp_path / "uninterrupted")
    assert_same((model.state_dict(),), (expected.state_dict(),))


def other(change):
    """Resume a training run that differs in one respect."""
    model, (x, y) = make(), data()
    settings = {"epochs": EPOCHS, "batch_size": BATCH, "rng": 7, "validation_data": (x[:10], y[:10]), "callbacks": []}
    model, x, y = change(model, x, y, settings) or (model, x, y)
    folder = settings.pop("folder")
    return training.train(model, x, y, resume=folder, **settings)


def changed_pixel(model, x, y, settings):
    x = x.copy()
    x[5, 0, 3, 3] += 1
    return model, x, y


def fewer(model, x, y, settings):
    return model, x[:-1], y[:-1]


def wider(model, x, y, settings):
    return make(width=6), x, y


def other_optimizer(model, x, y, settings):
    model.optimizer = SGD(lr=0.01)


def other_loss(model, x, y, settings):
    model.loss_func = CrossEntropyLoss(label_smoothing=0.1)


def other_dropout(model, x, y, settings):
    model[7].p = 0.5


def other_batch(model, x, y, settings):
    settings["batch_size"] = 10


def other_validation(model, x, y, settings):
    settings["validation_data"] = (x[:9], y[:9])


def no_validation(model, x, y, settings):
    settings["validation_data"] = None


def more_callbacks(model, x, y, settings):
    settings["callbacks"] = [print]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (changed_pixel, r"the data are not those of the checkpoint"),
        (fewer, r"the data are not those of the checkpoint in .*30.*29"),
        (wider, r"another model: 0.weight is \(4, 1, 3, 3\) of float32 in the checkpoint and is \(6, 1, 3, 3\)"),
        (other_optimizer, r"the optimizer: Adam in the checkpoint, SGD now"),
        (other_loss, r"the loss was CrossEntropyLoss\(\), but is CrossEntropyLoss\(label_smoothing=0.1\) now"),
        (other_dropout, r"another model: Dropout\(p=0.3\) in the checkpoint, Dropout\(\) now"),
        (other_batch, r"batch"),
        (other_validation, r"the validation data are not those of the checkpoint"),
        (no_validation, r"the training run had validation data before: pass the same"),
        (more_callbacks, r"the callbacks were none, but are .* now"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_another_training_run_is_rejected(tmp_path, change, text):
    train(tmp_path, stop=5)

    def changed(model, x, y, settings):
        settings["folder"] = tmp_path
        return change(model, x, y, settings)

    with pytest.raises(ValueError, match=text):
        list(other(changed))


def test_other_kernel_settings_are_reported(tmp_path, monkeypatch):
    train(tmp_path, stop=5)
    cnn.set_num_threads(3)
    try:
        with pytest.warns(CheckpointWarning, match=r"may differ in their last bits .*threads .* before, 3 of"):
            train(tmp_path, resume=True, stop=1)
    finally:
        cnn.set_num_threads(2)
        cnn.set_num_threads(cnn.kernels.parallel._cores())


def test_a_folder_of_another_training_run_is_rejected(tmp_path):
    train(tmp_path, stop=5)
    with pytest.raises(FileExistsError, match=r"has checkpoints of another training run, such as step-.*resume="):
        train(tmp_path)


def test_two_training_runs_in_one_folder(tmp_path):
    first = training.train(make(), *data(), callbacks=[Checkpoint(tmp_path)])
    next(first)
    with pytest.raises(FileExistsError, match="another training is writing into"):
        next(training.train(make(), *data(), callbacks=[Checkpoint(tmp_path)]))
    code = (
        "import sys; from pathlib import Path; from cnn.core import files\n"
        "try:\n  with files.locked(Path(sys.argv[1])): print('free')\nexcept FileExistsError: print('held')"
    )
    ask = [sys.executable, "-c", code, str(tmp_path)]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "held"
    first.close()
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip() == "free"


def test_partial_files_of_a_killed_run_are_deleted(tmp_path):
    (tmp_path / ".step-00000003.safetensors.1-2.part").write_bytes(b"half")
    train(tmp_path)
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root can write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match=str(tmp_path)):
        train(tmp_path / "inner")


def test_a_full_disk_is_an_error_only_at_the_last_checkpoint(tmp_path, monkeypatch):
    """Training continues, since the disk may have space at the next checkpoint; at the last one it is an error."""
    expected = everything(train(tmp_path / "uninterrupted"), tmp_path / "uninterrupted")
    disk_full = OSError(28, "No space left on device")
    real = os.fsync
    count = [0]

    def sometimes(descriptor):
        count[0] += 1
        if 3 < count[0] < 9:
            raise disk_full
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", sometimes)
    with pytest.warns(CheckpointWarning, match=r"no checkpoint at step \d+: .*No space left.*training continues"):
        assert_same(everything(train(tmp_path / "full"), tmp_path / "full"), expected)

    def never(descriptor):
        raise disk_full

    monkeypatch.setattr(files.os, "fsync", never)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CheckpointWarning)
        with pytest.raises(OSError, match="No space left"):
            train(tmp_path / "never")


class Crash(BaseException):
    """The process dies."""


class Faults:
    """Counts the calls that change files, and fails in one of them."""

    def __init__(self, monkeypatch, at=None, error=None):
        self.count, self.at, self.error, self.dead = 0, at, error, False
        for owner, name in (
            *((files.os, name) for name in ("fsync",)),
            *((Path, name) for name in ("replace", "unlink", "open", "mkdir")),
            *((files.shutil, name) for name in ("copymode",)),
        ):
            monkeypatch.setattr(owner, name, self.wrap(getattr(owner, name), name))

    def wrap(self, function, name):
        def call(*arguments, **settings):
            if name == "open" and (len(arguments) < 2 or "r" in arguments[1]):
                return function(*arguments, **settings)
            self.count += 1
            if self.dead:
                raise Crash  # nothing happens after a crash, not even in `finally`
            if self.count == self.at:
                self.dead = isinstance(self.error, Crash)
                if name == "open" and self.dead:
                    function(*arguments, **settings).close()  # leaves an empty file
                raise self.error
            return function(*arguments, **settings)

        return call


@pytest.mark.parametrize("kind", ["crash", "full disk"])
def test_a_fault_at_every_call_that_changes_files(tmp_path, kind):
    """Once the first checkpoint is written, there is always one to resume from, and the result is the same."""
    expected = everything(train(tmp_path / "uninterrupted", every=4), tmp_path / "uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        counted = Faults(patch)
        train(tmp_path / "counted", every=4)
    assert counted.count > 15
    resumed = 0
    for at in range(1, counted.count + 1):
        folder = tmp_path / f"{at}"
        error = Crash() if kind == "crash" else OSError(28, "No space left on device")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CheckpointWarning)
            with pytest.MonkeyPatch.context() as patch:
                Faults(patch, at, error)
                with contextlib.suppress(Crash, OSError):
                    train(folder, every=4)
            had = len(checkpoint.find_checkpoints(folder)) if folder.is_dir() else 0
            resumed += had > 0
            for path in checkpoint.find_checkpoints(folder)[-1:]:
                checkpoint_file.read(path)
            again = train(folder, every=4, resume=folder.is_dir())
        assert_same(everything(again, folder), expected)
    assert resumed > counted.count / 2


def test_a_callback_state_that_json_cannot_hold(tmp_path):
    class Wrong:
        def __call__(self, step):
            pass

        def state_dict(self):
            return {"what": object()}

    with pytest.raises(TypeError, match=r"a checkpoint holds numbers.*state.callbacks.0.1.what is <object"):
        make().fit(*data(), verbose_freq=0, callbacks=[Wrong(), Checkpoint(tmp_path)])


def test_evaluate_train():
    """The metrics of the training set, measured in the same way as those of the validation data."""
    x, y = data()
    model = make()
    history = model.fit(x, y, validation_data=(x, y), epochs=2, batch_size=BATCH, verbose_freq=0, evaluate_train=True)
    np.testing.assert_allclose(history.train_loss, history.val_loss, rtol=1e-6)
    assert history.train_accuracy == history.val_accuracy


def test_a_loader_trains_like_arrays():
    x, y = data()
    models = make(), make()
    models[0].fit(x, y, epochs=2, batch_size=BATCH, verbose_freq=0, rng=5)
    models[1].fit(DataLoader(x, y, BATCH, rng=5), epochs=2, verbose_freq=0)
    assert_same((models[0].state_dict(),), (models[1].state_dict(),))
    assert models[1].input_shape == (1, 8, 8)
    with pytest.raises(ValueError, match="without y"):
        models[1].fit(DataLoader(x, y), y)
    with pytest.raises(ValueError, match="y is missing"):
        models[1].fit(x)
    with pytest.raises(ValueError, match=r"batches of uint8.*Normalize"):
        models[1].fit(DataLoader((x * 20).astype(np.uint8), y), verbose_freq=0)


def test_two_models_in_two_threads(tmp_path):
    """Two training runs at the same time do not affect each other."""
    expected = everything(train(tmp_path / "uninterrupted"), tmp_path / "uninterrupted")
    results = {}
    for name in ("a", "b"):
        train(tmp_path / name, stop=5)

    def resume(name):
        results[name] = make_and_resume(tmp_path / name)

    threads = [threading.Thread(target=resume, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name in ("a", "b"):
        np.testing.assert_equal(results[name], expected[0])


MAKING = threading.Lock()


def make_and_resume(folder):
    x, y = data()
    with MAKING:
        model = make()
        steps = training.train(
            model, x, y, validation_data=(x[:10], y[:10]), epochs=EPOCHS, batch_size=BATCH, rng=7, resume=folder
        )
    for step in steps:
        number = (step.epoch - 1) * step.steps + step.step
        model.optimizer.lr = 0.01 * (1 - number / STEPS) + 1e-4
    return model.state_dict()


CALLBACKS = {  # two that are not the same training, and how the message names them
    "another schedule": (
        lambda o: StepLR(o, 2),
        lambda o: CosineAnnealingLR(o, 9),
        ["StepLR(step_size=2)", "CosineAnnealingLR(T_max=9)"],
    ),
    "another length": (lambda o: StepLR(o, 1), lambda o: StepLR(o, 2), ["StepLR(step_size=1)", "StepLR(step_size=2)"]),
    "another rhythm": (
        lambda o: StepLR(o, 1),
        lambda o: Scheduled(StepLR(o, 1), every="step"),
        ["StepLR(step_size=1), but", "StepLR(step_size=1) after every step"],
    ),
    "another metric": (
        lambda o: ReduceLROnPlateau(o),
        lambda o: Scheduled(ReduceLROnPlateau(o), monitor="train_loss"),
        ["ReduceLROnPlateau() of val_loss", "ReduceLROnPlateau() of train_loss"],
    ),
    "inner schedules": (
        lambda o: ChainedScheduler([StepLR(o, 1)]),
        lambda o: ChainedScheduler([StepLR(o, 3)]),
        ["StepLR(step_size=1)", "StepLR(step_size=3)"],
    ),
    "patience": (
        lambda o: EarlyStopping(patience=3),
        lambda o: EarlyStopping(patience=9, monitor="val_accuracy"),
        ["EarlyStopping(patience=3)", "EarlyStopping(patience=9, monitor='val_accuracy')"],
    ),
    "decay": (lambda o: Averaged(0.9), lambda o: Averaged(0.5), ["Averaged(decay=0.9)", "Averaged(decay=0.5)"]),
    "no schedule": (lambda o: StepLR(o, 2), lambda o: print, ["StepLR(step_size=2)", "builtin_function"]),
}
FEW = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32), np.arange(12) % 3


def small_run(folder, make, resume=None, epochs=2):
    layers = [Linear(3, 3, rng=0)]
    model = Sequential(layers, loss_func=CrossEntropyLoss(from_logits=True), optimizer=SGD(lr=0.1))
    callbacks = [make(model.optimizer), Checkpoint(folder)]
    settings = {"epochs": epochs, "batch_size": 6, "verbose_freq": 0, "rng": 0, "validation_data": FEW}
    return model.fit(*FEW, callbacks=callbacks, resume=resume, **settings)


@pytest.mark.parametrize("case", CALLBACKS)
def test_other_settings_of_a_callback_are_another_training(tmp_path, case):
    before, after, texts = CALLBACKS[case]
    small_run(tmp_path, before)
    with pytest.raises(CheckpointError) as caught:
        small_run(tmp_path, after, tmp_path, 4)
    assert [text for text in texts if text not in str(caught.value)] == [], str(caught.value)
    assert len(small_run(tmp_path, before, tmp_path, 4)) == 4


def test_a_longer_cycle_only_for_more_epochs(tmp_path):
    small_run(tmp_path, lambda o: OneCycleLR(o, 0.1, total_steps=4))
    with pytest.raises(CheckpointError, match=r"total_steps=4.*total_steps=8"):
        small_run(tmp_path, lambda o: OneCycleLR(o, 0.1, total_steps=8), tmp_path)
    assert len(small_run(tmp_path, lambda o: OneCycleLR(o, 0.1, total_steps=8), tmp_path, 4)) == 4


def test_a_checkpoint_without_the_settings_of_callbacks(tmp_path):
    """As version 0.1 wrote them."""
    small_run(tmp_path, lambda o: StepLR(o, 2))
    [path, *_] = checkpoint_file.find_checkpoints(tmp_path)
    arrays, description = checkpoint_file.read(path)
    del description["settings"]
    checkpoint_file.write(path, arrays, description)
    assert len(small_run(tmp_path, lambda o: StepLR(o, 2), tmp_path, 3)) == 3
    description["settings"] = "none"
    checkpoint_file.write(path, arrays, description)
