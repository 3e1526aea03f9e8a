"""Run the notebooks in models/, each from top to bottom in a kernel of its own. Exit status 1 if a claim fails.

python scripts/notebooks.py [fast | full]

fast: less data, fewer epochs and seeds; the files are not changed. full: everything, and once all three have passed,
their outputs are written into the files. Without an argument the environment variable CNN_NOTEBOOKS decides; the
default is fast. Warnings are errors.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from cnn.core.files import write_bytes

MODELS = Path(__file__).parent.parent / "models"
NAMES = ("pytorch_utils", "spiral_dataset", "fashion_mnist")  # from fastest to slowest
SECONDS_PER_CELL = {"fast": 600, "full": 3600}  # a cell that takes longer fails
KERNEL_ARGUMENTS = [
    "--log-level=ERROR",
    "--InteractiveShell.colors=nocolor",
    # Ignore warnings from the kernel itself.
    "--IPKernelApp.exec_lines=import warnings; warnings.simplefilter('error'); "
    "warnings.filterwarnings('ignore', module='ipykernel')",
]
INTERRUPTED = 130

WARM_UP = "from cnn import kernels, zoo; kernels.warm_up(zoo.small_cnn(), (1, 28, 28))"


def printed(cell: Any) -> str:
    """Return the text that a cell printed."""
    return "".join(output.text for output in cell.get("outputs", []) if output.output_type == "stream")


def execute(notebook: Any, timeout: int) -> None:
    """Run all cells and print their text output as it comes."""

    def show(cell: Any, cell_index: int, execute_reply: Any) -> None:
        if text := printed(cell).rstrip():
            print("    " + text.replace("\n", "\n    "), flush=True)

    client = NotebookClient(
        notebook,
        timeout=timeout,
        extra_arguments=KERNEL_ARGUMENTS,
        resources={"metadata": {"path": str(MODELS)}},  # the working directory, for %run ./pytorch_utils.ipynb
        record_timing=False,
        on_cell_executed=show,
    )
    try:
        client.execute()
    except AssertionError:
        if client.km is None:  # a signal made nbclient stop the kernel, and nbclient then fails
            print("interrupted; nothing was written", file=sys.stderr)
            sys.exit(INTERRUPTED)
        raise


def find_problem(notebook: Any, timeout: int) -> str | None:
    """Run a notebook and return a description of the first problem, or None."""
    try:
        execute(notebook, timeout)
    except CellExecutionError as error:
        return str(error)
    except CellTimeoutError as error:
        return f"a cell took more than {timeout} s: {error}"
    except DeadKernelError:
        return "its kernel died, perhaps from lack of memory"
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error" or output.get("name") == "stderr":  # from a thread, or while plotting
                return f"cell {cell.id}: {output.get('evalue') or output.get('text')}"
            if "image/png" in output.get("data", {}) and not output.metadata.get("image/png", {}).get("alt"):
                return f"cell {cell.id}: an image without alternative text"
    return None


def main() -> int:
    """Run all three notebooks and return the exit status."""
    setting = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CNN_NOTEBOOKS", "fast")
    if len(sys.argv) > 2 or setting not in SECONDS_PER_CELL:
        print(f"{__doc__}\nexpected fast or full, got {' '.join(sys.argv[1:]) or setting!r}", file=sys.stderr)
        return 2
    if isinstance(sys.stdout.encoding, str):
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a Windows console may lack a character
    os.environ["CNN_NOTEBOOKS"] = setting
    canary = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("import warnings; warnings.warn('canary')")])
    if "UserWarning: canary" not in (find_problem(canary, SECONDS_PER_CELL[setting]) or ""):
        print("warnings are not errors in the kernel, so this run would miss problems", file=sys.stderr)
        return 1
    # compile once here, so that no cell waits for it and prints a message
    subprocess.run([sys.executable, "-c", WARM_UP], check=True)
    passed = {}
    for name in NAMES:
        start = time.perf_counter()
        print(f"{name}, {setting} setting", flush=True)
        notebook = nbformat.read(MODELS / f"{name}.ipynb", as_version=4)
        problem = find_problem(notebook, SECONDS_PER_CELL[setting])
        seconds = time.perf_counter() - start
        if problem:
            print(f"{name} FAILED after {seconds:.0f} s\n{problem}", flush=True)
            continue
        notebook.metadata["language_info"] = {"name": "python"}  # without the Python version of this run
        passed[name] = (nbformat.writes(notebook) + "\n").encode()
        print(f"{name}: all claims hold, {seconds:.0f} s, {len(passed[name]) / 1e6:.1f} MB", flush=True)
    if len(passed) < len(NAMES):
        print(f"failed: {', '.join(name for name in NAMES if name not in passed)}; nothing was written")
        return 1
    if setting == "full":
        for name, data in passed.items():
            write_bytes(MODELS / f"{name}.ipynb", data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
