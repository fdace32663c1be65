"""Classes that are none any more, and what they count as.

A class that was merged or removed stays as a row, retired, and so does the name that a renamed one had: answers on
record say it, and answers that still come may. What was said is never rewritten. Only what it counts as follows the
list of classes, so a merge is a few updates, can be taken apart again, and needs nothing to be said anew.
"""

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Class


def fates(session: Session) -> dict[int, int | None]:
    """Ids of retired classes, each with the present class that it counts as; None for one that was removed."""
    retired = {
        row.id: row.merged_into_id for row in session.scalars(select(Class).where(Class.retired_at.is_not(None)))
    }

    def fate(class_id: int | None) -> int | None:
        while class_id in retired:  # no ring: what is merged into is present then
            class_id = retired[class_id]
        return class_id

    return {class_id: fate(class_id) for class_id in retired}


def former(session: Session) -> dict[str, int]:
    """Ids of retired classes by key, where no present class has it; of several that had one name, the latest."""
    present = set(session.scalars(select(Class.key).where(Class.retired_at.is_(None))))
    retired = session.scalars(select(Class).where(Class.retired_at.is_not(None)).order_by(Class.retired_at, Class.id))
    return {row.key: row.id for row in retired if row.key not in present}


def ids_now(session: Session, keys: Iterable[str]) -> list[int | None]:
    """Ids of the present classes that these names, given as keys, count as now; None for what is none."""
    counts, old = fates(session), former(session)
    present = {row.key: row.id for row in session.scalars(select(Class).where(Class.retired_at.is_(None)))}
    return [present[key] if key in present else counts.get(old.get(key, 0)) for key in keys]
