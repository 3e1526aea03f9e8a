"""What is checked of each class. A new layer, loss, optimizer or schedule adds a line.

Names and arguments are PyTorch's, so one expression builds both: ``nn`` is either `OURS`, the layers and containers of
this library, or their PyTorch counterparts; for losses it is `cnn.loss` or `torch.nn`; ``o`` and ``s`` are `cnn.optim`,
or `torch.optim` and `torch.optim.lr_scheduler`.
"""

from typing import Any

import numpy as np

from cnn.verify.case_types import (
    AverageCase,
    ClippingCase,
    InitialCase,
    LayerCase,
    LossCase,
    OptimizerCase,
    ScheduleCase,
)

BOTH = (True, False)  # training and evaluation

C = LayerCase
IMAGE = (2, 3, 5, 6)
LAYERS = [
    C("Affine", IMAGE, lambda nn: nn.Affine(3)),
    C("AdaptiveAvgPool2d", (2, 3, 5, 7), lambda nn: nn.AdaptiveAvgPool2d((3, 2))),
    C("AdaptiveMaxPool2d", (2, 3, 5, 7), lambda nn: nn.AdaptiveMaxPool2d((3, 2))),
    C("AvgPool2d", (2, 2, 7, 6), lambda nn: nn.AvgPool2d(3, stride=2, padding=1)),
    C("AvgPool2d", (2, 2, 6, 5), lambda nn: nn.AvgPool2d((2, 3), ceil_mode=True, count_include_pad=False)),
    C("AvgPool2d", (2, 2, 6, 5), lambda nn: nn.AvgPool2d(3, stride=2, padding=((0, 1), (0, 1)))),
    C("BatchNorm1d", (5, 4), lambda nn: nn.BatchNorm1d(4), BOTH),
    C("BatchNorm1d", (3, 4, 5), lambda nn: nn.BatchNorm1d(4, momentum=None), BOTH),
    C("BatchNorm2d", (3, 2, 3, 4), lambda nn: nn.BatchNorm2d(2, eps=1e-3, momentum=0.3), BOTH),
    C("BatchNorm2d", (3, 2, 3, 4), lambda nn: nn.BatchNorm2d(2, affine=False, track_running_stats=False), BOTH),
    C("CELU", IMAGE, lambda nn: nn.CELU(1.5)),
    C("ChannelShuffle", (2, 6, 2, 3), lambda nn: nn.ChannelShuffle(3)),
    C("ChannelSlice", (2, 5, 2, 3), lambda nn: nn.ChannelSlice(1, 4)),
    C("ConstantPad2d", (2, 2, 3, 4), lambda nn: nn.ConstantPad2d((1, 2, 0, 3), 1.5)),
    C("Conv2d", IMAGE, lambda nn: nn.Conv2d(3, 4, 3)),
    C("Conv2d", (3, 1, 6, 5), lambda nn: nn.Conv2d(1, 2, (2, 3), stride=2, padding=1)),
    C("Conv2d", (2, 4, 3, 4), lambda nn: nn.Conv2d(4, 6, 2, padding="same", groups=2, bias=False)),
    C("Conv2d", (2, 3, 4, 5), lambda nn: nn.Conv2d(3, 3, 3, dilation=(1, 2), padding=(0, 2), groups=3)),
    C("Conv2d", (2, 2, 6, 5), lambda nn: nn.Conv2d(2, 3, 3, stride=2, padding="same")),
    C("Conv2d", (2, 2, 4, 5), lambda nn: nn.Conv2d(2, 3, (2, 3), padding=((0, 2), (3, 1)))),
    C("ConvTranspose2d", (2, 3, 3, 4), lambda nn: nn.ConvTranspose2d(3, 4, 3)),
    C(
        "ConvTranspose2d",
        (2, 4, 3, 2),
        lambda nn: nn.ConvTranspose2d(4, 2, (2, 3), stride=2, padding=1, output_padding=1, groups=2, dilation=2),
    ),
    C("Dropout", IMAGE, lambda nn: nn.Dropout(0.25), BOTH, torch_modes=(False,)),  # the two draw different masks
    C("Dropout2d", IMAGE, lambda nn: nn.Dropout2d(0.25), BOTH, torch_modes=(False,)),
    C("ELU", IMAGE, lambda nn: nn.ELU(1.5)),
    C("Flatten", IMAGE, lambda nn: nn.Flatten()),
    C("GELU", IMAGE, lambda nn: nn.GELU()),
    C("GELU", IMAGE, lambda nn: nn.GELU(), scale=1e-9),
    C("GELU", IMAGE, lambda nn: nn.GELU(approximate="tanh")),
    C("GELU", IMAGE, lambda nn: nn.GELU(approximate="tanh"), scale=1e-9),
    C("GroupNorm", (2, 6, 2, 3), lambda nn: nn.GroupNorm(3, 6)),
    C("Hardsigmoid", IMAGE, lambda nn: nn.Hardsigmoid(), scale=3.0),
    C("Hardswish", IMAGE, lambda nn: nn.Hardswish(), scale=3.0),
    C("Hardtanh", IMAGE, lambda nn: nn.Hardtanh(-0.5, 1.5)),
    C("Identity", IMAGE, lambda nn: nn.Identity()),
    C("InstanceNorm2d", (2, 3, 3, 4), lambda nn: nn.InstanceNorm2d(3)),
    C("InstanceNorm2d", (2, 3, 3, 4), lambda nn: nn.InstanceNorm2d(3, 1e-3, 0.3, True, True), BOTH),
    C("LayerNorm", (3, 2, 4), lambda nn: nn.LayerNorm(4)),
    C("LayerNorm", (3, 2, 4), lambda nn: nn.LayerNorm((2, 4), eps=1e-3)),
    C("LeakyReLU", IMAGE, lambda nn: nn.LeakyReLU(0.2)),
    C("Linear", (3, 5), lambda nn: nn.Linear(5, 4)),
    C("Linear", (2, 3, 4), lambda nn: nn.Linear(4, 4, bias=False)),
    C("LocalResponseNorm", (2, 6, 2, 3), lambda nn: nn.LocalResponseNorm(5, alpha=0.5)),
    C("LocalResponseNorm", (2, 5, 3), lambda nn: nn.LocalResponseNorm(4, alpha=0.5, beta=1.5, k=2.0)),
    C("LogSoftmax", (2, 3, 2, 4), lambda nn: nn.LogSoftmax(dim=1)),
    C("MaxPool2d", (2, 2, 7, 6), lambda nn: nn.MaxPool2d(3, stride=2, padding=1)),
    C("MaxPool2d", (2, 2, 6, 5), lambda nn: nn.MaxPool2d((2, 3), stride=(2, 1), dilation=(2, 1), ceil_mode=True)),
    C("MaxPool2d", (2, 2, 6, 5), lambda nn: nn.MaxPool2d(3, stride=2, padding="same")),
    C("Mish", IMAGE, lambda nn: nn.Mish()),
    C("PReLU", IMAGE, lambda nn: nn.PReLU()),
    C("PReLU", IMAGE, lambda nn: nn.PReLU(3)),
    C("Permute", IMAGE, lambda nn: nn.Permute((0, 2, 3, 1))),
    C("PixelShuffle", (2, 8, 2, 3), lambda nn: nn.PixelShuffle(2)),
    C("ReLU", IMAGE, lambda nn: nn.ReLU()),
    C("ReLU6", IMAGE, lambda nn: nn.ReLU6(), scale=5.0),
    C("ReflectionPad2d", (2, 2, 4, 5), lambda nn: nn.ReflectionPad2d((1, 2, 3, 0))),
    C("ReplicationPad2d", (2, 2, 3, 4), lambda nn: nn.ReplicationPad2d((1, 2, 3, 0))),
    C("SELU", IMAGE, lambda nn: nn.SELU()),
    C("SiLU", IMAGE, lambda nn: nn.SiLU()),
    C("Sigmoid", IMAGE, lambda nn: nn.Sigmoid()),
    C("Softmax", (3, 5), lambda nn: nn.Softmax(dim=-1)),
    C("Softmax", (2, 3, 2, 4), lambda nn: nn.Softmax(dim=1)),
    C("Softmax", (2, 3, 2, 4), lambda nn: nn.Softmax(dim=-2)),
    C("Softplus", IMAGE, lambda nn: nn.Softplus(beta=2.0, threshold=3.0)),
    C("Softsign", IMAGE, lambda nn: nn.Softsign()),
    C("Tanh", IMAGE, lambda nn: nn.Tanh()),
    C("Unflatten", (2, 12), lambda nn: nn.Unflatten(1, (3, 2, 2))),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(scale_factor=2)),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(size=(5, 7), mode="bilinear")),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(size=(5, 3), mode="nearest-exact")),
    C("Upsample", (2, 2, 3, 4), lambda nn: nn.Upsample(scale_factor=2, mode="bilinear", asymmetric=True)),
    C("ZeroPad2d", (2, 2, 3, 4), lambda nn: nn.ZeroPad2d((1, 2, 0, -1))),
    C("Concat", (2, 2, 3, 4), lambda nn: nn.Concat([nn.Identity(), nn.Conv2d(2, 3, 1)])),
    C("Product", (2, 3), lambda nn: nn.Product([nn.Identity(), nn.Linear(3, 3), nn.Sigmoid()])),
    C(
        "Product",  # a gate for each channel
        (2, 2, 3, 4),
        lambda nn: nn.Product([nn.Identity(), nn.Sequential([nn.AdaptiveAvgPool2d(1), nn.Conv2d(2, 2, 1)])]),
    ),
    C("Residual", (2, 4), lambda nn: nn.Residual(nn.Linear(4, 4))),
    C("Sequential", (3, 4), lambda nn: nn.Sequential([nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)])),
    C("Sum", (2, 2, 3, 4), lambda nn: nn.Sum([nn.Identity(), nn.Conv2d(2, 2, 1)])),
]

