"""The progress display in a real notebook."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import cnn

CELL = """
import time
from types import SimpleNamespace
from cnn.training.progress import fit_progress

def train(end):
    with fit_progress(verbose=True) as display:
        for i in range(1, end + 1):
            epoch, step = (i - 1) // 150 + 1, (i - 1) % 150 + 1
            display.show(SimpleNamespace(epoch=epoch, epochs=4, step=step, steps=150, loss=1 / i, accuracy=0.5), 64)
            if step == 150 and epoch % 2 == 0:
                display.line(f"epoch {epoch}/4")
            time.sleep(0.002)
        if end < 600:
            raise KeyboardInterrupt
"""


class Recorder(NotebookClient):
    """Records the messages that change the output of a cell."""

    def process_message(self, msg, cell, cell_index):
        if msg["msg_type"] in ("stream", "display_data", "update_display_data", "clear_output"):
            self.seen.append(msg["msg_type"])
        return super().process_message(msg, cell, cell_index)


@pytest.fixture
def outputs(monkeypatch, tmp_path):
    """A function that runs the code of a cell and returns its outputs and the types of the messages."""
    for name in ("CI", "NO_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(cnn.__file__).parents[1]))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def execute(code):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
        client = Recorder(notebook, timeout=60, kernel_name="python3", allow_errors=True)
        client.seen = []
        client.execute(cwd=str(tmp_path))
        return notebook.cells[0].outputs, client.seen

    return execute


def test_one_output_is_updated_and_the_lines_are_below_it(outputs):
    found, seen = outputs(CELL + "train(600)")
    assert [output.output_type for output in found] == ["display_data", "stream", "stream"]
    assert found[0].data == {"text/plain": "epoch 4/4  step 150/150  loss 0.0017  accuracy 0.5000"}
    assert [output.text for output in found[1:]] == ["epoch 2/4\n", "epoch 4/4\n"]
    assert seen.count("display_data") == 1
    assert "clear_output" not in seen
    assert 4 <= seen.count("update_display_data") <= 60  # at least 1.2 s, four updates per second


def test_after_an_interruption_the_last_step_is_shown(outputs):
    found, _ = outputs(CELL + "train(307)")
    assert [output.output_type for output in found] == ["display_data", "stream", "error"]
    assert found[0].data == {"text/plain": "epoch 3/4  step   7/150  loss 0.0033  accuracy 0.5000"}
    assert found[2].ename == "KeyboardInterrupt"


def test_where_the_cell_is_captured_lines_are_plain(outputs):
    found, seen = outputs("%%capture caught\n" + CELL + "train(600)")
    assert (found, seen) == ([], [])
