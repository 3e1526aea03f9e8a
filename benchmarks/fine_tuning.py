"""30 images a class: `cnn train FOLDER` from random weights, with --pretrained, and with --pretrained --fine-tune 5.

python benchmarks/fine_tuning.py CACHE RESULTS [--sets ...] [--seeds ...] [--programs ...] [--per-class 30]
python benchmarks/fine_tuning.py CACHE RESULTS --table

The sets are those of own_image_sets.py, which fetches them into CACHE; a hash of the names chooses the images of each
class to train on, of which the command holds out a fifth for validation. All are tested on all test images of the set,
which nothing has chosen by. RESULTS is a file of JSON lines: each run adds one, and none is repeated that is there.
Seconds are those of `cnn train` from start to end, plots included, on a clock and of the processor.
"""

import argparse
import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import own_image_sets
from own_image_tables import mean, text
from own_images import command, stored

SETS = ("stamps", "clipart", "photo-crops", "garments", "emoji-apple")
PROGRAMS = {
    "scratch": [],
    "pretrained": ["--pretrained"],
    "fine-tuned": ["--pretrained", "--fine-tune", "5"],
}


TEXTS = {"scratch": "from random weights", "pretrained": "`--pretrained`", "fine-tuned": "`--fine-tune 5`, too"}


def few(folder: Path, to: Path, per_class: int) -> int:
    """Copy some images of each class: -> how many"""
    count = 0
    for label in sorted(path for path in folder.iterdir() if path.is_dir()):
        (to / label.name).mkdir(parents=True)
        files = sorted(label.iterdir(), key=lambda file: own_image_sets.position(f"few {file.name}"))[:per_class]
        for file in files:
            shutil.copyfile(file, to / label.name / file.name)
        count += len(files)
    return count


def measure(cache: Path, name: str, program: str, seed: int, per_class: int) -> dict[str, Any]:
    """Train and test once."""
    to_train, to_test = own_image_sets.folders(cache, name)
    with tempfile.TemporaryDirectory() as temporary:
        images, run = Path(temporary, name), Path(temporary, "run")
        count = few(to_train, images, per_class)
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        trained = command("train", str(images), "--seed", str(seed), "--out", str(run), "--quiet", *PROGRAMS[program])
        seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        tested = command("evaluate", str(run), "--data", str(to_test))
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "set": name,
        "program": program,
        "variant": "default",
        "seed": seed,
        "per_class": per_class,
        "images": count,
        "tested": sum(1 for path in to_test.rglob("*") if path.is_file()),
        "accuracy": tested["accuracy"],
        "validation_accuracy": trained["validation_accuracy"],
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table: accuracies as means over the seeds with their standard errors, and processor seconds."""
    heads = ["set", "images", "tested", *(f"{text}: %, s" for text in TEXTS.values()), "gain", "gain"]
    lines = [f"| {' | '.join(heads)} |", f"| --- {'| ---: ' * (len(heads) - 1)}|"]
    for name in dict.fromkeys(result["set"] for result in results):
        rows = [result for result in results if result["set"] == name]
        found = {program: [row for row in rows if row["program"] == program] for program in PROGRAMS}
        accuracies = {program: [100 * row["accuracy"] for row in found[program]] for program in PROGRAMS}
        cells = [
            f"{text(accuracies[program])}, {statistics.mean(row['processor_seconds'] for row in found[program]):.0f}"
            if found[program]
            else ""
            for program in PROGRAMS
        ]
        cells += [
            f"{mean(accuracies[program]) - mean(accuracies['scratch']):+.1f}" if accuracies[program] else ""
            for program in ("pretrained", "fine-tuned")
        ]
        lines.append(f"| {name} | {rows[0]['images']} | {rows[0]['tested']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what is not there, the first seed of everything first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--sets", nargs="+", choices=own_image_sets.SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        print(table(stored(args.results)))
        return
    own_image_sets.fetch(args.cache / "packages")
    for name in args.sets:
        own_image_sets.build(args.cache, name)
    args.results.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["set"], r["program"], r["seed"], r["per_class"]) for r in stored(args.results)}
    for seed in args.seeds:
        for program in args.programs:
            for name in args.sets:
                if (name, program, seed, args.per_class) in done:
                    continue
                result = measure(args.cache, name, program, seed, args.per_class)
                with args.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
                print(f"{name} {program} {seed}: {result['accuracy']:.4f}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
