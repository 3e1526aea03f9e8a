"""How good are the recipes of `cnn train fashion-mnist`, here and in PyTorch? Each run writes a JSON to docs/results.

python benchmarks/recipes.py RECIPE SEED ...                       train: fast, best, or default (no --recipe)
python benchmarks/recipes.py RECIPE SEED ... --torch [--device D]  the same recipe in PyTorch, on "cpu" or "cuda"
python benchmarks/recipes.py RECIPE --pace                         time an epoch of both in turn, on the CPU
python benchmarks/recipes.py --table                               print the tables of docs/results.md

The PyTorch counterpart has the same net, with PyTorch's initial weights, loss, optimizer and schedule; the loader of
this library feeds it the same augmented images. The test images are used once, after the last epoch.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

import cnn
import cnn.zoo
from cnn.bench import machine
from cnn.cli import datasets, train_recipes
from cnn.cli.train_settings import RECIPES, settings_for
from cnn.training.evaluation import EVALUATION_BATCH_SIZE

RESULTS = Path(__file__).parents[1] / "docs" / "results"
NAMES = ("default", *RECIPES)
THRESHOLDS = (0.90, 0.92, 0.93, 0.94)


def options(recipe):
    return [] if recipe == "default" else ["--recipe", recipe]


def train(recipe, seed, runs=None):
    """Run the command and return its results and its total time; ``runs`` is a folder to keep the run folder in."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run") if runs is None else runs / f"{recipe}-{seed}"
        command = [sys.executable, "-m", "cnn", "train", "fashion-mnist", *options(recipe), "--seed", str(seed)]
        began = time.perf_counter()
        done = subprocess.run([*command, "--json", "--out", str(out)], stdout=subprocess.PIPE, text=True, check=True)
        seconds = time.perf_counter() - began
    result = json.loads(done.stdout)
    kept = ("model", "epochs", "batch_size", "lr", "lr_schedule", "test_accuracy", "test_loss", "history", "versions")
    return {name: result[name] for name in kept} | {"seconds": round(seconds, 1)}


