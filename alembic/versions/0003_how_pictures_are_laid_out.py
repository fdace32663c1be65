"""How pictures are laid out, for finding copies that hash differently; and why a pair is one photograph."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "layouts",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_layouts_image_id_images"),
        sa.PrimaryKeyConstraint("image_id", name="pk_layouts"),
    )
    with op.batch_alter_table("duplicate_pairs") as table:
        table.add_column(sa.Column("reason", sa.String(), nullable=False, server_default=""))
    # In a batch of its own: together they would copy the table into one that has no default, and fail on the first row.
    with op.batch_alter_table("duplicate_pairs") as table:
        table.alter_column("reason", server_default=None)
    # Until now a score was a difference of thumbnails, 0-255, where less was better. What was found by it is looked at
    # anew by the next search.
    op.execute("UPDATE duplicate_pairs SET score = 1 - score / 255, reason = 'thumbnails differ little'")
