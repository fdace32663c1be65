"""From what a user asks for to what is crawled: classes by name, free queries, and every class that is short."""

from collections.abc import Sequence

from curate.crawl.crawl import Target
from curate.crawl.sources import searches
from curate.project import Project
from curate.status import ClassStatus, status
from db.errors import ConfigError, DatasetError


def targets(project: Project, what: Sequence[str], sources: Sequence[str], most: int | None) -> list[Target]:
    """Plan a crawl. `most` sets how many images each target may bring, whatever the class lacks.

    Raises ConfigError where the request makes no sense.
    """
    lists = [name for name in sources if not searches(name)]
    if lists and len(sources) > 1:
        raise ConfigError(f"--source {lists[0]} goes alone: it is read once, while the others are asked by query")
    if lists and len(what) > 1:
        raise ConfigError(f"--source {lists[0]} fills one class, or none; {len(what)} were named")
    stands = status(project).classes
    if not what and not lists:
        what = [name for name, counts in stands.items() if counts.images < counts.target]
    with project.database.read() as session:
        ids = project.classes(session)
    if not what:
        return [Target("all of it", None, ("",), most)] if lists else []
    return [_target(project, name, ids, stands, most, is_list=bool(lists)) for name in what]


def _target(
    project: Project, name: str, ids: dict[str, int], stands: dict[str, ClassStatus], most: int | None, *, is_list: bool
) -> Target:
    try:
        name = project.class_named(name)
    except DatasetError:
        if is_list:
            raise
        return Target(name, None, (name,), most if most is not None else project.settings.dataset.target)
    missing = max(0, stands[name].target - stands[name].images)
    want = most if most is not None else None if is_list else missing
    return Target(name, ids[name], ("",) if is_list else project.settings.queries(name), want)