I = InitialCase  # noqa: E741  # one letter, like C, L, P and S
INITIALS = [
    I("BatchNorm1d", lambda nn: nn.BatchNorm1d(300)),
    I("BatchNorm2d", lambda nn: nn.BatchNorm2d(300)),
    I("Conv2d", lambda nn: nn.Conv2d(4, 300, 3, groups=2)),
    I("ConvTranspose2d", lambda nn: nn.ConvTranspose2d(4, 300, 3)),
    I("GroupNorm", lambda nn: nn.GroupNorm(3, 300)),
    I("InstanceNorm2d", lambda nn: nn.InstanceNorm2d(300, affine=True)),
    I("LayerNorm", lambda nn: nn.LayerNorm((20, 15))),
    I("Linear", lambda nn: nn.Linear(20, 300)),
    I("PReLU", lambda nn: nn.PReLU(300)),
]

L = LossCase
CLASSES, MAP = (6, 4), (3, 4, 2, 3)
WEIGHT = np.array([0.5, 1.0, 2.0, 1.5])
LOSSES = [
    L("BCELoss", CLASSES, "binary probabilities", lambda nn, a: nn.BCELoss()),
    L("BCELoss", CLASSES, "binary probabilities", lambda nn, a: nn.BCELoss(weight=a(WEIGHT), reduction="sum")),
    L(
        "BCELoss",
        CLASSES,
        "binary probabilities",
        lambda nn, a: nn.BCELoss(label_smoothing=0.1),
        lambda nn, a: lambda p, t: nn.BCELoss()(p, t * 0.9 + 0.05),
    ),
    L(
        "BCELoss",
        CLASSES,
        "binary probabilities",
        lambda nn, a: nn.BCELoss(pos_weight=a(WEIGHT)),
        lambda nn, a: lambda p, t: nn.BCEWithLogitsLoss(pos_weight=a(WEIGHT))(p.logit(), t),
    ),
    L("BCELoss", CLASSES, "saturated probabilities", lambda nn, a: nn.BCELoss(), smooth=False),
    L("BCEWithLogitsLoss", CLASSES, "binary logits", lambda nn, a: nn.BCEWithLogitsLoss()),
    L(
        "BCEWithLogitsLoss",
        CLASSES,
        "binary logits",
        lambda nn, a: nn.BCEWithLogitsLoss(pos_weight=a(WEIGHT)),
        scale=100.0,
    ),
    L("BCEWithLogitsLoss", CLASSES, "binary logits", lambda nn, a: nn.BCEWithLogitsLoss(pos_weight=a(WEIGHT))),
    L(
        "BCEWithLogitsLoss",
        CLASSES,
        "binary logits",
        lambda nn, a: nn.BCEWithLogitsLoss(label_smoothing=0.1),
        lambda nn, a: lambda x, t: nn.BCEWithLogitsLoss()(x, t * 0.9 + 0.05),
    ),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "probabilities",
        lambda nn, a: nn.CrossEntropyLoss(),
        lambda nn, a: lambda p, t: nn.NLLLoss()(p.log(), t),
    ),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True),
        lambda nn, a: nn.CrossEntropyLoss(),
    ),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True),
        lambda nn, a: nn.CrossEntropyLoss(),
        scale=100.0,
    ),
    L(
        "CrossEntropyLoss",
        MAP,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True, weight=a(WEIGHT), label_smoothing=0.1),
        lambda nn, a: nn.CrossEntropyLoss(weight=a(WEIGHT), label_smoothing=0.1),
        ignored=True,
    ),
    L(
        "CrossEntropyLoss",
        MAP,
        "logits",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True, reduction="none"),
        lambda nn, a: nn.CrossEntropyLoss(reduction="none"),
    ),
    L(
        "CrossEntropyLoss",
        CLASSES,
        "logits, soft targets",
        lambda nn, a: nn.CrossEntropyLoss(from_logits=True, weight=a(WEIGHT)),
        lambda nn, a: nn.CrossEntropyLoss(weight=a(WEIGHT)),
    ),
    L("HuberLoss", CLASSES, "real", lambda nn, a: nn.HuberLoss(delta=0.7)),
    L("L1Loss", MAP, "real", lambda nn, a: nn.L1Loss()),
    L("MSELoss", MAP, "real", lambda nn, a: nn.MSELoss()),
    L("MSELoss", CLASSES, "real", lambda nn, a: nn.MSELoss(reduction="none")),
    L("NLLLoss", CLASSES, "log-probabilities", lambda nn, a: nn.NLLLoss()),
    L("NLLLoss", CLASSES, "log-probabilities", lambda nn, a: nn.NLLLoss(), scale=100.0),
    L("NLLLoss", MAP, "log-probabilities", lambda nn, a: nn.NLLLoss(weight=a(WEIGHT)), ignored=True),
    L("SmoothL1Loss", CLASSES, "real", lambda nn, a: nn.SmoothL1Loss(beta=0.7)),
]

