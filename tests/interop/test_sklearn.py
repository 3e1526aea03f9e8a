"""The estimators against scikit-learn's own checks, and in its tools."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

import cnn
from cnn.interop.sklearn import CNNClassifier, CNNRegressor
from cnn.layers import BatchNorm1d, Conv2d, Dropout, Flatten, Linear, ReLU
from cnn.module import Module
from cnn.sequential import Sequential

WEIGHTS = (
    "the number of samples decides on the batches and on their order, so removing one changes more than its weight"
)
EXPECTED = {
    CNNClassifier: {"check_sample_weight_equivalence_on_dense_data": WEIGHTS},
    CNNRegressor: {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
        "check_methods_subset_invariance": "float32: a batch of another size may differ by 2e-7, and 1e-7 is allowed",
    },
}
OTHER_PACKAGES = {  # left out: they need pandas, or a setting of SciPy for other array types
    "check_sample_weights_pandas_series",
    "check_array_api_input",
    "check_classifier_data_not_an_array",
    "check_regressor_data_not_an_array",
}
CHECKS = [
    pytest.param(estimator, check, id=f"{kind.__name__}-{check.func.__name__}-{i}")
    for kind in (CNNClassifier, CNNRegressor)
    for i, (estimator, check) in enumerate(estimator_checks_generator(kind(epochs=30, random_state=0)))
    if check.func.__name__ not in EXPECTED[kind].keys() | OTHER_PACKAGES
]
X, Y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
TRAIN, TEST, Y_TRAIN, Y_TEST = train_test_split(X, Y, random_state=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


def test_most_checks_ran():
    assert len(CHECKS) > 100


def digits(**arguments):
    return CNNClassifier(**{"image_shape": (1, 8, 8), "epochs": 3, "random_state": 0, **arguments})


def test_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), digits(epochs=15)).fit(TRAIN, Y_TRAIN)
    assert pipeline.score(TEST, Y_TEST) > 0.97


def test_grid_search_with_processes():
    grid = {"width": [2, 8], "lr": [1e-4, 3e-3]}
    found = GridSearchCV(digits(), grid, cv=2, n_jobs=2).fit(TRAIN[:600], Y_TRAIN[:600])
    assert found.best_params_ == {"lr": 3e-3, "width": 8}
    assert found.score(TEST, Y_TEST) > 0.8


def test_images_classes_of_text_and_calibration():
    letters = np.array(list("abcdefghij"))[Y_TRAIN]
    images = TRAIN.reshape(-1, 1, 8, 8)
    scores = cross_val_score(CNNClassifier(epochs=4, random_state=0), images[:400], letters[:400], cv=2)
    assert scores.min() > 0.7
    calibrated = CalibratedClassifierCV(digits(), cv=2).fit(TRAIN, letters)
    assert calibrated.predict(TEST)[0] in "abcdefghij"
    np.testing.assert_allclose(calibrated.predict_proba(TEST).sum(axis=1), 1, rtol=1e-5)


def test_a_pickle_holds_the_model_file_and_goes_on_with_the_same_bits():
    classifier = digits(class_weight="balanced").fit(TRAIN[:200], Y_TRAIN[:200])
    data = pickle.dumps(classifier)
    assert b"architecture" in data
    assert b"Conv2d" in data  # as a name in the model file
    assert b"cnn.layers" not in data  # not as a class
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.predict_proba(TEST), classifier.predict_proba(TEST))
    for one in (classifier, again):
        one.partial_fit(TRAIN[200:300], Y_TRAIN[200:300])
    np.testing.assert_array_equal(again.predict_proba(TEST), classifier.predict_proba(TEST))
    assert again.n_iter_ == 4
    assert not hasattr(clone(again), "model_")


def test_it_leaves_the_default_generator_alone():
    cnn.manual_seed(3)
    expected = Linear(2, 2).weight.data
    cnn.manual_seed(3)
    digits(epochs=1).fit(TRAIN[:50], Y_TRAIN[:50])
    np.testing.assert_array_equal(Linear(2, 2).weight.data, expected)


def test_partial_fit():
    classifier = digits()
    with pytest.raises(ValueError, match="the first call of partial_fit needs classes"):
        classifier.partial_fit(TRAIN, Y_TRAIN)
    for start in range(0, 1200, 300):
        classifier.partial_fit(TRAIN[start : start + 300], Y_TRAIN[start : start + 300], classes=np.arange(10))
    assert classifier.score(TEST, Y_TEST) > 0.6
    with pytest.raises(ValueError, match="classes differ"):
        classifier.partial_fit(TRAIN, Y_TRAIN, classes=[1, 2])
    with pytest.raises(ValueError, match="y has the class 12"):
        classifier.partial_fit(TRAIN[:2], [12, 1])


def own_net(input_shape, outputs, width):
    return Sequential([Linear(input_shape[0], width), ReLU(), Linear(width, outputs)])


def test_a_net_of_ones_own():
    classifier = CNNClassifier(own_net, width=8, epochs=2, random_state=0).fit(TRAIN, Y_TRAIN)
    assert [layer.weight.shape for layer in classifier.model_ if isinstance(layer, Linear)] == [(8, 64), (10, 8)]


class Half(Module):
    """A user's layer."""

    def forward(self, x):
        self.save_for_backward()
        return x / 2

    def backward(self, grad):
        self.saved()
        return grad / 2


