"""How the recipes were found: training runs in PyTorch on a GPU, with one or a few settings changed at a time.

python benchmarks/research/search.py [AROUND ...] [--at-once N] [--seconds S] [--out FOLDER]
    run all searches, or only those around sgd, adamw, best or fast, until the time is up; a second call continues
    with the runs that are missing in FOLDER/search.jsonl
python benchmarks/research/search.py --table
    print the tables of docs/results.md

The nets are trained on 50,000 training images and compared on the other 10,000, the held-out set; the test images are
not used. Each run writes a line of JSON: "plain" is the accuracy of the final weights, "tta" that of the mean
prediction for an image and its mirror image, "ema" and "ema_tta" the same for averaged weights. A step runs as one CUDA
graph; several runs share a GPU, each on a stream of its own.
"""

import argparse
import hashlib
import json
import queue
import statistics
import sys
import threading
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # its usual name

from cnn.data import fashion_mnist

RESULTS = Path(__file__).parents[2] / "docs" / "results"
HELD_OUT = 10_000
MEAN, STD = 0.286, 0.353
BLACK = -MEAN / STD

# net: output channels of each 3 x 3 convolution; p is pooled, r a residual pair, d a depthwise-separable one
SGD = {
    "net": "32 32p 64 64p 128 128",
    "act": "relu",
    "head": "mean",
    "dropout": 0.0,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "wd": 5e-4,
    "betas": (0.9, 0.99),
    "batch": 128,
    "epochs": 16,
    "warm": 0.2,
    "smooth": 0.1,
    "crop": 2,
    "edge": "zero",
    "flip": "random",
    "erase": 0.5,
    "area": 0.4,
    "seed": 0,
    "bfloat16": False,
}
ADAMW = SGD | {"optimizer": "adamw", "lr": 0.01, "wd": 0.05, "bfloat16": True}
MUON = {"optimizer": "muon", "momentum": 0.95, "wd": 0.0}
NETS = [
    "24 48p 48 96p 96 96",
    "32p 64 64p 96 96 96",
    "16 32p 64 64p 128 128",
    "32 48p 48r 96p 96r",
    "32 32p 48 48 48p 96 96 96",
    "32p 64 64r 96p 96",
    "32 64p d128 d128 d128p d256 d256 d256",
    "48 48p 64 64p 96 96",
    "24 24 48p 48 48 96p 96 96",
]
FIRST = [  # around SGD
    {},
    *({"net": net} for net in NETS),
    {"lr": 0.05},
    {"lr": 0.2},
    MUON | {"lr": 0.02},
    MUON | {"lr": 0.05},
    MUON | {"lr": 0.02, "wd": 0.1},
    {"optimizer": "adamw", "lr": 0.005, "wd": 0.05},
    {"optimizer": "adamw", "lr": 0.01, "wd": 0.05},
    {"wd": 1e-3},
    {"wd": 2e-4},
    {"erase": 0.0},
    {"area": 0.2},
    {"erase": 0.25},
    {"crop": 0},
    {"crop": 1},
    {"crop": 3},
    {"edge": "reflect"},
    {"smooth": 0.0},
]
SECOND = [  # around AdamW
    {},
    {"seed": 1},
    {"crop": 0},
    {"crop": 0, "seed": 1},
    {"crop": 1},
    {"erase": 0.0},
    {"erase": 0.25, "area": 0.2},
    {"crop": 1, "erase": 0.25},
    {"crop": 1, "erase": 0.25, "seed": 1},
    {"crop": 1, "erase": 0.25, "flip": "alternating"},
    {"flip": "alternating"},
    {"wd": 0.1},
    {"wd": 0.1, "seed": 1},
    {"wd": 0.02},
    {"lr": 0.02},
    {"smooth": 0.0},
    {"smooth": 0.05},
    {"net": "24 24 48p 48 48 96p 96 96"},
    {"net": "32 48p 48r 96p 96r"},
    {"net": "32 32p 48 48 48p 96 96 96"},
    {"head": "max"},
    {"act": "silu"},
    {"batch": 64, "lr": 0.007},
    {"batch": 256, "lr": 0.015},
    {"dropout": 0.2},
    {"betas": (0.9, 0.999)},
    {"betas": (0.95, 0.99)},
    {"warm": 0.1},
    {"warm": 0.3},
    {"epochs": 24},
    {"epochs": 5},
    {"epochs": 5, "erase": 0.0, "crop": 1},
    {"epochs": 5, "erase": 0.0, "crop": 0, "net": "32p 64 64p 128 128"},
    {"epochs": 6, "erase": 0.0, "crop": 1, "net": "32p 64 64p 96 96 96"},
]
BEST = ADAMW | {"epochs": 24, "crop": 1, "erase": 0.25, "flip": "alternating"}
FAST = ADAMW | {"epochs": 4, "crop": 1, "erase": 0.0, "flip": "alternating"}
WITH_MUON = MUON | {"lr": 0.02, "wd": 0.1}
THIRD = [  # around BEST
    {},
    WITH_MUON,
    {"net": "32 48p 48r 96p 96r"},
    WITH_MUON | {"net": "32 48p 48r 96p 96r"},
    {"net": "24 24 48p 48 48 96p 96 96"},
    WITH_MUON | {"net": "24 24 48p 48 48 96p 96 96"},
    {"epochs": 30},
    WITH_MUON | {"epochs": 30},
    {"crop": 0},
    WITH_MUON | {"crop": 0},
    WITH_MUON | {"lr": 0.03},
    {"wd": 0.1},
]
FOURTH = [  # around FAST
    {},
    {"crop": 0},
    {"lr": 0.02},
    {"lr": 0.005},
    {"batch": 64, "lr": 0.007},
    {"batch": 256, "lr": 0.015},
    {"smooth": 0.05},
    {"warm": 0.3},
    WITH_MUON,
    WITH_MUON | {"crop": 0},
    WITH_MUON | {"lr": 0.04},
    WITH_MUON | {"wd": 0.0},
    WITH_MUON | {"net": "32 48p 48r 96p 96r"},
    WITH_MUON | {"net": "32p 64 64p 128 128"},
    {"epochs": 5},
]
SEARCHES = {"sgd": (SGD, FIRST), "adamw": (ADAMW, SECOND), "best": (BEST, THIRD), "fast": (FAST, FOURTH)}
SEEDS = {"sgd": 1, "adamw": 1, "best": 5, "fast": 5}
ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU}
GLOBAL_LOCK = threading.Lock()  # for global state: the random seed of initial weights, and the capture of a CUDA graph


