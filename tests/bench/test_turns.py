"""Processes that take turns, without timing: their answers, their ends, and what they wait for."""

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from cnn.bench import bench, machine, turns, worker
from cnn.bench.cases import Case, inference, training
from cnn.bench.turns import Worker


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 32)


def ask(settings, *words):
    answers = []
    worker.main({"threads": 1, "kernels": "array", "batch": 2} | settings, iter(words), answers.append)
    return answers


@pytest.fixture
def kernels_restored():
    from cnn import kernels

    before = kernels.get_num_threads(), kernels.active()
    yield
    kernels.set_num_threads(before[0])
    kernels.use(before[1])


@pytest.mark.usefixtures("kernels_restored")
def test_a_worker_answers_each_word(monkeypatch):
    monkeypatch.setattr(worker, "Turn", lambda run: lambda: (run(3), 0.25)[1])
    settings = {"kind": "inference", "net": "mlp", "program": "cnn"}
    found, warm, seconds, used = ask(settings, "probe\n", "warm up\n", "turn\n", "processor seconds\n")
    assert (np.shape(found["output"]), warm, seconds) == ((2, 3), None, 0.25)
    assert used > 0


def test_it_waits_until_no_thread_works(monkeypatch):
    stop, waited = threading.Event(), []

    def work():
        while not stop.is_set():
            pass

    thread = threading.Thread(target=work)
    real = time.sleep

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            stop.set()
            thread.join()
        real(seconds)

    clocks = {"perf_counter": time.perf_counter, "process_time": time.process_time}
    monkeypatch.setattr(worker, "time", SimpleNamespace(sleep=sleep, **clocks))
    thread.start()
    try:
        worker.become_quiet()
    finally:
        stop.set()
        thread.join()
    assert len(waited) >= 3
    busy = iter(range(10**6))
    clocks = {"perf_counter": lambda: next(busy) / 100, "process_time": lambda: next(busy) / 100}
    monkeypatch.setattr(worker, "time", SimpleNamespace(sleep=lambda seconds: None, **clocks))
    with pytest.raises(RuntimeError, match="its threads still run 5 s after the last call"):
        worker.become_quiet()


def test_a_process_that_fails_is_reported_and_ends():
    message = r"the process of nonsense, batch 2, cnn, failed: KeyError: 'nonsense'"
    case = Case("inference", "nonsense", 2, (1,), 2, lambda: None)
    with Worker(case, "cnn") as process, pytest.raises(RuntimeError, match=message):
        process.ask("probe")
    assert process._process.returncode != 0


def test_the_processor_time_of_children_is_not_that_of_others(monkeypatch):
    times, children = iter([(0.0, 10.0, 5.0), (2.0, 13.0, 5.0)]), iter([1.0, 3.0])
    monkeypatch.setattr(machine, "_times", lambda: next(times))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: 2)
    with machine.OtherPrograms(lambda: next(children)) as others:
        pass
    assert others.share == 0.25


def test_each_process_gets_the_settings_of_this_one(monkeypatch):
    given = []
    monkeypatch.setattr(turns.subprocess, "Popen", lambda command, **options: given.append(command))
    monkeypatch.setattr(turns, "get_num_threads", lambda: 3)
    Worker(training("mlp", 32), "contiguous")._errors.close()
    assert turns.json.loads(given[0][-1]) == {
        "kind": "train", "net": "mlp", "batch": 32, "program": "contiguous", "threads": 3,
        "kernels": turns.active(),
    }  # fmt: skip


@pytest.mark.parity
def test_onnxruntime_computes_our_results():
    from cnn.bench import ours, runtimes

    case = inference("lenet5", 3)
    model = ours.new_model(case)
    x, y = case.data()
    theirs = runtimes.program(model.eval(), x, "onnxruntime", 1)
    theirs.run(2)
    expected = ours.program(case, model, x, y).probe()["output"]
    assert np.max(np.abs(theirs.probe()["output"] - expected)) < 3e-5 * np.max(np.abs(expected))


@pytest.mark.parity
def test_a_comparison_with_onnxruntime(monkeypatch):
    from cnn.bench import run

    monkeypatch.setattr(run, "choose", lambda suite: ([inference("lenet5", 1), training("lenet5", 64)], []))
    lines = []
    report = bench("lenet5", against="onnxruntime", rounds=2, seconds=0, progress=lines.append)
    [result] = report.results
    assert {name: len(values) for name, values in result.seconds.items()} == {"cnn": 2, "onnxruntime": 2}
    assert (result.faster_format, report.opponent) == ("onnxruntime", "ONNX Runtime")
    assert report.version[0].isdigit()
    assert lines[0].startswith("1/1  inference: lenet5, batch 1  ")
    monkeypatch.setattr(run, "TOLERANCE", -1.0)
    with pytest.raises(RuntimeError, match=r"the output is not ONNX Runtime's \(onnxruntime\)"):
        bench("lenet5", against="onnxruntime", rounds=1, seconds=0)
