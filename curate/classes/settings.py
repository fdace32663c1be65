"""The classes in `curate.toml`, rewritten: comments stay, and so does all that is not about classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AoT, Array, Comment, InlineTable, Table

from curate import config, edit
from curate.classes.change import Change
from curate.config import class_key
from db.errors import ConfigError
from db.models import ChangeKind


def rewritten(text: str, path: Path, change: Change) -> str:
    """Text of the `curate.toml` at `path` after a change. Raises ConfigError, also where it cannot be rewritten."""
    before = config.parse(text, path)
    wanted = change.after([c.name for c in config.check(before, path).classes])
    document = tomlkit.parse(text)
    entries = document.get("classes")
    if not isinstance(entries, AoT | Array):
        raise ConfigError(f"{path}: the classes are written in a way that cannot be changed here; change them by hand")
    if change.kind is ChangeKind.ADD:
        for name in change.names:
            _add(document, entries, name)
    elif change.kind is ChangeKind.RENAME:
        _rename(entries[_place(entries, change.names[0])], change)
    else:
        for name in change.names:
            if change.kind is ChangeKind.MERGE:
                _join(entries[_place(entries, change.into)], entries[_place(entries, name)])
            _remove(document, entries, _place(entries, name))
    found = tomlkit.dumps(document)
    after = config.parse(found, path)
    settings = config.check(after, path)
    # Whatever TOML a person wrote and however it was taken apart: nothing but the classes may have changed.
    if [c.name for c in settings.classes] != wanted or _others(after) != _others(before):
        raise ConfigError(f"{path} cannot be changed here without losing something; change its classes by hand")
    return found


def _others(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != "classes"}


def _place(entries: Sequence[Any], name: str) -> int:
    return next(i for i, entry in enumerate(entries) if class_key(str(entry["name"])) == class_key(name))


def _add(document: tomlkit.TOMLDocument, entries: AoT | Array, name: str) -> None:
    entry = edit.class_entry(name, entries) | {"name": name}
    if isinstance(entries, Array):
        inline = tomlkit.inline_table()
        inline.update({key: value for key, value in entry.items() if key != "hotkey"})
        entries.append(inline)
        return
    (table,) = edit.class_tables([entry], keep_hotkeys=False)
    last = entries[-1]
    if not tomlkit.dumps(last).endswith("\n\n"):
        last.add(tomlkit.nl())
    if list(document)[-1] != "classes":
        table.add(tomlkit.nl())
    entries.append(table)


def _rename(entry: Table | InlineTable, change: Change) -> None:
    queries = _queries(entry)
    entry["name"] = change.into
    _set_queries(entry, queries)  # what was searched for by its name still is


def _join(into: Table | InlineTable, gone: Table | InlineTable) -> None:
    known = {query.casefold() for query in _queries(into)}
    _set_queries(into, [*_queries(into), *(q for q in _queries(gone) if q.casefold() not in known)])
    if "hotkey" in gone and "hotkey" not in into:
        _put(into, "hotkey", str(gone["hotkey"]))


def _queries(entry: Table | InlineTable) -> list[str]:
    """What is searched for on behalf of a class: without queries of its own, its name."""
    return [str(query) for query in entry.get("queries", ())] or [str(entry["name"])]


def _set_queries(entry: Table | InlineTable, wanted: Sequence[str]) -> None:
    """Write queries, those that are there already left as they are, comments between them too."""
    there = entry.get("queries")
    if not there:
        if [class_key(query) for query in wanted] != [class_key(str(entry["name"]))]:
            queries = tomlkit.array()
            queries.extend(wanted)
            _put(entry, "queries", queries)
        return
    there.extend(wanted[len(there) :])


def _put(entry: Table | InlineTable, key: str, value: object) -> None:
    """Set a key; a new one stands below the others, and above what is written about the next section."""
    below = []
    if isinstance(entry, Table) and key not in entry:
        while entry.value.body and entry.value.body[-1][0] is None:
            below.append(entry.value.body.pop()[1])
    entry[key] = value
    for item in reversed(below):
        entry.append(None, item)


def _remove(document: tomlkit.TOMLDocument, entries: AoT | Array, place: int) -> None:
    """Take a class out. A comment below its last key, above the next section, is about that one, and stays."""
    if isinstance(entries, AoT):
        heir = entries[place - 1] if place else _section_before(document) or entries[place + 1]
        for comment in _comments_below(entries[place]):
            heir.add(comment)
    del entries[place]


def _comments_below(table: Table) -> list[Comment]:
    found: list[Comment] = []
    for key, item in table.value.body:
        if key is not None:
            found.clear()
        elif isinstance(item, Comment):
            found.append(item)
    return found


def _section_before(document: tomlkit.TOMLDocument) -> Table | None:
    found = None
    for key, item in document.body:
        if key is not None and key.key == "classes":
            break
        if isinstance(item, Table):
            found = item
    return found