class Residual(nn.Module):
    """x + body(x), and the activation."""

    def __init__(self, body, act):
        super().__init__()
        self.body, self.act = body, act

    def forward(self, x):
        return self.act(x + self.body(x))


def net(chosen):
    """Build the net that the words in chosen["net"] describe."""
    act, layers, before = ACTIVATIONS[chosen["act"]], [], 1
    for word in chosen["net"].split():
        channels, pool = int(word.strip("dpr")), [nn.MaxPool2d(2)] if "p" in word else []
        if "r" in word:
            body = [*conv(channels, channels), nn.BatchNorm2d(channels), act()]
            body += [*conv(channels, channels), nn.BatchNorm2d(channels)]
            layers.append(Residual(nn.Sequential(*body), act()))
            continue
        if "d" in word:
            layers += [*conv(before, before, groups=before), nn.BatchNorm2d(before), act()]
            layers.append(nn.Conv2d(before, channels, 1, bias=False))
        else:
            layers += conv(before, channels)
        layers += [*pool, nn.BatchNorm2d(channels), act()]
        before = channels
    layers += [{"mean": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}[chosen["head"]](1), nn.Flatten()]
    model = nn.Sequential(*layers, nn.Dropout(chosen["dropout"]), nn.Linear(before, 10))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def conv(before, channels, groups=1):
    return [nn.Conv2d(before, channels, 3, padding=1, bias=False, groups=groups)]


def multiply_adds(model, device):
    """Return the number of multiply-adds of one image."""
    counts = []

    def count(module, _, output):
        counts.append(output[0].numel() * module.weight[0].numel())

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    model.eval()
    model(torch.zeros(1, 1, 28, 28, device=device))
    for hook in hooks:
        hook.remove()
    model.train()
    return sum(counts)