def train_torch(recipe, seed, device):
    """Train the PyTorch counterpart, as the training loop of the library does, and return the same metrics."""
    import torch

    began = time.perf_counter()
    chosen = settings_for("fashion-mnist", seed=seed, recipe=None if recipe == "default" else recipe)
    task, plan = prepared(chosen)
    model = counterpart(plan.model, seed, device)
    loss_func, optimizer, schedule = loss_optimizer_schedule(model, chosen, len(plan.loader))
    history = train_epochs(task, plan, chosen.epochs, model, loss_func, optimizer, schedule)
    test_loss, test_accuracy = evaluate(model, plan, task.test, torch.nn.CrossEntropyLoss())
    kept = {name: getattr(chosen, name) for name in ("model", "epochs", "batch_size", "lr")}
    kept["lr_schedule"] = plan.schedule
    versions = {"torch": torch.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    named = torch.cuda.get_device_name() if device == "cuda" else device
    kept |= {"test_accuracy": test_accuracy, "test_loss": test_loss, "history": history, "versions": versions}
    return kept | {"device": named, "seconds": round(time.perf_counter() - began, 1)}


def prepared(chosen):
    """Return the data and the plan that `cnn train` would have."""
    task = datasets.load("fashion-mnist", chosen.seed, quiet=True)
    cnn.manual_seed(chosen.seed)
    return task, train_recipes.plan(task, chosen)


def counterpart(model, seed, device, memory_format=None):
    """Return the same net in PyTorch, with PyTorch's initial weights."""
    import torch

    from cnn.bench import pytorch

    torch.backends.cudnn.allow_tf32 = False  # TF32 keeps 10 of the 23 bits of a mantissa; here float32 is to be float32
    torch.manual_seed(seed)
    made = pytorch.counterpart(model, without_softmax=True)
    made.memory_format = memory_format or torch.channels_last
    return made.to(device, memory_format=made.memory_format)


def train_epochs(task, plan, epochs, model, loss_func, optimizer, schedule):
    """Train, and return the metrics of each epoch."""
    history = []
    for epoch in range(1, epochs + 1):
        began, total = time.perf_counter(), 0.0
        model.train()
        for x, y in plan.loader:
            x, y = on_the_device(model, x, y)
            optimizer.zero_grad()
            loss = loss_func(model(x), y)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(x)
        loss, accuracy = evaluate(model, plan, task.validation, loss_func)
        metrics = {"epoch": epoch, "train_loss": total / len(task.train[0]), "val_loss": loss, "val_accuracy": accuracy}
        history.append(metrics | {"seconds": time.perf_counter() - began})
        print(f"epoch {epoch} of {epochs}: validation accuracy {accuracy:.4f}", file=sys.stderr, flush=True)
    return history


def on_the_device(model, x, y):
    """Move images and labels to the device of the model."""
    import torch

    device = next(model.parameters()).device
    return torch.from_numpy(x).to(device, memory_format=model.memory_format), torch.from_numpy(y).to(device)


def evaluate(model, plan, part, loss_func):
    """Return loss and accuracy."""
    import torch

    x, y = datasets.model_inputs(plan.model, part[0]), part[1]
    model.eval()
    with torch.inference_mode():
        parts = [
            on_the_device(model, x[i : i + EVALUATION_BATCH_SIZE], y[i : i + EVALUATION_BATCH_SIZE])
            for i in range(0, len(x), EVALUATION_BATCH_SIZE)
        ]
        logits, labels = torch.cat([model(x) for x, _ in parts]), torch.cat([y for _, y in parts])
    return loss_func(logits, labels).item(), (logits.argmax(dim=1) == labels).double().mean().item()


def loss_optimizer_schedule(model, chosen, steps_per_epoch):
    """Return PyTorch's loss, optimizer and schedule of a recipe."""
    import torch

    steps = chosen.epochs * steps_per_epoch
    if chosen.recipe is None:
        optimizer = torch.optim.Adam(model.parameters(), lr=chosen.lr)
        linear = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
        return torch.nn.CrossEntropyLoss(), optimizer, linear
    optimizer = torch.optim.AdamW(groups(model, 0.05), lr=chosen.lr, betas=(0.9, 0.99))
    return torch.nn.CrossEntropyLoss(label_smoothing=0.1), optimizer, one_cycle(optimizer, chosen.lr, steps)


def groups(model, weight_decay):
    """Return parameter groups: weight matrices decay, biases and norms do not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def one_cycle(optimizer, lr, steps):
    """Return a schedule that rises for a fifth of the steps and then falls to 0."""
    import torch

    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, steps, pct_start=0.2, anneal_strategy="linear", cycle_momentum=False
    )


def pace(recipe, batches=20, rounds=7):
    """Return the time of an epoch here and in PyTorch's faster memory format: some batches in turn, after a warm-up."""
    import torch

    from cnn import training
    from cnn.bench import pytorch

    chosen = settings_for("fashion-mnist", recipe=None if recipe == "default" else recipe)
    task, _ = prepared(chosen)
    count, (x, y) = batches * chosen.batch_size, task.train
    some = replace(task, train=(x[:count], y[:count]), validation=(x[:1], y[:1]))
    long = replace(chosen, epochs=rounds + 1)
    plan = train_recipes.plan(some, long)

    def ours():
        for step in training.train(plan.model, plan.loader, epochs=1, callbacks=plan.callbacks):
            plan.after_step(step)

    programs = {"cnn": ours}
    for name in pytorch.FORMATS:
        memory_format = torch.channels_last if name == pytorch.CHANNELS_LAST else torch.contiguous_format
        model = counterpart(plan.model, 0, "cpu", memory_format)
        made = loss_optimizer_schedule(model, long, batches)
        programs[name] = lambda model=model, made=made: train_epochs(some, plan, 1, model, *made)
    seconds = {name: [] for name in programs}
    with pytorch.threads(cnn.get_num_threads()):
        for turn in range(rounds + 1):
            for name in sorted(programs, reverse=turn % 2 == 0):
                began = time.perf_counter()
                programs[name]()
                seconds[name].append((time.perf_counter() - began) * len(x) / count)
    quartiles = {name: statistics.quantiles(found[1:], n=4) for name, found in seconds.items()}  # the first warms up
    faster = min(pytorch.FORMATS, key=lambda name: quartiles[name][1])
    ratio = quartiles["cnn"][1] / quartiles[faster][1]
    return {"seconds an epoch, quartiles": quartiles, "faster": faster, "ratio": ratio}


def stored(recipe, library):
    """Return the stored results of a recipe in docs/results, in the order of the seeds."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob(f"{recipe}-{library}-*.json")]
    return sorted(found, key=lambda result: result["seed"])


def mean_and_spread(values):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.2f} ± {100 * spread:.2f}"


def tables():
    """Return the tables of docs/results.md, as Markdown."""
    head = "recipe", "net, parameters", "epochs", "seeds", "test accuracy, %", "minutes"
    lines = [row(*head, "PyTorch: test accuracy, %", "minutes, about", "command"), row(*["---"] * 9)]
    for recipe in NAMES:
        ours, theirs = stored(recipe, "cnn"), stored(recipe, "torch")
        if not (ours and theirs):
            sys.exit(f"{RESULTS} has no results of {recipe}: train it, and with --torch")
        cells = [recipe, f"{ours[0]['model']}, {ours[0]['parameters']:,}", ours[0]["epochs"], len(ours)]
        here = statistics.mean(result["seconds"] for result in ours)
        training = statistics.mean(sum(epoch["seconds"] for epoch in result["history"]) for result in ours)
        timed = RESULTS / f"{recipe}-pace.json"
        ratio = json.loads(timed.read_text(encoding="utf-8"))["ratio"] if timed.exists() else math.nan
        for part, seconds in ((ours, here), (theirs, here + training * (1 / ratio - 1))):
            minutes = f"{seconds / 60:.1f}" if math.isfinite(seconds) else "not measured"
            cells += [mean_and_spread([result["test_accuracy"] for result in part]), minutes]
        lines.append(row(*cells, f"`{' '.join(['cnn train fashion-mnist', *options(recipe)])}`"))
    lines += [
        "",
        row("recipe", *(f"{100 * threshold:.0f} %" for threshold in THRESHOLDS)),
        row(*["---"] * (1 + len(THRESHOLDS))),
    ]
    for recipe in NAMES:
        times = [[seconds_to(result, threshold) for result in stored(recipe, "cnn")] for threshold in THRESHOLDS]
        shown = ("not in all" if None in found else f"{statistics.mean(found):.0f} s" for found in times)
        lines.append(row(recipe, *shown))
    return "\n".join(lines)


def row(*cells):
    return f"| {' | '.join(map(str, cells))} |"


def seconds_to(result, threshold):
    """Return the seconds of training until the validation accuracy reached the threshold, or None if it never did."""
    elapsed = 0.0
    for epoch in result["history"]:
        elapsed += epoch["seconds"]
        if epoch["val_accuracy"] >= threshold:
            return elapsed
    return None


def write(path, result):
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", nargs="?", choices=NAMES)
    parser.add_argument("seeds", nargs="*", type=int)
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=Path, help="a folder to keep the run folders in")
    parser.add_argument("--pace", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.table:
        print(tables())
        return
    args.out.mkdir(parents=True, exist_ok=True)
    facts = machine.facts(cnn.get_num_threads())
    facts = {name: facts[name] for name in ("processor", "cores", "threads", "system", "numba", "blas")}
    if args.pace and args.recipe:
        result = {"recipe": args.recipe, **pace(args.recipe), "machine": facts}
        write(args.out / f"{args.recipe}-pace.json", result)
        print(f"{args.recipe}: {result['ratio']:.2f} of PyTorch's time ({result['faster']})")
        return
    if not args.seeds:
        parser.error("name a recipe and its seeds, or --table")
    library = "torch" if args.torch else "cnn"
    chosen = settings_for("fashion-mnist", recipe=None if args.recipe == "default" else args.recipe)
    net = getattr(cnn.zoo, chosen.model.replace("-", "_"))()
    for seed in args.seeds:
        result = {"recipe": args.recipe, "library": library, "seed": seed}
        result["parameters"] = sum(parameter.size for parameter in net.parameters())
        result |= train_torch(args.recipe, seed, args.device) if args.torch else train(args.recipe, seed, args.runs)
        path = args.out / f"{args.recipe}-{library}-{seed}.json"
        write(path, result | {"machine": facts})
        print(f"{path.name}: {result['test_accuracy']:.4f} after {result['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
