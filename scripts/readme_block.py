"""Print the first code block of a language under a heading of the README: readme_block.py python "Usage example"."""

import re
import sys
from pathlib import Path


def block(language: str, heading: str) -> str:
    """Return the first fenced block of ``language`` after the heading."""
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    pattern = rf"^#+ {re.escape(heading)}\n.*?^```{language}\n(.*?)^```"
    found = re.search(pattern, text, flags=re.MULTILINE | re.DOTALL)
    if found is None:
        sys.exit(f"README.md has no {language} block under {heading!r}")
    return found[1]


if __name__ == "__main__":
    print(block(sys.argv[1], sys.argv[2]))