def augmented(x, chosen, epoch, parity, random):
    """Return the images of an epoch, shifted, flipped and with erased boxes, as the transforms of the library do it."""
    n, device, p = len(x), x.device, chosen["crop"]
    x = scaled(x)
    if p:
        edge = {"mode": "reflect"} if chosen["edge"] == "reflect" else {"value": BLACK}
        padded, side = F.pad(x, (p,) * 4, **edge), torch.arange(28, device=device)
        rows, columns = (torch.randint(0, 2 * p + 1, (n, 1), **random) + side for _ in range(2))
        every = torch.arange(n, device=device)[:, None, None]
        x = padded[every, 0, rows[:, :, None], columns[:, None, :]][:, None]
    mirrored = parity == epoch % 2 if chosen["flip"] == "alternating" else torch.rand(n, **random) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    if not chosen["erase"]:
        return x
    u = torch.rand(n, 5, **random)
    area = 0.02 + (chosen["area"] - 0.02) * u[:, 1]
    aspect = torch.clamp(1 / area, max=1 / 0.3) ** (2 * u[:, 2] - 1)
    within = (u[:, 0] < chosen["erase"])[:, None]
    boxes = []
    for share, position in ((area * aspect, u[:, 3]), (area / aspect, u[:, 4])):
        side = (share.sqrt() * 28).round().clamp(1, 28)
        start = torch.floor(position * (28 - side + 1))
        at = torch.arange(28, device=device)
        boxes.append((at >= start[:, None]) & (at < (start + side)[:, None]) & within)
    return torch.where((boxes[0][:, :, None] & boxes[1][:, None, :])[:, None], BLACK, x)


def scaled(x):
    return (x.float() / 255 - MEAN) / STD


def rate_factor(chosen, t):
    """Return the learning rate as a fraction of the maximum, after the fraction t of all steps."""
    if t < chosen["warm"]:
        return 0.04 + 0.96 * t / chosen["warm"]
    return 1 - (t - chosen["warm"]) / (1 - chosen["warm"])


def orthogonal(g):
    """Muon's five Newton-Schulz steps."""
    x = g.T if g.shape[0] > g.shape[1] else g
    x = x / (x.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


class Optimizer:
    """An optimizer that keeps learning rate and bias corrections of each step on the device, as a CUDA graph needs."""

    def __init__(self, chosen, parameters, steps, device):
        self.chosen = chosen
        of_muon = {id(p) for p in parameters if chosen["optimizer"] == "muon" and p.ndim == 4 and p.shape[1] > 1}
        self.muon = [p for p in parameters if id(p) in of_muon]
        rest = [p for p in parameters if id(p) not in of_muon]
        # With Muon, the other parameters have no weight decay; biases and norms never have
        decay = 0.0 if self.muon else chosen["wd"]
        self.groups = [([p for p in rest if p.ndim > 1], decay), ([p for p in rest if p.ndim == 1], 0.0)]
        self.state = {id(p): (torch.zeros_like(p), torch.zeros_like(p)) for p in parameters}
        highest = chosen["lr"], (0.003 if self.muon else chosen["lr"])
        rates = [[rate_factor(chosen, i / steps) * lr for lr in highest] for i in range(steps)]
        corrections = [[1 / (1 - beta ** (i + 1)) for beta in chosen["betas"]] for i in range(steps)]
        self.numbers = torch.tensor([a + b for a, b in zip(rates, corrections, strict=True)], device=device)

    def reset(self):
        for a, b in self.state.values():
            a.zero_()
            b.zero_()

    def step(self, i):
        """Take step i, a tensor on the device (as an index it needs an axis, or PyTorch would copy it to the CPU)."""
        momentum = self.chosen["momentum"]
        row = i.clamp(max=len(self.numbers) - 1).view(1)
        self.lr, self.lr_of_rest, *self.corrections = self.numbers[row][0].unbind()
        for p in self.muon:
            m = self.state[id(p)][0]
            m.lerp_(p.grad, 1 - momentum)
            direction = orthogonal(p.grad.lerp(m, momentum).flatten(1)).view_as(p)
            p.mul_(1 - self.lr * self.chosen["wd"])
            p.sub_(direction * (self.lr * max(1, p.shape[0] / p[0].numel()) ** 0.5))
        for group, decay in self.groups:
            (self._sgd if self.chosen["optimizer"] == "sgd" else self._adamw)(group, decay, momentum)

    def _sgd(self, group, decay, momentum):
        grads, m = [p.grad for p in group], [self.state[id(p)][0] for p in group]
        if decay:
            torch._foreach_add_(grads, group, alpha=decay)
        torch._foreach_mul_(m, momentum)
        torch._foreach_add_(m, grads)
        steps = torch._foreach_add(grads, m, alpha=momentum)
        torch._foreach_mul_(steps, self.lr)
        torch._foreach_sub_(group, steps)

    def _adamw(self, group, decay, _):
        (beta1, beta2), grads = self.chosen["betas"], [p.grad for p in group]
        m, v = ([self.state[id(p)][i] for p in group] for i in (0, 1))
        torch._foreach_lerp_(m, grads, 1 - beta1)
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, grads, grads, 1 - beta2)
        if decay:
            torch._foreach_mul_(group, 1 - self.lr_of_rest * decay)
        roots = torch._foreach_mul(v, self.corrections[1])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, 1e-8)
        steps = torch._foreach_div(m, roots)
        torch._foreach_mul_(steps, self.lr_of_rest * self.corrections[0])
        torch._foreach_sub_(group, steps)


