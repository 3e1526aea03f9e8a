"""Errors about calls that Python refused: ours if there is more to say, and Python's own otherwise."""

import pytest

from cnn.core.explain import explain_arguments
from cnn.layers import Linear, ReLU
from cnn.loss import CrossEntropyLoss
from cnn.optim import SGD


@pytest.mark.parametrize("cls", [Linear, ReLU, CrossEntropyLoss, SGD])
@pytest.mark.parametrize("settings", [{}, {"filters": 3}])
def test_an_init_called_without_an_object(cls, settings):
    with pytest.raises(TypeError, match=r"missing \d required positional arguments?: 'self'|got an unexpected keyword"):
        cls.__init__(**settings)


def test_functions_without_arguments():
    @explain_arguments
    def step():
        pass

    assert step() is None
    with pytest.raises(TypeError, match=r"^step takes no arguments, got 3$"):
        step(3)
    with pytest.raises(TypeError, match=r"^ReLU takes no arguments, got 3$"):
        ReLU(3)
    with pytest.raises(TypeError, match=r"^step has no argument 'epoch': it takes none$"):
        step(epoch=3)
