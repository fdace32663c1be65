"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "classes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_classes"),
        sa.UniqueConstraint("key", name="uq_classes_key"),
        sa.UniqueConstraint("name", name="uq_classes_name"),
    )
    op.create_table(
        "duplicate_groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_duplicate_groups"),
    )
    op.create_table(
        "labelling_projects",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("server", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("config_sha256", sa.String(), nullable=False),
        sa.Column("pulled_until", sa.DateTime(), nullable=True),
        sa.Column("gone_at", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_labelling_projects"),
        sa.UniqueConstraint("server", "number", name="uq_labelling_projects_server_number"),
    )
    op.create_table(
        "snapshots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("target", sa.Integer(), nullable=False),
        sa.Column("validation", sa.Integer(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("phash", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sharpness", sa.Double(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("state_reason", sa.String(32), nullable=True),
        sa.Column("collected_for_id", sa.Integer(), nullable=True),
        sa.Column("group_id", sa.Integer(), nullable=True),
        sa.Column("is_keeper", sa.Boolean(), nullable=False),
        sa.Column("compared_with", sa.String(), nullable=True),
        sa.Column("stored_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("is_keeper OR group_id IS NOT NULL", name="ck_images_keeper_unless_grouped"),
        sa.ForeignKeyConstraint(["collected_for_id"], ["classes.id"], name="fk_images_collected_for_id_classes"),
        sa.ForeignKeyConstraint(["group_id"], ["duplicate_groups.id"], name="fk_images_group_id_duplicate_groups"),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.UniqueConstraint("sha256", name="uq_images_sha256"),
    )
    op.create_index("ix_images_counts", "images", ["collected_for_id", "is_keeper", "state"])
    op.create_index("ix_images_group_id", "images", ["group_id"])
    op.create_index(
        "uq_images_keeper_of_group",
        "images",
        ["group_id"],
        unique=True,
        sqlite_where=sa.text("is_keeper AND group_id IS NOT NULL"),
        postgresql_where=sa.text("is_keeper AND group_id IS NOT NULL"),
    )

    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("arch", sa.String(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("classes", sa.JSON(), nullable=False),
        sa.Column("best_epoch", sa.Integer(), nullable=True),
        sa.Column("validation_accuracy", sa.Double(), nullable=True),
        sa.Column("validation_images", sa.Integer(), nullable=True),
        sa.Column("images_per_second", sa.Double(), nullable=True),
        sa.Column("weights_sha256", sa.String(64), nullable=True),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name="fk_runs_snapshot_id_snapshots"),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("name", name="uq_runs_name"),
    )
    op.create_index("ix_runs_snapshot_id", "runs", ["snapshot_id"])

    op.create_table(
        "candidates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("local", sa.Boolean(), nullable=False),
        sa.Column("collected_for_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(), nullable=True),
        sa.Column("lease_until", sa.DateTime(), nullable=True),
        sa.Column("image_id", sa.Integer(), nullable=True),
        sa.Column("found_at", sa.DateTime(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["collected_for_id"], ["classes.id"], name="fk_candidates_collected_for_id_classes"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_candidates_image_id_images"),
        sa.PrimaryKeyConstraint("id", name="pk_candidates"),
        sa.UniqueConstraint("address", name="uq_candidates_address"),
    )
    op.create_index("ix_candidates_image_id", "candidates", ["image_id"])
    op.create_index("ix_candidates_state_class", "candidates", ["state", "collected_for_id"])

    op.create_table(
        "duplicate_pairs",
        sa.Column("low_id", sa.Integer(), nullable=False),
        sa.Column("high_id", sa.Integer(), nullable=False),
        sa.Column("distance", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("verifier", sa.String(), nullable=False),
        sa.Column("found_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("low_id < high_id", name="ck_duplicate_pairs_ordered"),
        sa.ForeignKeyConstraint(["high_id"], ["images.id"], name="fk_duplicate_pairs_high_id_images"),
        sa.ForeignKeyConstraint(["low_id"], ["images.id"], name="fk_duplicate_pairs_low_id_images"),
        sa.PrimaryKeyConstraint("low_id", "high_id", name="pk_duplicate_pairs"),
    )
    op.create_index("ix_duplicate_pairs_high_id", "duplicate_pairs", ["high_id"])

    op.create_table(
        "labelling_tasks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("data_url", sa.String(), nullable=False),
        sa.Column("prelabelled_by_id", sa.Integer(), nullable=True),
        sa.Column("sent_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_labelling_tasks_image_id_images"),
        sa.ForeignKeyConstraint(["prelabelled_by_id"], ["runs.id"], name="fk_labelling_tasks_prelabelled_by_id_runs"),
        sa.ForeignKeyConstraint(
            ["project_id"], ["labelling_projects.id"], name="fk_labelling_tasks_project_id_labelling_projects"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_labelling_tasks"),
        sa.UniqueConstraint("project_id", "image_id", name="uq_labelling_tasks_project_id_image_id"),
        sa.UniqueConstraint("project_id", "number", name="uq_labelling_tasks_project_id_number"),
    )
    op.create_index("ix_labelling_tasks_image_id", "labelling_tasks", ["image_id"])

    op.create_table(
        "predictions",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("outside", sa.Boolean(), nullable=False),
        sa.Column("probabilities", sa.JSON(), nullable=False),
        sa.Column("predicted_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_predictions_image_id_images"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_predictions_run_id_runs"),
        sa.PrimaryKeyConstraint("run_id", "image_id", name="pk_predictions"),
    )
    op.create_index("ix_predictions_image_id", "predictions", ["image_id"])

    op.create_table(
        "snapshot_items",
        sa.Column("snapshot_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("class_index", sa.Integer(), nullable=False),
        sa.Column("side", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_snapshot_items_image_id_images"),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshots.id"], name="fk_snapshot_items_snapshot_id_snapshots"),
        sa.PrimaryKeyConstraint("snapshot_id", "image_id", name="pk_snapshot_items"),
    )
    op.create_index("ix_snapshot_items_image_side", "snapshot_items", ["image_id", "side"])

    op.create_table(
        "annotations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=True),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("answered_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_annotations_class_id_classes"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_annotations_image_id_images"),
        sa.ForeignKeyConstraint(["task_id"], ["labelling_tasks.id"], name="fk_annotations_task_id_labelling_tasks"),
        sa.PrimaryKeyConstraint("id", name="pk_annotations"),
        sa.UniqueConstraint("key", name="uq_annotations_key"),
    )
    op.create_index("ix_annotations_image_id", "annotations", ["image_id"])
    op.create_index("ix_annotations_task_id", "annotations", ["task_id"])

    op.create_table(
        "sightings",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("query", sa.String(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("page_url", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("creator", sa.String(), nullable=False),
        sa.Column("creator_url", sa.String(), nullable=False),
        sa.Column("licence", sa.String(), nullable=False),
        sa.Column("licence_version", sa.String(), nullable=False),
        sa.Column("licence_url", sa.String(), nullable=False),
        sa.Column("attribution", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("extra", sa.JSON(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["candidate_id"], ["candidates.id"], name="fk_sightings_candidate_id_candidates"),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_sightings_class_id_classes"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_sightings_image_id_images"),
        sa.PrimaryKeyConstraint("id", name="pk_sightings"),
        sa.UniqueConstraint("candidate_id", "source", "query", name="uq_sightings_candidate_id_source_query"),
    )
    op.create_index("ix_sightings_image_id", "sightings", ["image_id"])

    op.create_table(
        "annotation_revisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=True),
        sa.Column("answer", sa.JSON(), nullable=False),
        sa.Column("annotator", sa.String(), nullable=False),
        sa.Column("prelabel", sa.String(32), nullable=False),
        sa.Column("lead_time", sa.Double(), nullable=True),
        sa.Column("answered_at", sa.DateTime(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotation_id"], ["annotations.id"], name="fk_annotation_revisions_annotation_id_annotations"
        ),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_annotation_revisions_class_id_classes"),
        sa.PrimaryKeyConstraint("id", name="pk_annotation_revisions"),
        sa.UniqueConstraint("annotation_id", "number", name="uq_annotation_revisions_annotation_id_number"),
    )
    op.create_table(
        "labels",
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("class_id", sa.Integer(), nullable=True),
        sa.Column("conflict", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.String(32), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("decided_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("conflict = (class_id IS NULL)", name="ck_labels_class_unless_conflict"),
        sa.ForeignKeyConstraint(["annotation_id"], ["annotations.id"], name="fk_labels_annotation_id_annotations"),
        sa.ForeignKeyConstraint(["class_id"], ["classes.id"], name="fk_labels_class_id_classes"),
        sa.ForeignKeyConstraint(["image_id"], ["images.id"], name="fk_labels_image_id_images"),
        sa.PrimaryKeyConstraint("image_id", name="pk_labels"),
    )
    op.create_index("ix_labels_class_id", "labels", ["class_id"])