def run(chosen, data, device):
    """Train one net and return its metrics."""
    x, y, x_held_out, y_held_out = data
    with GLOBAL_LOCK:
        torch.manual_seed(chosen["seed"])
        model = net(chosen)
    model = model.to(device, memory_format=torch.channels_last)
    random = {"device": device, "generator": torch.Generator(device).manual_seed(chosen["seed"])}
    parameters, batch = list(model.parameters()), chosen["batch"]
    metrics = {"params": sum(p.numel() for p in parameters), "macs": multiply_adds(model, device)}
    steps = len(x) // batch
    optimizer = Optimizer(chosen, parameters, steps * chosen["epochs"], device)
    images, order = scaled(x), torch.arange(len(x), device=device)
    count, positions = torch.zeros((), dtype=torch.int64, device=device), torch.arange(batch, device=device)
    live = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
    averages = [tensor.clone() for tensor in live]

    def step():
        some = order[count % steps * batch + positions]
        with torch.autocast(device.type, torch.bfloat16, enabled=chosen["bfloat16"]):
            outputs = model(images[some].contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(outputs.float(), y[some], label_smoothing=chosen["smooth"])
        for p in parameters:
            p.grad = None
        loss.backward()
        with torch.no_grad():
            optimizer.step(count)
            torch._foreach_lerp_(averages, live, 0.002)
            count.add_(1)

    run_step = captured(step, model, optimizer) if device.type == "cuda" else step
    count.zero_()
    for average, tensor in zip(averages, live, strict=True):
        average.copy_(tensor)
    parity = torch.randint(0, 2, (len(x),), **random)
    for epoch in range(chosen["epochs"]):
        images.copy_(augmented(x, chosen, epoch, parity, random))
        order.copy_(torch.randperm(len(x), **random))
        for _ in range(steps):
            run_step()
    metrics["plain"], metrics["tta"] = accuracies(model, x_held_out, y_held_out)
    for tensor, average in zip(live, averages, strict=True):
        tensor.copy_(average)
    metrics["ema"], metrics["ema_tta"] = accuracies(model, x_held_out, y_held_out)
    return metrics


def captured(step, model, optimizer):
    """Capture a step as a CUDA graph and return the function that runs it; the steps needed for that are undone."""
    before = [tensor.clone() for tensor in model.state_dict().values()]
    with GLOBAL_LOCK:
        for _ in range(3):  # a warm-up, on the stream of this thread, which is not the default stream
            step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(), capture_error_mode="thread_local"):
            step()
    for tensor, values in zip(model.state_dict().values(), before, strict=True):
        tensor.copy_(values)
    optimizer.reset()
    return graph.replay


def accuracies(model, x, y):
    """Return the accuracy on images, and that of the mean prediction with their mirror images."""
    model.eval()
    with torch.no_grad():
        parts = scaled(x).split(2000)
        p = [torch.cat([model(part).softmax(1) for part in parts])]
        p.append(torch.cat([model(part.flip(3)).softmax(1) for part in parts]))
    model.train()
    return [(q.argmax(1) == y).float().mean().item() for q in (p[0], p[0] + p[1])]


