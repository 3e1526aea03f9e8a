import numpy as np
import pytest

from cnn import Buffer, InputError, Parameter, Sequential
from cnn.data import DataLoader
from cnn.layers import BatchNorm1d, Dropout, Linear
from cnn.loss import MSELoss
from cnn.module import Module
from cnn.optim import (
    SGD,
    Adagrad,
    AdamW,
    Muon,
    NAdam,
    RMSprop,
    WeightAverage,
    clip_grad_norm_,
    clip_grad_value_,
    update_bn,
)

SETTINGS = [
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1}),
    (AdamW, {"lr": 0.1, "eps": 1e-8, "weight_decay": 0.1}),
    (RMSprop, {"lr": 0.1, "alpha": 0.9, "eps": 1e-8, "weight_decay": 0.1, "momentum": 0.9}),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-8}),
    (NAdam, {"lr": 0.1, "eps": 1e-8, "weight_decay": 0.1, "momentum_decay": 0.1}),
    (Muon, {"lr": 0.1, "weight_decay": 0.1, "momentum": 0.9, "eps": 1e-7}),
]


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_float32_stays_float32_and_in_place(kind, settings):
    """NumPy scalars as settings must not promote the dtype, and the array must stay the same object."""
    parameter = Parameter(np.ones((3, 2), np.float32))
    array = parameter.data
    optimizer = kind([parameter], **{name: np.float64(value) for name, value in settings.items()})
    for _ in range(3):
        parameter.accumulate_grad(np.ones((3, 2), np.float32))
        optimizer.step()
    assert parameter.data is array
    assert array.dtype == np.float32
    kept = [value for value in optimizer._state[0].values() if isinstance(value, (np.ndarray, np.generic))]
    assert {value.dtype for value in kept} == {np.dtype(np.float32)}


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_wrong_settings_are_named(kind, settings):
    for name in settings:
        for wrong in (-1, float("nan"), True, "0.1"):
            with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0"):
                kind(**{name: wrong})


@pytest.mark.parametrize(("kind", "settings"), SETTINGS)
def test_settings_assigned_later_are_checked(kind, settings):
    """The learning rate at once; settings that may depend on others, at the next step."""
    parameter = Parameter(np.ones((3, 2), np.float32))
    parameter.accumulate_grad(np.ones((3, 2), np.float32))
    for groups in ([parameter], [{"params": [parameter]}]):
        optimizer = kind(groups)
        for wrong in (-1, float("nan"), True, "0.1"):
            with pytest.raises(ValueError, match="lr must be a finite number of at least 0"):
                optimizer.lr = wrong
            for name in set(settings) - {"lr", "initial_accumulator_value"}:
                right = optimizer[name]
                optimizer[name] = wrong
                for _ in range(2):
                    with pytest.raises(ValueError, match=f"{name} must be a finite number of at least 0"):
                        optimizer.step()
                optimizer[name] = right
    np.testing.assert_array_equal(parameter.data, 1)
    for name, value in settings.items():
        optimizer[name] = np.float64(value)
        assert type(optimizer.param_groups[0][name]) is float


def test_betas_assigned_later_are_checked():
    parameter = Parameter([1.0])
    parameter.accumulate_grad(np.ones(1))
    optimizer = AdamW([parameter])
    optimizer.betas = (1.5, 0.9)
    with pytest.raises(ValueError, match=r"betas\[0\] must be below 1"):
        optimizer.step()
    optimizer.betas = (np.float64(0.5), np.float64(0.9))
    optimizer.step()
    assert [type(beta) for beta in optimizer.betas] == [float, float]