class Net(Sequential):
    """A user's container."""


def shared_net(_, outputs, width):
    net = Sequential([Linear(64, width), ReLU(), Linear(width, width), ReLU(), Linear(width, width)])
    net.layers[4].weight = net.layers[2].weight
    return Sequential([*net.layers, ReLU(), Linear(width, outputs)])


def frozen_net(_, outputs, width):
    front = Sequential([Linear(64, width, bias=False), BatchNorm1d(width)]).freeze()
    return Sequential([front, ReLU(), Linear(width, outputs)])


@pytest.mark.parametrize(
    "net",
    [
        lambda _, outputs, width: Net([Linear(64, width), Half(), ReLU(), Linear(width, outputs)]),
        lambda _, outputs, width: Sequential([Linear(64, width), ReLU(), Dropout(0.5), Linear(width, outputs)]),
        shared_net,
        frozen_net,
    ],
    ids=["own layers", "dropout", "shared", "frozen"],
)
@pytest.mark.parametrize("how", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_a_copy_goes_on_with_the_same_bits(net, how):
    """Layers and containers of one's own, random masks, shared arrays and what is frozen are as they were."""
    one = CNNClassifier(net, epochs=2, random_state=0).fit(TRAIN[:200], Y_TRAIN[:200])
    one.set_params(net=None)  # a pickle holds no function without a name
    cnn.manual_seed(3)
    other = how(one)
    first = Linear(2, 2).weight.data
    cnn.manual_seed(3)
    np.testing.assert_array_equal(first, Linear(2, 2).weight.data)
    assert type(other.model_) is type(one.model_)
    for each in (one, other):
        each.partial_fit(TRAIN[200:300], Y_TRAIN[200:300])
    for name, array in one.model_.state_dict().items():
        assert array.tobytes() == other.model_.state_dict()[name].tobytes(), name


def test_a_changed_learning_rate_counts():
    classifier = digits(epochs=1).fit(TRAIN[:100], Y_TRAIN[:100])
    before = classifier.model_[0].weight.data.tobytes()
    classifier.set_params(lr=0.0).partial_fit(TRAIN[:100], Y_TRAIN[:100])
    assert classifier.model_[0].weight.data.tobytes() == before
    classifier.set_params(lr=0.1).partial_fit(TRAIN[:100], Y_TRAIN[:100])
    assert classifier.model_[0].weight.data.tobytes() != before


def test_a_single_class():
    classifier = digits(epochs=1).fit(TRAIN[:20], ["same"] * 20)
    np.testing.assert_array_equal(classifier.predict_proba(TEST), np.ones((len(TEST), 1)))
    assert set(classifier.predict(TEST)) == {"same"}


@pytest.mark.parametrize("size", [1e200, -1e307])
def test_targets_that_are_too_large(size):
    with pytest.raises(ValueError, match="y has values whose squares are too large for float64: divide y"):
        CNNRegressor(epochs=1).fit(TRAIN, Y_TRAIN * size / 10)


def test_weights_of_samples_and_classes():
    x = np.concatenate([np.full((50, 2), 0.5), np.full((50, 2), 0.6)]).astype(np.float32)
    y = np.array([0] * 50 + [1] * 50)
    heavy = CNNClassifier(epochs=5, random_state=0).fit(x, y, sample_weight=np.where(y == 1, 100.0, 1.0))
    assert (heavy.predict(x) == 1).all()
    heavy = CNNClassifier(epochs=5, random_state=0, class_weight={0: 100, 1: 1}).fit(x, y)
    assert (heavy.predict(x) == 0).all()


def test_several_targets():
    x = np.random.default_rng(0).standard_normal((300, 3))
    y = np.stack([1000 + 50 * x[:, 0], x[:, 1] - x[:, 2]], axis=1)
    regressor = CNNRegressor(epochs=60, random_state=0).fit(x, y)
    assert regressor.score(x, y) > 0.95
    assert regressor.predict(x).shape == (300, 2)
    weights = np.where(np.arange(300) < 150, 1.0, 0.0)
    assert CNNRegressor(epochs=60, random_state=0).fit(x, y, sample_weight=weights).score(x[:150], y[:150]) > 0.95


@pytest.mark.parametrize(
    ("x", "arguments", "message"),
    [
        (X.reshape(-1, 8, 8), {"image_shape": None}, r"must be rows \(N, F\) or images \(N, C, H, W\)"),
        (X[:, :60], {}, r"has no rows of image_shape=\(1, 8, 8\): change image_shape"),
        (X.astype(np.float64) * 1e200, {}, "too large for float32"),
        (X, {"image_shape": 64}, r"image_shape must be \(channels, height, width\), such as \(1, 8, 8\), got 64"),
        (X, {"image_shape": (8, 8)}, r"image_shape must be \(channels, height, width\).*, got \(8, 8\)"),
        (X, {"image_shape": (1.0, 8, 8)}, "each number of image_shape must be an integer of at least 1, got 1.0"),
        (X, {"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        (X, {"batch_size": "all"}, "batch_size must be an integer of at least 1, got 'all'"),
        (X, {"width": None}, "width must be an integer of at least 1, got None"),
        (X, {"net": 3}, r"net must be a function net\(input_shape, outputs, width\), got 3"),
        (X, {"net": lambda *_: Linear(64, 10)}, "net must return a Sequential, got Linear"),
        (X, {"net": lambda *_: Sequential([Flatten(), Linear(64, 12)])}, r"must give 10 numbers .* gives \(12,\)"),
        (X, {"net": lambda *_: Sequential([Conv2d(1, 10, 3)])}, r"gives \(10, 6, 6\): end it with Linear"),
    ],
)
def test_bad_input(x, arguments, message):
    with pytest.raises((ValueError, TypeError), match=message):
        digits(**arguments).fit(x, Y)


def test_a_net_that_gives_too_many_numbers():
    with pytest.raises(ValueError, match=r"net must give 1 number for a sample, but gives \(2,\)"):
        CNNRegressor(lambda *_: Sequential([Linear(64, 2)]), epochs=1).fit(TRAIN, Y_TRAIN)


def test_images_of_another_size():
    classifier = CNNClassifier(epochs=1, random_state=0).fit(TRAIN.reshape(-1, 1, 8, 8), Y_TRAIN)
    with pytest.raises(ValueError, match="X has 100 features, but CNNClassifier is expecting 64"):
        classifier.predict(np.zeros((2, 1, 10, 10), np.float32))
