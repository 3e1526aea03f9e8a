"""docs/glossary.md: at least sixty words, in order, each linked from where pages use it first."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
WORDS = re.findall(r"^## (.+)$", TEXT, re.M)


def test_there_are_sixty_words_in_order():
    assert len(WORDS) >= 60
    assert sorted(WORDS, key=str.lower) == WORDS
    assert len(set(WORDS)) == len(WORDS)


def test_each_word_is_explained_in_a_few_sentences():
    for explanation in re.split(r"^## .+$", TEXT, flags=re.M)[1:]:
        assert 20 < len(explanation.strip()) < 400


def test_links_within_it_lead_to_words():
    for anchor in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert anchor in [word.lower().replace(" ", "-") for word in WORDS]
