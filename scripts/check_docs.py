"""Check the site that scripts/docs.sh has built; exit status 1 if anything is wrong.

Every link to a page, file or place within the site leads somewhere, every image has alternative text, nothing is loaded
from a network, and codespell finds no misspelling beyond docs/words.txt. Every shell block is
run by .ci/run or a test, or says why not; its cnn commands and their options exist. Prints those that are not run.
"""

import contextlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cnn.cli.main import _parsers

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs" / "_build" / "html"
WORDS = ROOT / "docs" / "words.txt"  # words that are right although codespell doubts them, one a line
EXPLORE = "docs/example/"  # pages of cnn explore: their script reads what follows the #
STARTERS = {"cnn", "python", "python3", "mpiexec", "srun"}  # what a command of ours may begin with
LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src"}
SHELL = re.compile(r"(?:^<!-- (?P<mark>[^\n]*) -->\n+)?^```(?:bash|sh|powershell)\n(?P<code>.*?)^```", re.M | re.S)


class Page(HTMLParser):
    """What a page has: its anchors, its links, and what is wrong in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.problems: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        found = {name: value or "" for name, value in attributes}
        for name in ("id", "name") if tag == "a" else ("id",):
            if name in found:
                self.anchors.add(found[name])
        if tag == "img" and not found.get("alt", "").strip():
            self.problems.append(f"an image without alternative text: {found.get('src', '')[:80]}")
        where = found.get(LOADED.get(tag, ""), "")
        if where.startswith(("http:", "https:", "//")) and found.get("rel") != "canonical":
            self.problems.append(f"loaded from a network: {where}")
        target = found.get("href", "") if tag in ("a", "link") else found.get("src", "")
        if target and not urlsplit(target).scheme and not target.startswith("//"):
            self.links.append(target)


@cache
def page_at(path: Path) -> Page:
    """Return a page, read once."""
    return Page(path)


def problems_of_links() -> Iterator[str]:
    """Yield each link that leads nowhere, each image without text, and whatever needs a network."""
    for path in sorted(SITE.rglob("*.html")):
        name = path.relative_to(SITE).as_posix()
        if name.startswith((EXPLORE, "_static/")):
            continue
        page = page_at(path)
        yield from (f"{name}: {problem}" for problem in page.problems)
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                yield f"{name}: {link} leads to no file"
            elif not parts.fragment or target.suffix != ".html" or target.is_relative_to(SITE / EXPLORE):
                continue
            elif unquote(parts.fragment) not in page_at(target).anchors:
                yield f"{name}: {link} leads to no place in {target.relative_to(SITE).as_posix()}"


def sources() -> list[Path]:
    """Return the pages that people have written."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "cnn" / "zoo").rglob("README.md")]
    return sorted(path for path in pages if "_build" not in path.parts)


def misspellings() -> Iterator[str]:
    """Yield what codespell finds in the pages, the notebooks and the docstrings."""
    words = [word for word in WORDS.read_text(encoding="utf-8").splitlines() if word and not word.startswith("#")]
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list", ",".join(words)]
    command += ["--ignore-regex", r"[A-Za-z0-9+/=]{60,}|\\[A-Za-z]+"]  # images in notebooks; LaTeX
    command += [str(path) for path in (*sources(), *(ROOT / "models").glob("*.ipynb"), ROOT / "cnn")]
    run = subprocess.run(
        [*command, "--skip", "*.html,*.safetensors,*.json"], capture_output=True, text=True, check=False
    )
    if run.returncode not in (0, 65):
        yield run.stderr
    yield from (line.replace(f"{ROOT}/", "") for line in run.stdout.splitlines())


def shell_blocks() -> Iterator[tuple[str, str, str]]:
    """Yield where each shell block is, the comment before it, and its text."""
    for path in sources():
        text = path.read_text(encoding="utf-8")
        for found in SHELL.finditer(text):
            line = text.count("\n", 0, found.start("code")) + 1
            yield f"{path.relative_to(ROOT).as_posix()}:{line}", found["mark"] or "", found["code"]


def command_of(line: str) -> list[str]:
    """Return the words after ``cnn`` or ``python -m cnn`` in a line, also after what starts it, such as mpiexec."""
    words = shlex.split(line.replace("\\", "/"), comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):  # a variable of the environment
        words.pop(0)
    names = [Path(word).name for word in words]
    if "cnn" not in names or names[0] not in STARTERS:
        return []
    return words[names.index("cnn") + 1 :]


def unknown_options(code: str) -> Iterator[str]:
    """Yield what the parsers say against the commands of a shell block."""
    _, parsers = _parsers()
    for line in code.replace("\\\n", " ").splitlines():
        try:
            words = command_of(line)
        except ValueError as error:
            yield f"{line}: {error}"
            continue
        if not words or words == ["--version"]:
            continue
        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                parsers[words[0]].reject_unknown_options(words[1:])
        except (KeyError, SystemExit):
            yield f"{line}: {said.getvalue().partition(chr(10))[0] or 'there is no such command'}"


def problems_of_shell_blocks() -> Iterator[str]:
    """Print the shell blocks that are not run, with the reason; yield those without one, and wrong commands."""
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8")

    def is_run(command: str) -> bool:
        return re.search(rf"(^|\s){re.escape(command.strip())}(\s|$)", checks, re.M) is not None

    print("Shell blocks that are not run:")
    for place, mark, code in shell_blocks():
        commands = [line for line in code.splitlines() if line.strip()]
        yield from (f"{place}: {problem}" for problem in unknown_options(code))
        if mark.startswith("not run: "):
            print(f"  {place}: {mark.removeprefix('not run: ')}")
        elif found := re.match(r"run by (tests/[\w/]+\.py)", mark):
            if not (ROOT / found[1]).exists():
                yield f"{place}: there is no {found[1]}"
        elif not all(map(is_run, commands)):
            yield f"{place}: not run by .ci/run: put <!-- not run: reason --> before the block"


def main() -> int:
    """Print what is wrong and the list of shell blocks, and return the exit status."""
    if not (SITE / "index.html").exists():
        print("there is no site: bash scripts/docs.sh builds it", file=sys.stderr)
        return 1
    problems = [*problems_of_links(), *(f"spelling: {line}" for line in misspellings())]
    problems += problems_of_shell_blocks()
    print("\n".join(problems), end="\n" if problems else "")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
