"""The glossary gives each word once."""

import re

from tests.docs.pages import ROOT

GLOSSARY = (ROOT / "docs/concepts.md").read_text().split("\n## Glossary\n")[1]
WORDS = [
    word.strip(" `")
    for row in re.findall(r"^\| ([^|]+) \|", GLOSSARY, re.MULTILINE)
    for word in row.split(",")
    if not row.startswith(("word", "---"))
]


def test_each_word_has_one_meaning():
    assert len(WORDS) > 60
    assert sorted(word for word in set(WORDS) if WORDS.count(word) > 1) == []