P = OptimizerCase
MATRICES = ((4, 3), (2, 5), (3, 3))
OPTIMIZERS = [
    P("Adagrad", lambda o, p: o.Adagrad(p, lr=0.1, lr_decay=0.01, weight_decay=1e-3)),
    P("Adagrad", lambda o, p: o.Adagrad(p, lr=0.1, initial_accumulator_value=0.5)),
    P("Adam", lambda o, p: o.Adam(p, lr=0.01)),
    P("Adam", lambda o, p: o.Adam([{"params": p[:1], "lr": 0.1}, {"params": p[1:], "betas": (0.5, 0.9)}], lr=0.01)),
    P("Adam", lambda o, p: o.Adam(p, lr=0.1, betas=(0.5, 0.9), eps=1e-3, weight_decay=0.1)),
    P("AdamW", lambda o, p: o.AdamW(p, lr=0.01, weight_decay=0.1)),
    P("Muon", lambda o, p: o.Muon(p, lr=0.02, weight_decay=0.01), MATRICES),
    P("Muon", lambda o, p: o.Muon(p, nesterov=False, adjust_lr_fn="match_rms_adamw"), MATRICES),
    P("NAdam", lambda o, p: o.NAdam(p, lr=0.01)),
    P("NAdam", lambda o, p: o.NAdam(p, lr=0.01, weight_decay=0.1)),
    P("NAdam", lambda o, p: o.NAdam(p, lr=0.01, weight_decay=0.1, decoupled_weight_decay=True)),
    P("RMSprop", lambda o, p: o.RMSprop(p, lr=0.01)),
    P("RMSprop", lambda o, p: o.RMSprop(p, lr=0.01, momentum=0.9, centered=True, weight_decay=0.1)),
    P("SGD", lambda o, p: o.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True)),
    P("SGD", lambda o, p: o.SGD(p, lr=0.1, momentum=0.5, dampening=0.3)),
    P("SGD", lambda o, p: o.SGD([{"params": p[:1], "weight_decay": 0.1}, {"params": p[1:], "lr": 0.3}], lr=0.1)),
]

