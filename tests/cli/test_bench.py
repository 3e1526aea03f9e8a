"""`cnn bench`: the tables, JSON, the plot, and wrong usage."""

import json

import pytest

import cnn
from cnn.bench import machine
from cnn.bench import run as bench_run
from cnn.bench.cases import INFERENCE_CASES, TRAIN_CASES, inference, layers, training
from cnn.bench.results import Report, Result
from cnn.bench.run import GET_TORCH, LEFT_OUT
from cnn.cli import bench as command

MIB = 2**20
FACTS = {"processor": "Fast 1000", "cores": 8, "threads": 2, "system": "Linux", "python": "3.11", "cnn": "0.1",
         "numpy": "2.4", "numba": "0.68", "blas": "openblas 0.3", "kernels": "jit"}  # fmt: skip


def timed(case, ours, theirs=2.0, **more):
    seconds = {"cnn": [ours * f / 1000 for f in (0.9, 1.0, 1.2)], "contiguous": [theirs / 500] * 3}
    if len(case.shape) == 3:
        seconds["channels_last"] = [theirs / 1000] * 3
    return Result(case, seconds, multiply_adds=case.multiply_adds(), **more)


def weight(ours, *theirs):
    return dict(zip(("cnn", "contiguous", "channels_last"), (ours, *theirs), strict=False))


@pytest.fixture
def found(monkeypatch):
    """A generated report instead of the measurements; a test may change it."""
    report = Report("all", dict(FACTS), "2.13.0", 150.0, seconds=12.3)
    report.results = [
        timed(training("small-cnn", 64), 1.2, memory=weight(30 * MIB, 45 * MIB, 40 * MIB)),
        timed(training("mlp", 32), 3.0, memory=weight(100_000, 200_000)),
        timed(inference("resnet20", 1), 1.0),
    ]
    report.calls = []

    def measure(*arguments):
        report.calls.append((*arguments[:-1], cnn.get_num_threads(), cnn.kernels.active()))
        arguments[-1]("1/3  train: small-cnn, batch 64  1.2 ms")
        return report

    monkeypatch.setattr(command, "measure", measure)
    return report


def line(out, start):
    return next(line for line in out.splitlines() if line.startswith(start))


def test_tables(run, found):
    code, out, err = run("bench", "train")
    assert code == 0
    assert err == "1/3  train: small-cnn, batch 64  1.2 ms\n"
    assert line(out, "small-cnn").split()[3:] == [
        "1.200",
        "2.000",
        "channels_last",
        "0.60",
        "0.57-0.66",
        "889%",
        "30.0",
        "40.0",
        "0.75",
    ]
    assert line(out, "mlp").split()[3:] == [
        "3.000",
        "4.000",
        "contiguous",
        "0.75",
        "0.71-0.82",
        "0.0%",
        "0.10",
        "0.19",
        "0.50",
    ]
    assert line(out, "resnet20").split()[3:] == ["1.000", "2.000", "channels_last", "0.50", "0.47-0.55", "54%"]
    assert (
        line(out, "training: one step").split()[-9:]
        == ["ms", "torch", "ms", "format", "ratio", "quartiles", "gemm", "MiB", "torch", "MiB", "ratio"][-9:]
    )
    assert "MiB" not in line(out, "inference: forward")
    assert "single layers" not in out
    assert out.startswith("Fast 1000, 8 cores, 2 threads, Linux\n")
    assert "PyTorch 2.13.0\n" in out
    assert "Numba 0.68" in " ".join(out.split())
    assert "150 GFLOP/s" in " ".join(out.split())
    assert "Other programs" not in out


def test_a_machine_that_was_not_idle_is_reported(run, found):
    found.results[0].others, found.results[1].others = 0.3, 0.01
    text = " ".join(run("bench")[1].split())
    assert "Other programs took more than 5% of the processors during 1 of 3 cases, 30% at most: measure again" in text


def test_only_this_library(run, found):
    for result in found.results:
        for programs in (result.seconds, result.memory):
            for name in set(programs) - {"cnn"}:
                del programs[name]
    found.version, found.machine["numba"] = GET_TORCH, None
    code, out, _ = run("bench")
    assert code == 0
    assert line(out, "small-cnn").split()[3:] == ["1.200", "889%", "30.0"]
    assert "PyTorch not installed; pip install torch\n" in out
    assert "no Numba" in " ".join(out.split())


def test_only_memory_and_memory_that_is_not_measured(run, found):
    found.results = [Result(training("mlp", 32), memory=weight(100_000, 200_000))]
    out = run("bench", "memory")[1]
    assert line(out, "mlp").split()[3:] == ["0.10", "0.19", "0.50"]
    assert "gemm" not in out
    found.results = [Result(training("mlp", 32), memory=weight(None, None))]
    out = run("bench", "memory")[1]
    assert line(out, "mlp").split()[3:] == ["-", "-", "-"]
    assert "MiB: not measured, because this system does not report the peak memory" in out


