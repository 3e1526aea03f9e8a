"""Targets move with the pixels: the pixels of the images hold their own coordinates, so that both can be compared."""

import copy
import functools

import numpy as np
import pytest

from cnn import Sequential
from cnn.data import (
    AlternatingFlip,
    Brightness,
    Contrast,
    CutMix,
    DataLoader,
    HorizontalFlip,
    Mixup,
    Normalize,
    RandomCrop,
    RandomErasing,
    Rotation,
    SampleRNG,
)
from cnn.errors import InputError, ShapeError
from cnn.layers import Conv2d
from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss
from cnn.optim import Adam

N, H, W = 12, 9, 13
GEOMETRIC = [
    HorizontalFlip(p=0.5),
    AlternatingFlip(),
    RandomCrop(3),
    RandomCrop(3, "reflect"),
    RandomCrop(3, "nearest"),
    Rotation(20, "nearest"),
    RandomCrop(0),
    Rotation(25),
    Rotation(180),
]
MOVING = [*GEOMETRIC, CutMix(classes=4), Mixup(classes=4)]
STAYING = [RandomErasing(p=1), Brightness(0.5), Contrast(0.5), Normalize(0.5, 0.5, scale=1)]

# An image holds the row, the column and the number of the sample, from 1 on, so that 0 is what came from outside.
ROWS, COLUMNS = (grid + 1.0 for grid in np.mgrid[:H, :W])
COORDINATES = np.stack([np.stack([ROWS, COLUMNS, np.full((H, W), i + 1.0)]) for i in range(N)])
OTHERS = [
    np.random.default_rng(0).normal(size=(N, 4)),  # boxes, or measurements
    np.random.default_rng(0).normal(size=N),
    np.random.default_rng(0).normal(size=(N, 5, 2)),
    np.random.default_rng(0).integers(0, 9, (N, 4)),
    np.random.default_rng(0).random((N, H, W + 1)),
    np.random.default_rng(0).random((N, 2, 2, H, W)),
    np.zeros((N, H, W), np.complex64),
]
LABELS = [
    np.arange(N) % 4,
    (np.arange(N) % 4).astype(np.uint8),
    np.arange(N) % 2 == 1,
    np.random.default_rng(0).dirichlet(np.ones(4), N),
    np.random.default_rng(0).integers(0, 2, (N, 4)).astype(np.float32),  # several labels, yes or no
    np.random.default_rng(0).integers(0, 2, (N, 1)),
]


def rng(epoch=1):
    return SampleRNG(7, epoch, np.arange(N), transform=1)


def name(transform):
    return repr(transform)


@pytest.mark.parametrize("transform", GEOMETRIC, ids=name)
@pytest.mark.parametrize("dtype", [np.int64, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(N, 3, H, W), (N, H, W)])
def test_masks_move_with_the_images(transform, dtype, shape):
    masks = COORDINATES.astype(dtype)
    masks = masks if len(shape) == 4 else masks[:, 0]
    before = masks.copy()
    x, y = transform(COORDINATES, masks, rng())
    assert y.dtype == dtype
    assert y.shape == shape
    np.testing.assert_array_equal(masks, before)
    if np.dtype(dtype).kind == "f":
        np.testing.assert_allclose(y, x if len(shape) == 4 else x[:, 0], rtol=1e-4, atol=1e-4)
        return
    inside = x[:, 2] == np.arange(1, N + 1)[:, None, None]  # all that was interpolated lies in the image
    assert inside.mean() > 0.3
    x = x if len(shape) == 4 else x[:, :1]
    y = y if len(shape) == 4 else y[:, None]
    inside = np.broadcast_to(inside[:, None], y.shape)
    assert np.abs(y - x)[inside].max() <= 0.5 + 1e-6  # the nearest pixel
    assert set(np.unique(y[~inside & (y < 1)])) <= {-100}  # no label is invented
    if isinstance(transform, RandomCrop) and transform.edge == "zero" and transform.padding:
        assert np.array_equal(y == -100, np.broadcast_to(x == 0, y.shape))


