"""Classes that are none any more, what became of them, and every change of the list of classes."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("classes") as table:
        table.add_column(sa.Column("retired_at", sa.DateTime(), nullable=True))
        table.add_column(sa.Column("merged_into_id", sa.Integer(), nullable=True))
        table.add_column(sa.Column("renamed", sa.Boolean(), nullable=False, server_default=sa.false()))
        table.create_foreign_key("fk_classes_merged_into_id_classes", "classes", ["merged_into_id"], ["id"])
        # A class may take the name of one that was merged into it: only among present ones a name stands once.
        table.drop_constraint("uq_classes_name", type_="unique")
        table.drop_constraint("uq_classes_key", type_="unique")
    # In a batch of its own: see 0003.
    with op.batch_alter_table("classes") as table:
        table.alter_column("renamed", server_default=None)
    op.create_index(
        "uq_classes_key_of_present",
        "classes",
        ["key"],
        unique=True,
        sqlite_where=sa.text("retired_at IS NULL"),
        postgresql_where=sa.text("retired_at IS NULL"),
    )
    op.create_table(
        "class_changes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("names", sa.JSON(), nullable=False),
        sa.Column("into", sa.String(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("made_at", sa.DateTime(), nullable=False),
        sa.Column("settings_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_class_changes"),
    )
