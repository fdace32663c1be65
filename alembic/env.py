"""How migrations run: on the connection that `db.migrate` hands over, all of them in its one transaction.

To write a new one: `make migration MESSAGE="what changes"`, then read and finish what it drew up.
Rules of a migration: it never imports `db.models` (those move on, it does not), it touches every row it must by SQL,
and it works on SQLite and PostgreSQL alike.
"""

from typing import Any, Literal

from alembic import context
from sqlalchemy.types import TypeDecorator

from db.models import Base


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:  # noqa: ANN401 - Alembic's signature
    """Write our own types as what they are in the database: a migration must not follow `db.models`."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite can; Alembic believes it cannot
    render_as_batch=True,
    render_item=render_item,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