CLIPPINGS = [
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=2.0)),
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=100.0)),  # nothing to clip
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=2.0, norm_type=1.0)),
    ClippingCase("clip_grad_norm_", lambda o, p: o.clip_grad_norm_(p, max_norm=0.5, norm_type=float("inf"))),
    ClippingCase("clip_grad_value_", lambda o, p: o.clip_grad_value_(p, clip_value=0.5)),
]

AVERAGES = [AverageCase("WeightAverage", decay=0.9)]

S = ScheduleCase
SCHEDULES = [
    S("ChainedScheduler", lambda s, o: s.ChainedScheduler([s.StepLR(o, 30), s.ExponentialLR(o, gamma=0.99)])),
    S("CosineAnnealingLR", lambda s, o: s.CosineAnnealingLR(o, T_max=30, eta_min=0.01)),
    S("CosineAnnealingWarmRestarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=7, T_mult=2, eta_min=0.01)),
    S("ExponentialLR", lambda s, o: s.ExponentialLR(o, gamma=0.97)),
    S("LinearLR", lambda s, o: s.LinearLR(o, start_factor=0.2, end_factor=0.9, total_iters=40)),
    S("MultiStepLR", lambda s, o: s.MultiStepLR(o, milestones=[10, 30, 80], gamma=0.3)),
    S("OneCycleLR", lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=101)),
    S("OneCycleLR", lambda s, o: s.OneCycleLR(o, max_lr=0.5, total_steps=101, three_phase=True)),
    S("ReduceLROnPlateau", lambda s, o: s.ReduceLROnPlateau(o, factor=0.5, patience=3), needs_metric=True),
    S(
        "ReduceLROnPlateau",
        lambda s, o: s.ReduceLROnPlateau(o, factor=0.8, patience=1, threshold=0.5, cooldown=4),
        needs_metric=True,
    ),
    S(
        "ReduceLROnPlateau",
        lambda s, o: s.ReduceLROnPlateau(
            o, mode="max", factor=0.8, patience=1, threshold=0.3, threshold_mode="abs", min_lr=0.05
        ),
        needs_metric=True,
    ),
    S(
        "SequentialLR",
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, start_factor=0.1, total_iters=20), s.ExponentialLR(o, gamma=0.95)], milestones=[20]
        ),
    ),
    S(
        "SequentialLR",  # back to the full rate at the milestone
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, start_factor=0.1, end_factor=0.5, total_iters=20), s.StepLR(o, 30)], milestones=[20]
        ),
    ),
    S("StepLR", lambda s, o: s.StepLR(o, step_size=15, gamma=0.5)),
]


def all_cases() -> list[Any]:
    """Return all cases; each has the name of the class or function that it checks."""
    return [*LAYERS, *INITIALS, *LOSSES, *OPTIMIZERS, *CLIPPINGS, *AVERAGES, *SCHEDULES]
