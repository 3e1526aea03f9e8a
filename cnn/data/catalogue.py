"""The published data sets that this library supports: metadata, download addresses and checksums."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class DataFile:
    """One file of a published data set.

    Attributes
    ----------
    name : str
        The file name on the mirrors, with ``.gz``.
    size : int
        Size of the decompressed content in bytes.
    sha256 : str
        The expected SHA-256 digest.
    digest_of : {"content", "gz"}
        What the digest is computed from: the decompressed content, which does not depend on how the file was
        compressed, or the ``.gz`` file itself.

    Examples
    --------
    >>> from cnn.data import FASHION_MNIST
    >>> FASHION_MNIST.files[0].name, FASHION_MNIST.files[0].decompressed_name
    ('train-images-idx3-ubyte.gz', 'train-images-idx3-ubyte')
    """

    name: str
    size: int
    sha256: str
    digest_of: Literal["content", "gz"] = "content"

    @property
    def decompressed_name(self) -> str:
        """The name of the decompressed file."""
        return self.name.removesuffix(".gz")


@dataclass(frozen=True)
class DatasetInfo:
    """Metadata of a published data set.

    Attributes
    ----------
    name : str
        Its name on the command line, and the name of its folder in the cache.
    title : str
        Its name in messages.
    class_names : tuple of str
        ``class_names[label]`` is the name of the class.
    licence, citation, homepage : str
        Its licence, the paper to cite, and its web page.
    files : tuple of DataFile
        Training images, training labels, test images and test labels, in this order.
    mirrors : tuple of str
        URLs of folders that contain the files, each ending in ``/``, tried in this order.
    torchvision_name : str
        torchvision stores the files in ``<torchvision_name>/raw``.
    debian_package, debian_folder : str or None
        The Debian and Ubuntu package that contains the files, and the folder where it installs them.

    Examples
    --------
    >>> from cnn.data import FASHION_MNIST
    >>> FASHION_MNIST.title, FASHION_MNIST.class_names[9], FASHION_MNIST.licence
    ('Fashion-MNIST', 'Ankle boot', 'MIT')
    """

    name: str
    title: str
    class_names: tuple[str, ...]
    licence: str
    citation: str
    homepage: str
    files: tuple[DataFile, DataFile, DataFile, DataFile]
    mirrors: tuple[str, ...]
    torchvision_name: str
    debian_package: str | None = None
    debian_folder: str | None = None


FASHION_MNIST = DatasetInfo(
    name="fashion-mnist",
    title="Fashion-MNIST",
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    licence="MIT",
    citation=(
        "H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning "
        "Algorithms, 2017, arXiv:1708.07747"
    ),
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    # Digests of the content, not of the .gz: the Debian package compressed the same files again.
    files=(
        DataFile(
            "train-images-idx3-ubyte.gz", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    ),
    mirrors=(
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    torchvision_name="FashionMNIST",
    debian_package="dataset-fashion-mnist",
    debian_folder="/usr/share/datasets/fashion-mnist",
)

MNIST = DatasetInfo(
    name="mnist",
    title="MNIST",
    class_names=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    licence="CC BY-SA 3.0",
    citation=(
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-Based Learning Applied to Document Recognition, "
        "Proceedings of the IEEE 86(11), 2278-2324, 1998"
    ),
    homepage="http://yann.lecun.com/exdb/mnist/",
    files=(
        DataFile(
            "train-images-idx3-ubyte.gz",
            47_040_016,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            digest_of="gz",
        ),
        DataFile(
            "train-labels-idx1-ubyte.gz",
            60_008,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            digest_of="gz",
        ),
        DataFile(
            "t10k-images-idx3-ubyte.gz",
            7_840_016,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            digest_of="gz",
        ),
        DataFile(
            "t10k-labels-idx1-ubyte.gz",
            10_008,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            digest_of="gz",
        ),
    ),
    mirrors=(
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
    ),
    torchvision_name="MNIST",
)

DATASETS = (FASHION_MNIST, MNIST)


def dataset_info(name: str) -> DatasetInfo:
    """Look up a published data set by its name.

    Parameters
    ----------
    name : str
        ``"fashion-mnist"`` or ``"mnist"``.

    Returns
    -------
    DatasetInfo

    Raises
    ------
    ValueError
        If there is no data set of that name; the message suggests the closest one.

    Examples
    --------
    >>> from cnn.data import dataset_info
    >>> dataset_info("mnist").title
    'MNIST'
    >>> dataset_info("fashion_mnist")
    Traceback (most recent call last):
    ...
    ValueError: unknown data set 'fashion_mnist': did you mean 'fashion-mnist'? Known: fashion-mnist, mnist
    """
    for info in DATASETS:
        if info.name == name:
            return info
    raise ValueError(unknown_name_message("data set", name, [info.name for info in DATASETS]))


def unknown_name_message(kind: str, name: str, known: Iterable[str]) -> str:
    """Return an error message for an unknown name, with the closest known name and the list of all of them.

    Parameters
    ----------
    kind : str
        What the name should refer to: "data set", "model".
    name : str
        The unknown name.
    known : iterable of str
        The valid names.

    Returns
    -------
    str
        One line, for an error message.

    Examples
    --------
    >>> from cnn.data import unknown_name_message
    >>> unknown_name_message("data set", "sprial", ["mnist", "spiral"])
    "unknown data set 'sprial': did you mean 'spiral'? Known: mnist, spiral"
    >>> unknown_name_message("data set", "x", ["mnist", "spiral"])
    "unknown data set 'x'. Known: mnist, spiral"
    """
    import difflib  # a slow import, needed only here

    names = sorted(known)
    closest = difflib.get_close_matches(name.lower(), names, n=1)
    suggestion = f": did you mean {closest[0]!r}?" if closest else "."
    return f"unknown {kind} {name!r}{suggestion} Known: {', '.join(names)}"
