"""A change of the list of classes: what is wanted, checked against the list as it is."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from curate.config import class_key, class_name
from db.errors import ConfigError, DatasetError
from db.models import ChangeKind

_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of `names`; `into` is what one is renamed to, or what they are merged into."""

    kind: ChangeKind
    names: tuple[str, ...]
    into: str = ""

    def after(self, before: Sequence[str]) -> list[str]:
        """Give the list that `before` becomes. This must have been `checked` against it."""
        if self.kind is ChangeKind.ADD:
            return [*before, *self.names]
        if self.kind is ChangeKind.RENAME:
            return [self.into if name == self.names[0] else name for name in before]
        return [name for name in before if name not in self.names]


def checked(change: Change, before: Sequence[str]) -> Change:
    """Give the change with every name as the list has it. Raises ConfigError or DatasetError for what cannot be."""
    if change.kind is ChangeKind.ADD:
        found = Change(change.kind, tuple(_new(name, before, change.names) for name in change.names))
    elif change.kind is ChangeKind.RENAME:
        found = _renaming(change, before)
    else:
        names = tuple(dict.fromkeys(_known(name, before) for name in change.names))
        into = _known(change.into, before) if change.kind is ChangeKind.MERGE else ""
        if into in names:
            raise DatasetError(f"{into!r} cannot be merged into itself")
        found = Change(change.kind, names, into)
    left = found.after(before)
    if len(left) < _FEWEST:
        what = f"only {left[0]}" if left else "none"
        raise DatasetError(f"a dataset has two classes at least, and {what} would be left")
    return found


def _renaming(change: Change, before: Sequence[str]) -> Change:
    old, new = _known(change.names[0], before), _name(change.into)
    if new == old:
        raise DatasetError(f"{old!r} is called so already")
    others = [name for name in before if name != old]
    if class_key(new) in map(class_key, others):
        there = _known(new, others)
        raise DatasetError(
            f"there is a class {there!r} already; to make the two one: `curate classes merge {_quoted(old)}"
            f" {_quoted(there)}`"
        )
    return Change(change.kind, (old,), new)


def _new(given: str, before: Sequence[str], wanted: Sequence[str]) -> str:
    name = _name(given)
    if class_key(name) in map(class_key, before):
        raise DatasetError(f"there is a class {_known(name, before)!r} already")
    if [class_key(other) for other in wanted].count(class_key(name)) > 1:
        raise DatasetError(f"{name!r} is given twice (upper and lower case do not count)")
    return name


def _name(given: str) -> str:
    try:
        return class_name(given)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _known(given: str, names: Sequence[str]) -> str:
    by_key = {class_key(name): name for name in names}
    if class_key(given) in by_key:
        return by_key[class_key(given)]
    near = difflib.get_close_matches(class_key(given), by_key, n=1)
    hint = f"did you mean {by_key[near[0]]!r}? There is" if near else "there is"
    raise DatasetError(f"no class {given!r}; {hint}: {', '.join(names)}")


def _quoted(name: str) -> str:
    return f'"{name}"' if " " in name else name
