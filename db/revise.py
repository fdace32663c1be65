"""Draws up a migration from what `db.models` says and the newest migration does not: `make migration MESSAGE="…"`.

For a checkout. What it writes is a beginning: read it, and finish it by the rules in `alembic/env.py`.
"""

import sys
import tempfile
from pathlib import Path

from alembic import command

from db import migrate
from db.engine import make_engine


def revise(message: str) -> Path:
    """Write the next migration and give its file."""
    config = migrate.config()
    number = len(list(migrate.scripts().walk_revisions())) + 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        migrate.upgrade(path)
        engine = make_engine(path)
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            script = command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}")
        engine.dispose()
    assert script is not None  # noqa: S101 - one revision asked for is one made
    assert not isinstance(script, list)  # noqa: S101
    return Path(script.path)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].strip():  # noqa: PLR2004 - the program and the message
        sys.exit('say what changes: make migration MESSAGE="add a colour to classes"')
    print(revise(sys.argv[1]))  # noqa: T201 - a script
