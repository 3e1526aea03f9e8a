"""What of the recipe `best` helps? Its twin in PyTorch is trained with one thing changed at a time.

python benchmarks/ablations.py [--device D] [--epochs N] [--seeds N] [--only K] [--out FILE]

Prints the accuracy on the 5,000 validation images, which each seed draws anew: mean over the seeds, difference to the
recipe as it is. On a graphics card ("--device cuda") all of them take some minutes, on two processors a day. K is the
number of one change, to run several at once; a line of JSON for each training is appended to FILE.
"""

import argparse
import json
import statistics
from dataclasses import replace
from pathlib import Path

import torch
from recipes import groups, learn, one_cycle, parts, prepared, twin

from cnn.commands import tasks
from cnn.data import AlternatingFlip, HorizontalFlip, RandomCrop, RandomErasing

CROP, FLIP, ERASE = RandomCrop(padding=1), AlternatingFlip(), RandomErasing(p=0.25)


def adamw(model, lr, weight_decay, steps):
    optimizer = torch.optim.AdamW(groups(model, weight_decay), lr=lr, betas=(0.9, 0.99))
    return optimizer, one_cycle(optimizer, lr, steps)


def sgd(model, lr, weight_decay, steps):
    optimizer = torch.optim.SGD(groups(model, weight_decay), lr=lr, momentum=0.9, nesterov=True)
    return optimizer, one_cycle(optimizer, lr, steps)


# What is changed: transforms of the pictures, label smoothing, optimizer
CHANGES = {
    "as it is": {},
    "pictures as they are": {"transforms": []},
    "no shifts": {"transforms": [FLIP, ERASE]},
    "shifts of up to 2 pixels, not 1": {"transforms": [RandomCrop(padding=2), FLIP, ERASE]},
    "no mirror images": {"transforms": [CROP, ERASE]},
    "mirrored by chance, not in turn": {"transforms": [CROP, HorizontalFlip(), ERASE]},
    "nothing erased": {"transforms": [CROP, FLIP]},
    "half of the pictures erased in part": {"transforms": [CROP, FLIP, RandomErasing(p=0.5)]},
    "labels not softened": {"smoothing": 0.0},
    "weight decay 0": {"optimizer": (adamw, 0.01, 0.0)},
    "learning rate 0.003": {"optimizer": (adamw, 0.003, 0.05)},
    "SGD, momentum 0.9, rate 0.1, decay 5e-4": {"optimizer": (sgd, 0.1, 5e-4)},
}


def accuracy(change, seed, epochs, device):
    """Train with one thing changed and return the accuracy on the validation images."""
    chosen = replace(tasks.settings("fashion-mnist", seed=seed, recipe="best"), epochs=epochs)
    task, plan = prepared(chosen)
    if "transforms" in change:
        plan.loader.transforms = (*change["transforms"], plan.loader.transforms[-1])
    model = twin(plan.model, seed, device)
    loss_func, optimizer, schedule = parts(model, chosen, len(plan.loader))
    loss_func.label_smoothing = change.get("smoothing", loss_func.label_smoothing)
    if "optimizer" in change:
        make, lr, weight_decay = change["optimizer"]
        optimizer, schedule = make(model, lr, weight_decay, epochs * len(plan.loader))
    return learn(task, plan, epochs, model, loss_func, optimizer, schedule)[-1]["val_accuracy"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--epochs", type=int, default=tasks.RECIPES["best"].epochs)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", type=int)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    usual = None
    for number, (name, change) in enumerate(CHANGES.items()):
        if args.only not in (None, number):
            continue
        found = []
        for seed in range(args.seeds):
            found.append(accuracy(change, seed, args.epochs, args.device))
            if args.out is not None:
                row = {"change": name, "seed": seed, "epochs": args.epochs, "val_accuracy": found[-1]}
                with args.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        mean = statistics.mean(found)
        usual = mean if usual is None else usual
        print(f"{100 * mean:.2f}  {100 * (mean - usual):+.2f}  {name}", flush=True)


if __name__ == "__main__":
    main()