@pytest.mark.parametrize("transform", GEOMETRIC, ids=name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_move_with_the_images(transform, dtype):
    points = np.random.default_rng(0).uniform([3, 2], [W - 4, H - 3], (N, 40, 2)).astype(dtype)  # (x, y), inside
    loader = DataLoader(COORDINATES, points, N, shuffle=False, rng=3, transforms=[transform], targets="points")
    for epoch in (1, 2):
        [(x, moved)] = loader
        assert moved.dtype == dtype
        assert moved.shape == points.shape
        compared = 0
        for image, old, new in zip(x, points, moved, strict=True):
            for before, (column, row) in zip(old, new, strict=True):
                j, i = int(np.floor(column)), int(np.floor(row))
                if not (0 <= i < H - 1 and 0 <= j < W - 1) or (image[2, i : i + 2, j : j + 2] != image[2].max()).any():
                    continue  # it has left the image, or lies at its edge
                down, right = row - i, column - j
                corners = image[:, i : i + 2, j : j + 2]
                found = (corners * np.outer([1 - down, down], [1 - right, right])).sum(axis=(1, 2))
                np.testing.assert_allclose(found[[1, 0]] - 1, before, atol=1e-3)
                compared += 1
        assert compared > 0.4 * N * 40
        assert loader.epoch == epoch


def test_a_point_is_the_centre_of_a_pixel_x_first():
    x = np.zeros((1, 1, 5, 7), np.float32)
    x[0, 0, 3, 1] = 1
    one = SampleRNG(0, 1, [0])
    points = np.array([[[1.0, 3.0], [6.0, 0.0]]])
    np.testing.assert_array_equal(HorizontalFlip(1).move_points(points, (5, 7), one), [[[5, 3], [0, 0]]])
    assert HorizontalFlip(1)(x, np.array([0]), one)[0][0, 0, 3, 5] == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("channels", [0, 2])
def test_cutmix_pastes_the_mask_with_the_image(dtype, channels):
    masks = np.broadcast_to(COORDINATES[:, 2], (channels, N, H, W)).swapaxes(0, 1) if channels else COORDINATES[:, 2]
    x, y = CutMix(classes=2)(COORDINATES, masks.astype(dtype), rng())
    assert y.dtype == dtype
    assert len(np.unique(x[0, 2])) == 2
    np.testing.assert_array_equal(y, np.broadcast_to(x[:, 2:], y.shape) if channels else x[:, 2])


def test_mixup_blends_real_masks_and_refuses_masks_of_class_ids():
    for masks in (COORDINATES[:, 2], COORDINATES[:, :2]):
        x, y = Mixup(classes=2)(COORDINATES, masks, rng())
        np.testing.assert_allclose(y, x[:, 2] if masks.ndim == 3 else x[:, :2], rtol=1e-6)
    with pytest.raises(InputError, match=r"Mixup cannot blend masks of class ids, int64 .*use CutMix.*\(N, K, H, W\)"):
        Mixup(classes=2)(COORDINATES, COORDINATES[:, 2].astype(np.int64), rng())
    with pytest.raises(InputError, match="Mixup cannot blend masks of class ids"):
        DataLoader(COORDINATES, COORDINATES[:, 2].astype(np.int64), transforms=[HorizontalFlip(), Mixup(classes=2)])


@pytest.mark.parametrize("transform", STAYING, ids=name)
@pytest.mark.parametrize("y", [*OTHERS, *LABELS, COORDINATES[:, 0].astype(int)], ids=lambda y: f"{y.dtype}{y.shape}")
def test_targets_stay_where_no_pixel_moves(transform, y):
    assert transform(COORDINATES, y, rng())[1] is y
    for word in (None, "unmoved"):
        [(_, found)] = DataLoader(COORDINATES, y, N, shuffle=False, transforms=[transform], targets=word)
        np.testing.assert_array_equal(found, y)


@pytest.mark.parametrize("transform", GEOMETRIC, ids=name)
@pytest.mark.parametrize("y", LABELS, ids=lambda y: f"{y.dtype}{y.shape}")
def test_labels_stay_and_the_images_do_not_depend_on_the_targets(transform, y):
    x, found = transform(COORDINATES, y, rng())
    assert found is y
    for other in (None, COORDINATES[:, 0]):
        np.testing.assert_array_equal(transform(COORDINATES, other, rng())[0], x)
    for word in (None, "unmoved"):
        [(_, found)] = DataLoader(COORDINATES, y, N, shuffle=False, transforms=[transform], targets=word)
        np.testing.assert_array_equal(found, y)


@pytest.mark.parametrize("transform", MOVING, ids=name)
@pytest.mark.parametrize("y", OTHERS, ids=lambda y: f"{y.dtype}{y.shape}")
def test_other_targets_need_a_word_before_training(transform, y):
    with pytest.raises(InputError, match=r'are neither class ids \(N,\).*targets="points".*or targets="unmoved"'):
        DataLoader(COORDINATES, y, transforms=[Normalize(0, 1, scale=1), transform])
    DataLoader(COORDINATES, y)
    if transform in GEOMETRIC:
        [(x, found)] = DataLoader(COORDINATES, y, N, False, 0, [transform], targets="unmoved")
        np.testing.assert_array_equal(found, y)
        [(expected, _)] = DataLoader(COORDINATES, np.arange(N), N, False, 0, [transform])
        np.testing.assert_array_equal(x, expected)
        if transform != RandomCrop(0):
            with pytest.raises(InputError, match='targets="points"'):
                transform(COORDINATES, y, rng())
    else:
        with pytest.raises(InputError, match='mixes targets, which makes no sense for targets="unmoved"'):
            DataLoader(COORDINATES, y, transforms=[transform], targets="unmoved")


@pytest.mark.parametrize("transform", MOVING, ids=name)
@pytest.mark.parametrize(
    ("y", "fix"),
    [
        (np.arange(N)[:, None] % 4, r'pass targets="unmoved" if they .*; if these are class ids, pass y\.ravel\(\)$'),
        (np.array(["cat", "dog"] * (N // 2)), r"pass class ids: names, y = np\.unique\(y, return_inverse=True\)$"),
        (np.zeros((N, 4)) + 3, 'targets="points"'),
    ],
)
def test_unknown_targets_the_error_names_the_transform_and_the_fix(transform, y, fix):
    with pytest.raises(InputError, match=fix) as caught:
        DataLoader(COORDINATES, y, transforms=[transform])
    assert str(caught.value).startswith(f"{transform!r} moves the pixels of the images")
    assert "nor yes and no as 1 and 0" in str(caught.value)
    assert ("points" in str(caught.value)) == ("points" in fix)


@pytest.mark.parametrize("own", [lambda x, y, rng: (x, y), functools.partial(lambda x, y, rng, k: (x, y), k=1)])
def test_a_transform_without_a_name(own):
    with pytest.raises(
        InputError, match=r"a (lambda|partial) among .*: give it a name, transform = \1 \.\.\., and set"
    ):
        DataLoader(COORDINATES, OTHERS[0], transforms=[own])
    own.moves_pixels = False
    DataLoader(COORDINATES, OTHERS[0], transforms=[own])


def test_masks_with_a_padding_for_a_binary_loss_name_the_transforms_setting():
    masks = (COORDINATES[:, :1] > 4).astype(np.int64)
    for transform, works in (
        (RandomCrop(3), False),
        (Rotation(25), False),
        (RandomCrop(3, mask_fill=0), True),
        (RandomCrop(3, "reflect"), True),
        (Rotation(25, mask_fill=0), True),
        (Rotation(25, "nearest"), True),
    ):
        model = Sequential([Conv2d(3, 1, 1)], loss_func=BCEWithLogitsLoss(), optimizer=Adam())
        loader = DataLoader(COORDINATES.astype("f"), masks, N, rng=0, transforms=[transform])
        if works:
            model.fit(loader, epochs=1, verbose_freq=0)
            continue
        with pytest.raises(InputError, match=r'got -100 to 1: .*mask_fill=0 or edge="reflect"'):
            model.fit(loader, epochs=1, verbose_freq=0)


def test_a_single_target_does_not_make_them_labels(tmp_path):
    y = np.zeros((2000, 4), np.float32)
    y[:, 0] = 1
    y[1500:] = 0.4  # no probabilities
    x = np.zeros((2000, 1, 3, 3), np.float32)
    np.save(tmp_path / "y.npy", y)
    for targets in (y, tmp_path / "y.npy", list(y)):
        with pytest.raises(InputError, match="are neither"):
            DataLoader(x, targets, transforms=[HorizontalFlip()])
        DataLoader(x[:1500], y[:1500], transforms=[HorizontalFlip()])


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.arange(N), ShapeError, r'targets="points" needs targets \(N, P, 2\).*got \(N,\)'),
        (np.zeros((N, 8)), ShapeError, r"got \(N, 8\): pass y.reshape\(len\(y\), -1, 2\)"),
        (np.zeros((N, 4, 3)), ShapeError, r"got \(N, 4, 3\)"),
        (np.zeros((N, 4, 2), int), InputError, r"floating-point numbers, got int64: pass y.astype\(np.float32\)"),
    ],
)
def test_points_have_two_real_coordinates(y, error, message):
    with pytest.raises(error, match=message):
        DataLoader(COORDINATES, y, transforms=[HorizontalFlip()], targets="points")


def test_invalid_words():
    for word in ("boxes", True, 3):
        with pytest.raises(InputError, match='targets must be "points", "unmoved" or None'):
            DataLoader(COORDINATES, np.arange(N), targets=word)
    for mixing in (Mixup(classes=3), CutMix(classes=3)):
        with pytest.raises(InputError, match='mixes targets, which makes no sense for targets="points"'):
            DataLoader(COORDINATES, np.ones((N, 4, 2)), transforms=[mixing], targets="points")


def test_the_word_decides_where_points_have_the_shape_of_masks():
    x, y = np.zeros((3, 1, 5, 2), np.float32), np.arange(30.0).reshape(3, 5, 2)
    found = {
        word: next(iter(DataLoader(x, y, 3, False, transforms=[HorizontalFlip(1)], targets=word)))[1]
        for word in (None, "points", "unmoved")
    }
    np.testing.assert_array_equal(found[None], y[..., ::-1])
    np.testing.assert_array_equal(found["points"], np.stack([1 - y[..., 0], y[..., 1]], axis=-1))
    np.testing.assert_array_equal(found["unmoved"], y)


# transforms of the user's own


def upside_down(x, y, rng):
    return x[:, :, ::-1], y if y.ndim < 3 else y[..., ::-1, :]


def darker(x, y, rng):
    return x / 2, y


@pytest.mark.parametrize("y", [*OTHERS, COORDINATES[:, 0].astype(int)], ids=lambda y: f"{y.dtype}{y.shape}")
def test_a_transform_of_the_users_own_says_whether_it_moves_pixels(y):
    for own in (upside_down, darker):
        with pytest.raises(InputError, match=rf"the transform {own.__name__} moves pixels.*\.moves_pixels = False if"):
            DataLoader(COORDINATES, y, transforms=[own])
        [(_, found)] = DataLoader(COORDINATES, y, N, False, transforms=[own], targets="unmoved")
    own = copy.copy(darker)

    def stays(x, y, rng):
        return darker(x, y, rng)

    def moves(x, y, rng):
        return upside_down(x, y, rng)

    stays.moves_pixels, moves.moves_pixels = False, True
    [(_, found)] = DataLoader(COORDINATES, y, N, False, transforms=[stays])
    np.testing.assert_array_equal(found, y)
    [(_, found)] = DataLoader(COORDINATES, y, N, False, transforms=[moves])
    np.testing.assert_array_equal(found, upside_down(COORDINATES, y, None)[1])


@pytest.mark.parametrize("y", LABELS, ids=lambda y: f"{y.dtype}{y.shape}")
def test_for_labels_it_need_not_say(y):
    [(x, found)] = DataLoader(COORDINATES, y, N, False, transforms=[upside_down, HorizontalFlip(1)])
    np.testing.assert_array_equal(found, y)
    np.testing.assert_array_equal(x, COORDINATES[:, :, ::-1, ::-1])


def test_where_samples_are_no_images_nothing_is_asked():
    [(x, _)] = DataLoader(np.ones((N, 6)), OTHERS[0], N, transforms=[darker])
    assert (x == 0.5).all()


def test_it_may_have_a_method_for_points_and_change_the_size():
    class Half:
        moves_pixels = True

        def __call__(self, x, y, rng):
            return x[:, :, ::2, ::2], y if y is None else y[..., ::2, ::2]

        def move_points(self, points, size, rng):
            assert size == (H, W)
            return points / 2

    points = np.random.default_rng(0).random((N, 3, 2))
    transforms = [Half(), HorizontalFlip(1)]
    [(x, found)] = DataLoader(COORDINATES, points, N, False, transforms=transforms, targets="points")
    np.testing.assert_allclose(found, np.stack([(W + 1) / 2 - 1 - points[..., 0] / 2, points[..., 1] / 2], axis=-1))
    assert x.shape == (N, 3, (H + 1) // 2, (W + 1) // 2)
    [(x, found)] = DataLoader(COORDINATES, COORDINATES[:, 0], N, False, transforms=transforms)
    np.testing.assert_array_equal(found, x[:, 0])


# what lies outside the image


@pytest.mark.parametrize("transform", [RandomCrop(4), Rotation(60)], ids=name)
def test_masks_hold_what_the_user_says_outside_the_image(transform):
    masks = np.ones((N, H, W), np.uint8)
    for y, message in ((masks, "masks of uint8 cannot hold it"), (masks.astype(bool), "masks of bool cannot hold it")):
        with pytest.raises(InputError, match=rf"get -100 in masks, but {message}.*mask_fill=255"):
            DataLoader(COORDINATES, y, transforms=[transform])
    filled = copy.copy(transform)
    for y, fill in ((masks, 255), (masks > 0, 0), (masks.astype(int), 7), (masks.astype("f"), 0.25)):
        filled.mask_fill = fill
        found = filled(COORDINATES, y, rng())[1]
        outside = filled(COORDINATES, masks.astype(float), rng())[1] != 1
        assert outside.any()
        assert found.dtype == y.dtype
        assert found[~outside].all()
        assert (found == fill).any()
    assert repr(filled).endswith(", mask_fill=0.25)")
    assert eval(repr(filled), {type(filled).__name__: type(filled)}) == filled
    assert "mask_fill" not in repr(transform)
    with pytest.raises(ValueError, match="mask_fill must be None or a number, got 'black'"):
        Rotation(3, mask_fill="black")
    with pytest.raises(ValueError, match="mask_fill must be None or a number"):
        RandomCrop(3, mask_fill=True)


# training


def blobs(seed):
    """Images with a bright rectangle in the left half, and masks that show it."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((64, 12, 12), np.int64)
    for mask in masks:
        i, j, h, w = rng.integers([0, 0, 4, 3], [6, 3, 7, 4])
        mask[i : i + h, j : j + w] = 1
    x = masks[:, None] + rng.normal(0, 0.1, (64, 1, 12, 12))
    return x.astype(np.float32), masks


@pytest.mark.parametrize(
    "transform", [HorizontalFlip(), AlternatingFlip(), RandomCrop(2), Rotation(30), CutMix(classes=2)]
)
def test_segmentation_learns_with_every_transform(transform):
    model = Sequential([Conv2d(1, 2, 1)], loss_func=CrossEntropyLoss(from_logits=True), optimizer=Adam(lr=0.1))
    x, y = blobs(0)
    validation = blobs(1)
    loader = DataLoader(x, y, 16, rng=0, transforms=[transform])
    model.fit(loader, epochs=15, verbose_freq=0)
    predicted = model.predict(validation[0])
    assert (predicted == validation[1]).mean() > 0.99
    assert model.history.train_loss[-1] < 0.1


def test_a_loader_of_validation_data_moves_its_targets_too():
    from cnn.training.evaluation import batches_in_order

    points = np.random.default_rng(0).random((N, 3, 2))
    loader = DataLoader(COORDINATES, points, 5, transforms=[HorizontalFlip(1)], targets="points")
    found = np.concatenate([y for _, y in batches_in_order(loader)])
    np.testing.assert_allclose(found, np.stack([W - 1 - points[..., 0], points[..., 1]], axis=-1))


@pytest.mark.parametrize(
    ("y", "text"),
    [
        (
            np.arange(N)[:, None] + 2,
            r"RandomCrop\(.* moves the pixels.*yes and no.*if these are class ids, pass y.ravel\(\)$",
        ),
        (np.array(["cat", "dog"] * N)[:N], r"names, y = np.unique\(y, return_inverse=True\)$"),
    ],
)
def test_targets_that_are_almost_labels(y, text):
    with pytest.raises(InputError, match=text):
        DataLoader(COORDINATES, y, transforms=[RandomCrop(padding=1)])


def test_a_lambda_has_no_name_to_declare():
    with pytest.raises(InputError, match=r"a lambda .*give it a name, transform = lambda .*transform.moves_pixels = F"):
        DataLoader(COORDINATES, np.ones((N, 2)) * 3, transforms=[lambda x, y, rng: (x, y)])
