"""The glossary gives each word once, and the words that the tables of a stage are named by are in it."""

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


def test_the_words_of_the_tables_are_in_it():
    tables = {path.stem for path in (ROOT / "mmcsal/contracts").glob("*.py")} - {
        "__init__",
        "errors",
        "ids",
        "spec",
        "tuning",
    }
    assert tables - {"metric"} <= set(WORDS)
