"""Which tasks were drawn at random, beside those that a strategy chose."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("labelling_tasks") as table:
        table.add_column(sa.Column("control", sa.Boolean(), nullable=False, server_default=sa.false()))
    # In a batch of its own: see 0003.
    with op.batch_alter_table("labelling_tasks") as table:
        table.alter_column("control", server_default=None)
