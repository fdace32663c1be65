"""Pairs that only nearly were copies, and what people say of pairs; how good each image is as a picture."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("duplicate_pairs") as table:
        table.add_column(sa.Column("same", sa.Boolean(), nullable=False, server_default=sa.true()))
        table.add_column(sa.Column("marked_id", sa.Integer(), nullable=True))
        table.create_foreign_key("fk_duplicate_pairs_marked_id_images", "images", ["marked_id"], ["id"])
    # In a batch of its own: see 0003.
    with op.batch_alter_table("duplicate_pairs") as table:
        table.alter_column("same", server_default=None)
    op.add_column("layouts", sa.Column("reach", sa.LargeBinary(), nullable=True))
    op.create_table(
        "qualities",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("measures", sa.JSON(), nullable=False),
        sa.Column("finding", sa.String(length=32), nullable=True),
        sa.Column("said", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_qualities_image_id_images"),
        sa.PrimaryKeyConstraint("image_id", name="pk_qualities"),
    )
