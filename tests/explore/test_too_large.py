"""Inputs so large that float32 overflows: a sentence, or numbers, but no warning of NumPy, which is an error here."""

import numpy as np
import pytest

from cnn import Sequential
from cnn.errors import InputError
from cnn.explore import gradient, gradient_times_input, occlusion, pack, page, trace
from cnn.layers import Conv2d, Flatten, Linear, Softmax
from cnn.loss import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss

LOOKS = {
    "trace": lambda model, x, y: trace(model, x, y).loss,
    "pack": lambda model, x, y: pack(model, x, [y])[0]["images"][0]["loss"],
    "page": lambda model, x, y: page(model, x, [y]).text,
    "page of an unknown answer": lambda model, x, y: page(model, x).text,
    "gradient": lambda model, x, y: gradient(model, x, 0).sum(),
    "gradient_times_input": lambda model, x, y: gradient_times_input(model, x, 0).sum(),
    "occlusion": lambda model, x, y: occlusion(model, x, 0).sum(),
}


def net(factor, loss_func):
    layers = [Conv2d(1, 2, 3, rng=0), Flatten(), Linear(72, 3, rng=1)]
    model = Sequential(layers if loss_func else [*layers, Softmax()], loss_func=loss_func)
    for parameter in model.parameters():
        parameter.data = parameter.data * factor
    return model


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("loss_func", [None, CrossEntropyLoss(from_logits=True), MSELoss(), BCEWithLogitsLoss()])
def test_numbers_that_become_too_large_are_said(look, loss_func):
    problems = []
    for factor in (1, 100):
        for value in (1e30, 1e37, 1e38, 3e38, -3e38):
            try:
                found = LOOKS[look](net(factor, loss_func), np.full((1, 1, 8, 8), value, np.float32), 0)
            except InputError as error:
                problems.append(str(error))
            else:
                assert found if isinstance(found, str) else np.isfinite(found)
    assert len(problems) >= 3  # with the larger weights
    assert all("the numbers became too large" in problem for problem in problems)


def test_a_picture_that_is_only_large_has_all_its_maps():
    x = np.full((1, 1, 28, 28), 1e38, np.float32)  # their sum is beyond float32
    model = Sequential([Flatten(), Linear(784, 2, rng=0), Softmax()])
    model.layers[1].weight.data = model.layers[1].weight.data * 1e-3
    assert list(pack(model, x, [0])[0]["images"][0]["maps"]) == ["gradient", "gradient_times_input", "occlusion"]
