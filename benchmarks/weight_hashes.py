"""Do two versions of the code train to the same bits? A hash of every zoo net's weights after 50 training steps.

Each net is trained on random data with Adam, once for each backend and for one and two threads. Each line holds a hash
of the weights and one of what the trained net predicts, which takes the path for inference. Run it in two checkouts on
one machine and compare the outputs; where nothing changed they are identical.

    python benchmarks/weight_hashes.py > after.txt     # about five minutes on two cores
    python benchmarks/weight_hashes.py mlp lenet5      # these nets alone
"""

import hashlib
import sys

import numpy as np

import cnn
from cnn import zoo
from cnn.loss import CrossEntropyLoss
from cnn.optim import Adam

STEPS, BATCHES = 50, 5
NETS = {  # input shape, classes, batch size
    "densenet": ((3, 16, 16), 10, 8),
    "fashion_cnn": ((1, 28, 28), 10, 16),
    "inception": ((3, 16, 16), 10, 8),
    "lenet5": ((1, 28, 28), 10, 32),
    "mlp": ((2,), 3, 32),
    "mobilenet": ((3, 32, 32), 10, 16),
    "photo_cnn": ((3, 32, 32), 3, 16),
    "resnet": ((3, 32, 32), 10, 8),
    "small_cnn": ((1, 28, 28), 10, 64),
    "squeezenet": ((3, 16, 16), 10, 8),
    "unet": ((1, 32, 32), 2, 4),
    "vgg": ((3, 32, 32), 10, 8),
}


def trained(name: str) -> tuple[str, str]:
    """Train a net for 50 steps; return a hash of its weights and one of its predictions."""
    shape, classes, batch = NETS[name]
    cnn.manual_seed(0)
    options = {"depth": 8} if name == "resnet" else {}
    model = getattr(zoo, name)(input_shape=shape, classes=classes, **options)
    model.loss_func, model.optimizer = CrossEntropyLoss(), Adam(lr=1e-3)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCHES * batch, *shape)).astype(np.float32)
    y = rng.integers(0, classes, (len(x), *(shape[1:] if name == "unet" else ())))
    for step in range(STEPS):
        i = step % BATCHES * batch
        model.train_step(x[i : i + batch], y[i : i + batch])
    weights = hashlib.sha256()
    for key, array in model.state_dict().items():
        weights.update(key.encode() + np.ascontiguousarray(array).tobytes())
    predicted = np.ascontiguousarray(model.predict_proba(x[:batch])).tobytes()
    return weights.hexdigest()[:16], hashlib.sha256(predicted).hexdigest()[:16]


def main(names: list[str]) -> None:
    """Print a line for each net, backend and number of threads."""
    left_out = {"efficientnet_lite0"}  # for large images: 50 steps take minutes; mobilenet has its kinds of layers
    assert set(NETS) == set(zoo.__all__) - left_out, "a net of the zoo is missing here"
    for name in names or NETS:
        for backend in ("reference", "array", "jit"):
            for threads in (1, 2):
                cnn.kernels.use(backend)
                cnn.set_num_threads(threads)
                weights, predictions = trained(name)
                print(
                    f"{name:<12} {backend:<9} {threads} threads  weights {weights}  predictions {predictions}",
                    flush=True,
                )


if __name__ == "__main__":
    main(sys.argv[1:])