def test_the_widest_table_fits(run, found, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    found.results = [
        timed(training(*pair), 2000.0, 3000.0, memory=weight(9000 * MIB, 9000 * MIB)) for pair in TRAIN_CASES
    ]
    found.results += [timed(inference(*pair), 900.0, 3000.0) for pair in INFERENCE_CASES]
    found.results += [timed(case, 2000.0, 900.0) for case in layers()]
    out = run("bench")[1]
    assert max(map(len, out.splitlines())) <= 120
    assert all(case.name in " ".join(out.split()) for case in layers())


def test_another_library(run, found):
    found.results = [Result(inference("resnet20", 1), {"cnn": [0.002], "onnxruntime": [0.001]})]
    found.opponent, found.version = "ONNX Runtime", "1.32.0"
    out = run("bench", "--against", "onnxruntime")[1]
    assert "ONNX Runtime 1.32.0\n" in out
    assert line(out, "resnet20").split()[3:] == ["2.000", "1.000", "onnxruntime", "2.00", "2.00-2.00", "-"]
    assert "onnxruntime ms" in line(out, "inference: forward")
    assert "onnxruntime ms: the same for ONNX Runtime. ratio: our time divided by that of ONNX" in " ".join(out.split())


def test_json(run, found):
    code, out, _ = run("bench", "--json")
    assert code == 0
    facts = json.loads(out)
    assert (facts["opponent_version"], facts["seconds"], facts["machine"]["gemm_gflops"]) == ("2.13.0", 12.3, 150.0)
    case = facts["cases"][0]
    assert (case["kind"], case["name"], case["batch"], case["input_shape"]) == ("train", "small-cnn", 64, [1, 28, 28])
    assert case["programs"]["cnn"] == {
        "median_s": 0.0012,
        "quartiles_s": pytest.approx([0.00114, 0.00132]),
        "rounds": 3,
    }
    assert (case["faster_format"], case["ratio"]) == ("channels_last", pytest.approx(0.6))
    assert case["ratio_quartiles"] == pytest.approx([0.57, 0.66])
    assert case["memory_bytes"] == {"cnn": 30 * MIB, "contiguous": 45 * MIB, "channels_last": 40 * MIB}


def test_the_plot(run, found, empty_folder):
    code, _, err = run("bench", "--plot", "speed.png")
    assert code == 0
    assert (empty_folder / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert err.endswith("the plot is saved in speed.png\n")
    for result in found.results:
        result.seconds = {"cnn": [1.0]}
    code, out, err = run("bench", "--plot", "none.png")
    assert code == 1
    assert "ms" in out  # the measurements are printed anyway
    assert "error: nothing was compared, so there is no plot" in err
    assert not (empty_folder / "none.png").exists()


def test_arguments_reach_the_measurement_and_are_restored(run, found):
    before = cnn.get_num_threads(), cnn.kernels.active()
    run("bench")
    options = ("--against", "nothing", "--rounds", "7", "--seconds", "0.5", "--threads", "3", "--backend", "reference")
    run("bench", "vgg", *options)
    assert found.calls == [("all", None, 5, None, *before), ("vgg", "nothing", 7, 0.5, 3, "reference")]
    assert (cnn.get_num_threads(), cnn.kernels.active()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown suite 'trian': did you mean 'train'?"),
        (["--rounds", "0"], "argument --rounds: expected an integer of at least 1, got '0'"),
        (["--seconds", "-1"], "argument --seconds: expected a number of at least 0, such as 2.5, got '-1'"),
        (["--against", "jax"], "argument --against: invalid choice: 'jax'"),
        (["--plot", "a.jpg"], "argument --plot: expected a name that ends in .png, got 'a.jpg'"),
        (["--plot", "no/a.png"], "argument --plot: the folder no does not exist"),
        (["memory", "--plot", "a.png"], "argument --plot: it shows our time divided by PyTorch's"),
        (["--against", "openvino", "--plot", "a.png"], "argument --plot: it shows our time divided by PyTorch's"),
        (["--against", "nothing", "--plot", "a.png"], "argument --plot: it shows our time divided by PyTorch's"),
    ],
)
def test_wrong_usage(run, found, arguments, message):
    code, out, err = run("bench", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert found.calls == []


def test_pytorch_or_numba_is_missing(run, monkeypatch):
    monkeypatch.setattr(bench_run, "_pytorch", lambda: None)
    code, out, err = run("bench", "mlp", "--against", "torch")
    assert (code, out) == (1, "")
    assert "error: PyTorch is not installed: pip install torch, or measure alone with --against nothing" in err

    def use(name):
        raise ImportError("the kernels need Numba: pip install numba")

    monkeypatch.setattr(command.kernels, "use", use)
    monkeypatch.setattr(command.kernels, "active", lambda: "array")
    code, _, err = run("bench", "mlp", "--backend", "jit")
    assert code == 1
    assert "error: the kernels need Numba: pip install numba" in err


def test_a_real_measurement(run, monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 32)
    monkeypatch.setattr(bench_run, "step_memory", lambda case, program: 1000)
    code, out, err = run("bench", "mlp", "--against", "nothing", "--rounds", "1", "--seconds", "0")
    assert code == 0
    assert LEFT_OUT in out
    assert float(line(out, "mlp, batch 32").split()[3]) > 0
    assert err.startswith("1/1  train: mlp, batch 32  ")
