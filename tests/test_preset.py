"""The guitar preset: enough queries for each class, and none that could fill two."""

import unicodedata
from collections import Counter
from importlib import resources
from pathlib import Path

import pytest

from curate.config import Settings, check, parse

MOST_CHARACTERS = 200
"""Openverse cuts what is longer."""
NEVER_ALONE = {"jaguar", "mustang", "explorer", "firebird", "les paul", "sg", "flying v", "jazzmaster", "es"}


def preset() -> Settings:
    """What is in the file."""
    file = resources.files("curate") / "presets" / "guitars.toml"
    return check(parse(file.read_text(encoding="utf-8"), Path("guitars.toml")), Path("guitars.toml"))


QUERIES = [(c.name, query) for c in preset().classes for query in c.queries]


def test_every_class_has_queries_to_fill_it() -> None:
    """Thirteen classes, each with a key of its own and at least ten queries."""
    classes = preset().classes
    assert len(classes) == 13
    assert all(c.hotkey for c in classes)
    assert min(len(c.queries) for c in classes) >= 10


def test_no_query_is_asked_twice() -> None:
    """No two queries are the same words in another order: what one finds the other finds."""
    asked = Counter(frozenset(query.casefold().split()) for _, query in QUERIES)
    assert [words for words, times in asked.items() if times > 1] == []


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_a_query_can_be_asked_as_it_is(name: str, query: str) -> None:
    """It is NFC, of one line, no longer than a source takes, and no name that means something else as well."""
    assert query == unicodedata.normalize("NFC", query) == " ".join(query.split())
    assert 0 < len(query) <= MOST_CHARACTERS
    assert query.casefold() not in NEVER_ALONE, name
