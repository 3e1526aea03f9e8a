"""Look inside a trained net: what each layer makes of a sample, forward and backward, and why it answers as it does."""

from cnn.explore.arithmetic import Arithmetic, arithmetic, loss_arithmetic
from cnn.explore.data import pack, pack_image
from cnn.explore.facts import Facts, dead_share, facts
from cnn.explore.fields import Field
from cnn.explore.finite_difference import Difference, finite_difference
from cnn.explore.page import Page, page
from cnn.explore.random_weights import randomized
from cnn.explore.saliency import grad_cam, gradient, gradient_times_input, occlusion
from cnn.explore.trace import Trace, trace
from cnn.explore.walk import Node
from cnn.explore.weight_gradients import weight_arithmetic

__all__ = [
    "Arithmetic",
    "Difference",
    "Facts",
    "Field",
    "Node",
    "Page",
    "Trace",
    "arithmetic",
    "dead_share",
    "facts",
    "finite_difference",
    "grad_cam",
    "gradient",
    "gradient_times_input",
    "loss_arithmetic",
    "occlusion",
    "pack",
    "pack_image",
    "page",
    "randomized",
    "trace",
    "weight_arithmetic",
]
