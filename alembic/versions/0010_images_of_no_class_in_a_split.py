"""Which images of none of the classes a run learns from, and which it is measured on."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "snapshot_outsiders",
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("side", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["snapshot_id"], ["snapshots.id"], name=op.f("fk_snapshot_outsiders_snapshot_id_snapshots")
        ),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name=op.f("fk_snapshot_outsiders_image_id_images")),
        sa.PrimaryKeyConstraint("snapshot_id", "image_id", name=op.f("pk_snapshot_outsiders")),
    )
    op.create_index("ix_snapshot_outsiders_image_side", "snapshot_outsiders", ["image_id", "side"])