@pytest.mark.parametrize(
    ("kind", "wrong", "message"),
    [
        (SGD, {"nesterov": True}, "nesterov needs momentum"),
        (SGD, {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
        (SGD, {"momentum": 1.9}, "momentum must be below 1, got 1.9"),
        (RMSprop, {"momentum": 1}, "momentum must be below 1"),
        (SGD, {"lr": np.ones(99)}, "lr must be a finite number of at least 0, got ndarray$"),
        (SGD, {"nesterov": 1}, "nesterov must be True or False"),
        (RMSprop, {"alpha": 1.0}, "alpha must be below 1"),
        (RMSprop, {"centered": None}, "centered must be True or False"),
        (NAdam, {"betas": (0.9, 1)}, r"betas\[1\] must be below 1"),
        (AdamW, {"betas": 0.9}, "betas must be a pair"),
        (Muon, {"momentum": 1}, "momentum must be below 1"),
        (Muon, {"ns_steps": 100}, "ns_steps must be below 100"),
        (Muon, {"ns_steps": 2.5}, "ns_steps must be an integer"),
        (Muon, {"ns_coefficients": (1, 2)}, "ns_coefficients must be three numbers"),
        (Muon, {"adjust_lr_fn": "half"}, 'adjust_lr_fn must be "original" or "match_rms_adamw"'),
    ],
)
def test_other_wrong_settings(kind, wrong, message):
    with pytest.raises(ValueError, match=message):
        kind(**wrong)


def test_muon_rejects_vectors_and_suggests_adamw():
    with pytest.raises(ValueError, match=r"not a parameter of shape \(3,\).*train the rest with AdamW"):
        Muon(Linear(2, 3).parameters())
    with pytest.raises(ValueError, match="AdamW"):
        Sequential([Linear(2, 3)], optimizer=Muon())
    with pytest.raises(ValueError, match="AdamW"):
        Muon([{"params": [Parameter([1.0])]}])


def test_muon_steps_are_orthogonal():
    """With the cubic iteration, which converges, all singular values of the step become 1."""
    rng = np.random.default_rng(0)
    for shape in [(3, 5), (5, 3), (4, 2, 3, 3)]:
        parameter = Parameter(np.zeros(shape))
        parameter.accumulate_grad(rng.normal(size=shape))
        Muon([parameter], lr=1.0, ns_coefficients=(1.5, -0.5, 0.0), ns_steps=40).step()
        scale = max(1, shape[0] / np.prod(shape[1:])) ** 0.5
        values = np.linalg.svd(parameter.data.reshape(shape[0], -1), compute_uv=False)
        np.testing.assert_allclose(values, scale, rtol=1e-12)


def test_muon_with_a_zero_gradient_changes_nothing():
    parameter = Parameter(np.ones((2, 2)))
    parameter.accumulate_grad(np.zeros((2, 2)))
    Muon([parameter], weight_decay=0).step()
    np.testing.assert_array_equal(parameter.data, 1)


def test_a_centred_rmsprop_with_a_constant_gradient_stays_finite():
    """Its variance is 0, and rounding must not make it negative."""
    parameter = Parameter(np.zeros(50))
    optimizer = RMSprop([parameter], alpha=0.1, centered=True)
    for _ in range(100):
        parameter.grad = np.linspace(0.1, 7, 50)
        optimizer.step()
    assert np.isfinite(parameter.data).all()
    assert (parameter.data < 0).all()


def test_clipping_does_not_change_small_gradients_and_frozen_parameters():
    small, frozen = Parameter([0.0, 0.0]), Parameter([0.0])
    small.grad = np.array([3.0, 4.0])
    assert clip_grad_norm_((p for p in (small, frozen)), max_norm=6) == 5
    np.testing.assert_array_equal(small.grad, [3, 4])
    assert frozen.grad is None


def test_clipping_after_the_gradients_are_gone_is_an_error():
    model = Sequential([Linear(2, 1)], loss_func=MSELoss(), optimizer=SGD())
    model.train_step(np.ones((2, 2), np.float32), np.ones((2, 1), np.float32))
    for clip in (clip_grad_norm_, clip_grad_value_):
        with pytest.raises(RuntimeError, match=r"no gradient to clip: call it between backward \(loss_and_grad\)"):
            clip(model.parameters(), 1.0)


def test_a_norm_whose_squares_would_overflow():
    for dtype, size in ((np.float32, 1e30), (np.float64, 1e300), (np.float64, 1e-300)):
        parameter = Parameter(np.zeros(2, dtype))
        parameter.grad = np.array([3 * size, 4 * size], dtype)
        assert clip_grad_norm_([parameter], 1.0) == pytest.approx(5 * size)
        np.testing.assert_allclose(parameter.grad, np.array([0.6, 0.8]) * min(1, 5 * size), rtol=1e-6)


def test_wrong_arguments_of_clipping():
    with pytest.raises(ValueError, match="max_norm"):
        clip_grad_norm_([], -1)
    with pytest.raises(ValueError, match="norm_type"):
        clip_grad_norm_([], 1, norm_type=0)
    with pytest.raises(ValueError, match="clip_value"):
        clip_grad_value_([], float("nan"))
    with pytest.raises(TypeError, match=r"pass model.parameters\(\)"):
        clip_grad_norm_([np.ones(2)], 1)
    with pytest.raises(TypeError, match=r"pass model.parameters\(\)"):
        clip_grad_norm_(Linear(2, 1), 1)


class Scale(Module):
    def __init__(self):
        self.weight = Parameter([1.0])
        self.running = Buffer([1.0])


def test_the_average_is_applied_and_removed_even_after_an_error():
    model = Scale()
    array = model.weight.data
    average = WeightAverage(model, decay=0.5)
    for value in (2.0, 4.0):
        model.weight.data = [value]
        model.running.data = [value]
        average.update()
    with pytest.raises(KeyError), average.applied() as averaged:  # noqa: PT012
        assert averaged is model
        assert model.weight.data[0] == 3
        assert model.running.data[0] == 4  # running statistics are not averaged
        raise KeyError
    assert model.weight.data is array
    assert array[0] == 4
    assert average.n_averaged == 2


def test_before_any_update_the_average_is_the_initial_weights():
    model = Scale()
    average = WeightAverage(model)
    model.weight.data = [7.0]
    with average.applied():
        assert model.weight.data[0] == 1
    assert model.weight.data[0] == 7


@pytest.mark.parametrize(("before", "after"), [(np.float32, np.float64), (np.float64, np.float32)])
def test_the_average_follows_a_model_that_is_converted(before, after):
    model = Scale().to(before)
    average = WeightAverage(model, decay=0.5)
    average.update()
    model.to(after)
    model.weight.data = [2.0]
    average.update()
    assert average.averages[0].dtype == after
    assert average.averages[0] == 1.5


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_decay_is_a_fraction(decay):
    with pytest.raises(ValueError, match="decay must be"):
        WeightAverage(Scale(), decay)


def test_weight_average_needs_a_model():
    with pytest.raises(TypeError, match=r"^model must be a Module, got list: pass the model itself, not model.param"):
        WeightAverage(Linear(2, 1).parameters())


def test_repr_of_an_average():
    average = WeightAverage(Scale(), decay=0.5)
    average.update()
    assert repr(average) == "WeightAverage(decay=0.5, n_averaged=1)"


def normed():
    model = Sequential([Linear(2, 3, bias=False, rng=0), BatchNorm1d(3, momentum=0.2), Dropout(0.5), Linear(3, 1)])
    model(np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32))
    model.eval()
    model.layers[2].train()
    return model


def test_update_bn_of_a_data_loader_runs_one_epoch():
    x, y = np.random.default_rng(0).normal(size=(20, 2)), np.zeros(20)
    loader, model, other = DataLoader(x, y, batch_size=5, rng=0), normed(), normed()
    update_bn(loader, model)
    assert (loader.epoch, loader.taken) == (1, 4)
    assert model.layers[1].num_batches_tracked.data == 4
    rows = x.astype(np.float32) @ model.layers[0].weight.data.T
    np.testing.assert_allclose(model.layers[1].running_mean.data, rows.mean(axis=0), rtol=1e-5, atol=1e-6)
    update_bn(DataLoader(x.astype(np.float32), y, batch_size=5, rng=0), other)  # float64 was converted
    np.testing.assert_array_equal(model.layers[1].running_var.data, other.layers[1].running_var.data)


@pytest.mark.parametrize(
    ("batches", "error", "text"),
    [
        (list, ValueError, "there are no batches"),
        (lambda: iter([np.ones((4, 2)), np.ones((1, 2))]), InputError, "more than 1 value per channel"),
        (lambda: np.ones((4, 2)), TypeError, "pass DataLoader"),
        (lambda: [np.ones((4, 2)), np.ones((4, 2), int)], InputError, "int64"),
        (lambda: [np.eye(2), np.array([[1, 2], [3, np.nan]])], InputError, "sample 1 of batch 2 is NaN or infinite"),
        (lambda: [(np.full((4, 2), np.inf), np.ones(4))], InputError, "sample 0 of batch 1 is NaN or infinite"),
        (lambda: DataLoader(np.array([[1, 2], [3, np.nan], [5, 6]]), np.ones(3), 3), InputError, "DataLoader is NaN"),
        (lambda: [np.full((4, 2), 1e30) * np.arange(4)[:, None]], InputError, "statistics became NaN or infinite"),
    ],
)
def test_update_bn_leaves_everything_as_it_was_after_an_error(batches, error, text):
    model = normed()
    before, modes = model.state_dict(), [module.training for module in model.modules()]
    with pytest.raises(error, match=text):
        update_bn(batches(), model)
    assert all(np.array_equal(values, before[name]) for name, values in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert modes == [False, False, False, True, False]
    assert model.layers[1].momentum == 0.2
    model.layers[1].running_mean.data = [np.nan] * 3  # of a training that diverged
    update_bn([np.eye(2)], model)
    assert np.isfinite(model.layers[1].running_mean.data).all()


def test_update_bn_without_norms_reads_nothing():
    update_bn(iter([1]), Linear(2, 1))
    update_bn([], BatchNorm1d(2, track_running_stats=False))
    with pytest.raises(TypeError, match="model must be a Module"):
        update_bn([], [])
