"""The checks of the site find what is wrong."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def check(tmp_path, monkeypatch):
    """The script, for a site in the temporary folder."""
    spec = importlib.util.spec_from_file_location("check_docs", ROOT / "scripts" / "check_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SITE", tmp_path)
    (tmp_path / "x.png").touch()
    (tmp_path / "good.html").write_text('<h1 id="top">A</h1><a href="#top">a</a><img src="x.png" alt="x">', "utf-8")
    return module


def test_a_good_page_has_no_problem(check):
    assert list(check.problems_of_links()) == []


@pytest.mark.parametrize(
    ("html", "problem"),
    [
        ('<a href="nowhere.html">x</a>', "nowhere.html leads to no file"),
        ('<a href="good.html#left">x</a>', "good.html#left leads to no place in good.html"),
        ('<a href="#left">x</a>', "#left leads to no place in bad.html"),
        ('<img src="good.html">', "an image without alternative text: good.html"),
        ('<img src="good.html" alt=" ">', "an image without alternative text: good.html"),
        ('<script src="https://example.org/x.js"></script>', "loaded from a network: https://example.org/x.js"),
    ],
)
def test_what_is_wrong_in_a_page_is_found(check, tmp_path, html, problem):
    (tmp_path / "bad.html").write_text(html, "utf-8")
    assert list(check.problems_of_links()) == [f"bad.html: {problem}"]


def test_every_shell_block_is_run_or_says_why_not(check, capsys):
    assert list(check.problems_of_shell_blocks()) == []
    assert "docs/distributed.md" in capsys.readouterr().out


def test_a_shell_block_without_a_reason_or_with_an_unknown_option_is_found(check, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("```bash\ncnn train photos --epocs 3\n```\n", "utf-8")
    monkeypatch.setattr(check, "sources", lambda: [page])
    monkeypatch.setattr(check, "ROOT", tmp_path)
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text("bash scripts/test.sh\n", "utf-8")
    option, reason = check.problems_of_shell_blocks()
    assert "unknown option --epocs: did you mean --epochs?" in option
    assert reason == "page.md:2: not run by .ci/run: put <!-- not run: reason --> before the block"


@pytest.mark.parametrize(
    "code",
    [
        "cnn train photos --epocs 3\n",
        "mpiexec -n 2 cnn train photos --epocs 3\n",
        "mpiexec -n 2 python -m cnn train photos --epocs 3\n",
        "CUDA=0 .venv/bin/cnn train photos \\\n    --epocs 3\n",
        "cnn trian photos\n",
        'cnn train "photos\n',
    ],
)
def test_a_wrong_command_is_found_wherever_it_stands(check, code):
    assert len(list(check.unknown_options(code))) == 1


@pytest.mark.parametrize("code", ["pip install cnn --epocs\n", "cd cnn\n", "cnn --version\n", "ls  # cnn trian\n"])
def test_what_is_no_command_of_ours_is_left_alone(check, code):
    assert list(check.unknown_options(code)) == []


def test_a_block_is_run_only_if_the_whole_command_is(check, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("```bash\nbash scripts/te\n```\n\n<!-- run by tests/cli/none.py -->\n\n```bash\nls\n```\n", "utf-8")
    monkeypatch.setattr(check, "sources", lambda: [page])
    monkeypatch.setattr(check, "ROOT", tmp_path)
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "run").write_text("bash scripts/test.sh\n", "utf-8")
    not_run, no_test = check.problems_of_shell_blocks()
    assert not_run.startswith("page.md:2: not run by .ci/run")
    assert no_test == "page.md:8: there is no tests/cli/none.py"
