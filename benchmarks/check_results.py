"""Do the published results agree with the stored ones? Exits with status 1 and says which do not.

python benchmarks/check_results.py

Checks files of the repository only and trains nothing:
- docs/results.md, own_images.md, fine_tuning.md and performance.md have the tables that scripts in benchmarks print
  from docs/results;
- of each recipe, the mean test accuracies here and in PyTorch differ by at most two standard errors;
- the model card of the trained net `fashion` quotes the accuracy and the loss in its config.json, and docs/results has
  the same accuracy.
The tables of search.py are checked only where PyTorch is installed, because that script imports it.
"""

import importlib.util
import json
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
RESULTS = DOCS / "results"
FASHION = ROOT / "cnn" / "zoo" / "fashion"
RECIPES = ("default", "fast", "best")


def read(path):
    return path.read_text(encoding="utf-8")


def wrong_tables():
    """Yield a message for each script whose tables are not those of the page."""
    for page, script, arguments, needed in (
        ("results.md", "recipes.py", [], None),
        ("results.md", "research/search.py", [], "torch"),
        ("own_images.md", "own_images.py", [".", str(RESULTS / "own-images.jsonl")], None),
        ("performance.md", "inference_opponents.py", [str(RESULTS / "inference.json")], None),
        ("fine_tuning.md", "fine_tuning.py", [".", str(RESULTS / "fine-tuning.jsonl")], None),
    ):
        if needed and importlib.util.find_spec(needed) is None:
            print(f"the tables of benchmarks/{script} are not checked: {needed} is not installed")
            continue
        command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments, "--table"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            yield f"benchmarks/{script} --table failed with status {done.returncode}"
        elif done.stdout.strip() not in read(DOCS / page):
            yield (
                f"docs/{page} does not have the tables that benchmarks/{script} --table prints: copy them into it, "
                "or restore the files in docs/results"
            )


def wrong_accuracies():
    """Yield a message for each recipe whose accuracy differs from PyTorch's by more than two standard errors."""
    for recipe in RECIPES:
        ours, theirs = test_accuracies(recipe, "cnn"), test_accuracies(recipe, "torch")
        if min(len(ours), len(theirs)) < 2:
            yield f"recipe {recipe}: expected results of at least two seeds of each library in docs/results"
            continue
        error = (statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs)) ** 0.5
        difference = abs(statistics.mean(ours) - statistics.mean(theirs))
        if difference > 2 * error:
            yield (
                f"recipe {recipe}: the mean test accuracies here and in PyTorch differ by {difference:.4f}, more than "
                f"two standard errors ({2 * error:.4f})"
            )


def test_accuracies(recipe, library):
    return [json.loads(read(path))["test_accuracy"] for path in RESULTS.glob(f"{recipe}-{library}-*.json")]


def wrong_model_card():
    """Yield a message for each number of the model card that is not that of the run."""
    config, card = json.loads(read(FASHION / "config.json")), read(FASHION / "README.md")
    for line in (f"accuracy  {config['test_accuracy']:.4f}", f"loss      {config['test_loss']:.4f}"):
        if line not in card:
            yield f"cnn/zoo/fashion/README.md does not have the line {line!r}, which config.json gives"
    stored = json.loads(read(RESULTS / "best-cnn-0.json"))["test_accuracy"]
    if stored != config["test_accuracy"]:
        yield (
            f"docs/results/best-cnn-0.json has the test accuracy {stored}, but cnn/zoo/fashion/config.json has "
            f"{config['test_accuracy']}"
        )


def main():
    messages = [*wrong_tables(), *wrong_accuracies(), *wrong_model_card()]
    if messages:
        sys.exit("\n".join(messages))
    print("the published results agree with the stored ones")


if __name__ == "__main__":
    main()
