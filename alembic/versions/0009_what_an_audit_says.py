"""What was found of an image that somebody is asked to look at, in words."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("reviews") as table:
        table.add_column(sa.Column("detail", sa.String(), nullable=False, server_default=""))
    # In a batch of its own: see 0003.
    with op.batch_alter_table("reviews") as table:
        table.alter_column("detail", server_default=None)
