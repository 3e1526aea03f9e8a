"""The small net in place of the one that has seen ImageNet, and photographs."""

from pathlib import Path

import pytest

from cnn import zoo
from tests.cli.pretrained.small import small_net
from tests.cli.test_folder import shades


@pytest.fixture(autouse=True)
def start(monkeypatch):
    """The small net in place of the one that has seen ImageNet; returns its weights."""
    monkeypatch.setattr(zoo, "efficientnet_lite0", small_net)
    return small_net().state_dict()


@pytest.fixture
def photos():
    """Dark and light images, 8 of each and of 40 x 30 pixels."""
    shades("photos", 8)
    return Path("photos")
