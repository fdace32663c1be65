"""From what a user asks for to what is crawled: classes by name, free queries, and every class that is short."""

import difflib
from collections.abc import Sequence
from dataclasses import replace

from curate.config import class_key
from curate.crawl.report import Target
from curate.crawl.sources import searches
from curate.ingest.folder import shown
from curate.project import Project
from curate.status import ClassStatus, status
from db.errors import ConfigError, DatasetError

_NEAR = 0.8
"""Of difflib's likeness: "telecastr" is nearly "Telecaster", and "telecaster guitar" is a query of its own."""


def targets(
    project: Project, what: Sequence[str], sources: Sequence[str], most: int | None, *, recheck: bool = False
) -> list[Target]:
    """Plan a crawl. `most` sets how many images each target may bring, whatever the class lacks.

    With `recheck`, whatever was found for these targets is asked for again. Raises ConfigError where the request
    makes no sense.
    """
    if not sources and not recheck:
        raise ConfigError("there is no source to ask; name some in crawl.sources, or one with --source")
    lists = [name for name in sources if not searches(name)]
    if lists and len(sources) > 1:
        raise ConfigError(f"--source {lists[0]} goes alone: it is read once, while the others are asked by query")
    if lists and len(what) > 1:
        raise ConfigError(f"--source {lists[0]} fills one class, or none; {len(what)} were named")
    stands = status(project).classes
    if not what and not lists:
        what = [name for name, counts in stands.items() if recheck or counts.images < counts.target]
    with project.database.read() as session:
        ids = project.classes(session)
    if lists and not what:
        name = shown(lists[0])
        found = [Target(name, f"list:{name}", None, ("",), most)]
    else:
        found = [_target(project, name, ids, stands, most, is_list=bool(lists)) for name in what]
    return [replace(target, want=None) for target in found] if recheck else found


def mistakable(project: Project, targets: Sequence[Target]) -> dict[str, str]:
    """Give queries that nearly are the name of a class, each with that class: perhaps it was meant."""
    known = {class_key(one.name): one.name for one in project.settings.classes}
    found = {}
    for target in targets:
        if target.class_id is None and (near := difflib.get_close_matches(class_key(target.name), known, 1, _NEAR)):
            found[target.name] = known[near[0]]
    return found


def _target(
    project: Project, name: str, ids: dict[str, int], stands: dict[str, ClassStatus], most: int | None, *, is_list: bool
) -> Target:
    try:
        name = project.class_named(name)
    except DatasetError:
        if is_list:
            raise
        want = most if most is not None else project.settings.dataset.target
        return Target(name, f"query:{_query(name)}", None, (name,), want)
    key, class_id = f"class:{ids[name]}", ids[name]
    if is_list:
        return Target(name, key, class_id, ("",), most)
    missing = max(0, stands[name].target - stands[name].images)
    return Target(name, key, class_id, project.settings.queries(name), missing if most is None else most)


def _query(words: str) -> str:
    """Give what is no class to be searched for. Raises ConfigError for what no source can be asked."""
    if not words.strip():
        raise ConfigError("an empty query finds nothing; name a class, or words to search for")
    if shown(words) != words:
        raise ConfigError(f"the query {shown(words)!r} is not written in UTF-8")
    return words
