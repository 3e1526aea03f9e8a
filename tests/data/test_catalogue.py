import pytest

from cnn.data import DATASETS, FASHION_MNIST, MNIST, dataset_info, unknown_name_message


def test_lookup():
    assert dataset_info("fashion-mnist") is FASHION_MNIST
    assert dataset_info("mnist") is MNIST


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fashon-mnist", "unknown data set 'fashon-mnist': did you mean 'fashion-mnist'[?]"),
        ("MNIST", "did you mean 'mnist'[?]"),
        ("cifar", "unknown data set 'cifar'. Known: fashion-mnist, mnist"),
    ],
)
def test_an_unknown_name(name, words):
    with pytest.raises(ValueError, match=words):
        dataset_info(name)


def test_unknown_name_message_for_other_kinds():
    assert "did you mean 'spiral'?" in unknown_name_message("data set", "spirl", ["mnist", "spiral"])


@pytest.mark.parametrize("info", DATASETS, ids=lambda info: info.name)
def test_entries_are_complete(info):
    assert len(info.class_names) == 10
    assert len(set(info.class_names)) == 10
    assert len({file.sha256 for file in info.files}) == 4
    for file in info.files:
        assert len(bytes.fromhex(file.sha256)) == 32
        assert file.name == file.decompressed_name + ".gz"
    assert [file.size for file in info.files] == [16 + 60_000 * 784, 8 + 60_000, 16 + 10_000 * 784, 8 + 10_000]
    assert len(info.mirrors) >= 2
    assert all(mirror.endswith("/") for mirror in info.mirrors)
