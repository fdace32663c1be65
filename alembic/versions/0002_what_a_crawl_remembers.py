"""What a crawl remembers: how far searches have come, how hosts want to be asked, and licences under one name."""

from urllib.parse import urlsplit

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "hosts",
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("resume_at", sa.DateTime(), nullable=True),
        sa.Column("interval", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("address", name="pk_hosts"),
    )
    op.create_table(
        "searches",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("query", sa.String(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.Column("target", sa.String(), nullable=False),
        sa.Column("start", sa.String(), nullable=False),
        sa.Column("cursor", sa.String(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("etag", sa.String(), nullable=False),
        sa.Column("last_modified", sa.String(), nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("shown", sa.Integer(), nullable=False),
        sa.Column("fresh", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_searches"),
        sa.UniqueConstraint("source", "query", "part", name="uq_searches_source_query_part"),
    )
    op.create_index("ix_searches_target_state", "searches", ["target", "state"])
    for name in ("host", "target", "etag", "last_modified"):
        op.add_column("candidates", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.create_index("ix_candidates_target_state", "candidates", ["target", "state"])
    op.execute(
        "UPDATE candidates SET target = 'class:' || collected_for_id"
        " WHERE collected_for_id IS NOT NULL AND local = false"
    )
    _fill_hosts()
    op.add_column("sightings", sa.Column("licence_said", sa.String(), nullable=False, server_default=""))
    _name_licences()
    with op.batch_alter_table("sightings") as sightings:
        sightings.drop_constraint("uq_sightings_candidate_id_source_query", type_="unique")
        sightings.create_unique_constraint(
            "uq_sightings_candidate_id_source_query_image_id", ["candidate_id", "source", "query", "image_id"]
        )
        sightings.drop_column("licence_version")


def _fill_hosts() -> None:
    connection = op.get_bind()
    rows = connection.execute(sa.text("SELECT id, address FROM candidates WHERE local = false")).all()
    for number, address in rows:
        connection.execute(
            sa.text("UPDATE candidates SET host = :host WHERE id = :id"), {"host": _host(address), "id": number}
        )


def _host(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} else ""


def _name_licences() -> None:
    """Openverse was the only source that said a licence: in its own codes, with the version beside."""
    connection = op.get_bind()
    rows = connection.execute(
        sa.text("SELECT DISTINCT licence, licence_version FROM sightings WHERE licence <> ''")
    ).all()
    for licence, version in rows:
        named = {"cc0": "CC0-1.0", "pdm": "CC-PDM-1.0"}.get(licence, f"CC-{licence.upper()}-{version}".rstrip("-"))
        connection.execute(
            sa.text(
                "UPDATE sightings SET licence_said = :said, licence = :named"
                " WHERE licence = :licence AND licence_version = :version"
            ),
            {"said": f"{licence} {version}".strip(), "named": named, "licence": licence, "version": version},
        )