def work(jobs, data, device, out, deadline):
    """Train the jobs in the queue until it is empty or the time is up."""
    stream = torch.cuda.Stream() if device.type == "cuda" else None
    with torch.cuda.stream(stream):
        while time.time() < deadline:
            try:
                around, job = jobs.get_nowait()
            except queue.Empty:
                return
            began = time.time()
            try:
                metrics = run(SEARCHES[around][0] | job, data, device)
            except Exception:
                traceback.print_exc()
                return
            row = {
                "around": around,
                "of": digest(around),
                "job": job,
                **metrics,
                "seconds": round(time.time() - began, 1),
            }
            with GLOBAL_LOCK, (out / "search.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def read(device):
    """Return images and labels of the training set and of the held-out set."""
    x, y, _, _ = fashion_mnist()
    order = np.random.default_rng(0).permutation(len(x))
    x, y = torch.from_numpy(x[order]).to(device), torch.from_numpy(y[order]).long().to(device)
    return x[HELD_OUT:], y[HELD_OUT:], x[:HELD_OUT], y[:HELD_OUT]


def found(folder):
    """Return the names of the runs that a folder already has."""
    path = folder / "search.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {json.dumps([row["around"], row["of"], row["job"]], sort_keys=True) for row in map(json.loads, lines)}


def name_of(around, job):
    """Return a name that identifies a run, also after a change of the settings that its search is around."""
    return json.dumps([around, digest(around), job], sort_keys=True)


def digest(around):
    """Return a short hash of the settings that a search is around."""
    text = json.dumps(SEARCHES[around][0], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def tables():
    """Return the tables of docs/results.md as Markdown: the mean over the seeds, and the change from the baseline."""
    rows = [json.loads(line) for line in (RESULTS / "search.jsonl").read_text(encoding="utf-8").splitlines()]
    lines = []
    for around, title in (("sgd", "SGD"), ("adamw", "AdamW"), ("best", "the recipe best"), ("fast", "the recipe fast")):
        lines += [f"| around {title} | plain, % | change | with the mirror image, % |", "| --- | --- | --- | --- |"]
        kinds = {}
        for row in rows:
            if row["around"] == around:
                name = {key: value for key, value in row["job"].items() if key != "seed"}
                kinds.setdefault(json.dumps(name, sort_keys=True), {})[row["job"].get("seed", 0)] = row
        baseline, cells = kinds["{}"], []
        for name, seeds in kinds.items():  # compared seed by seed, because each seed has other initial weights
            changes = [100 * (row["plain"] - baseline[seed]["plain"]) for seed, row in seeds.items()]
            plain, mirrored = (100 * statistics.mean(row[kind] for row in seeds.values()) for kind in ("plain", "tta"))
            words = ", ".join(f"{key} {value}" for key, value in json.loads(name).items()) or "as it is"
            several = f" ({len(seeds)} seeds)" if len(seeds) > 1 else ""
            change = statistics.mean(changes)
            error = (
                f" ± {statistics.stdev(changes) / len(changes) ** 0.5:.2f}" if len(changes) > 2 and any(changes) else ""
            )
            cells.append((change, f"| {words}{several} | {plain:.2f} | {change:+.2f}{error} | {mirrored:.2f} |"))
        lines += [line for _, line in sorted(cells, reverse=True)]
        lines.append("")
    return "\n".join(lines).rstrip()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("around", nargs="*", choices=[*SEARCHES, []])
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        print(tables())
        return
    args.out.mkdir(parents=True, exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data, jobs, deadline = read(device), queue.Queue(), time.time() + args.seconds
    torch.empty(0, device=device)
    names, done, wanted = args.around or list(SEARCHES), found(args.out), set()
    for seed in range(max(SEEDS[name] for name in names)):  # all runs of one seed first, in case the time runs out
        for name in names:
            for job in SEARCHES[name][1] if seed < SEEDS[name] else []:
                job = job | ({"seed": seed} if seed else {})
                wanted.add(name_of(name, job))
                if name_of(name, job) not in done:
                    jobs.put((name, job))
    shared = jobs, data, device, args.out, deadline
    workers = [threading.Thread(target=work, args=shared) for _ in range(args.at_once)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if missing := wanted - found(args.out):
        sys.exit(f"{len(missing)} of {len(wanted)} runs are missing")


if __name__ == "__main__":
    main()
