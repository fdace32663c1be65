"""Who labels and by which rule their answers count; answers that name no class; pre-labels kept back; reviews."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("annotations", "annotation_revisions"):
        op.add_column(name, sa.Column("other", sa.String(length=32), nullable=True))
    with op.batch_alter_table("labels") as table:
        table.add_column(sa.Column("other", sa.String(length=32), nullable=True))
        table.drop_constraint("ck_labels_class_unless_conflict", type_="check")
        table.create_check_constraint(
            op.f("ck_labels_decided_unless_conflict"), "conflict = (class_id IS NULL AND other IS NULL)"
        )
        table.create_check_constraint(op.f("ck_labels_one_decision"), "class_id IS NULL OR other IS NULL")
    with op.batch_alter_table("labelling_projects") as table:
        table.add_column(sa.Column("name", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("labelling_projects") as table:
        table.alter_column("name", server_default=None)
    with op.batch_alter_table("labelling_tasks") as table:
        table.add_column(sa.Column("prelabel_hidden", sa.Boolean(), nullable=False, server_default=sa.false()))
    # In a batch of its own: see 0003.
    with op.batch_alter_table("labelling_tasks") as table:
        table.alter_column("prelabel_hidden", server_default=None)
    op.create_table(
        "annotators",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("number", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_annotators"),
        sa.UniqueConstraint("server", "number", name="uq_annotators_server_number"),
    )
    op.create_table(
        "policies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("rule", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
    )
    op.create_table(
        "reviews",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=32), nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=False),
        sa.Column("known_until", sa.DateTime(), nullable=False),
        sa.Column("done_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_reviews_image_id_images"),
        sa.PrimaryKeyConstraint("image_id", name="pk_reviews"),
    )
