"""Renditions of results, retraction, deliveries that stand in for refused ones, and who the node is."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    number = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    # in plain SQL: SQLite takes a foreign key only together with its column, which Alembic would write apart
    op.execute("ALTER TABLE results ADD COLUMN variant TEXT DEFAULT '' NOT NULL")
    op.execute("ALTER TABLE analyses ADD COLUMN shown TEXT")
    for table, column, target in (
        ("results", "retracted_by", "results"),
        ("deliveries", "stands_in_for", "deliveries"),
    ):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {column} {number}"
            f" CONSTRAINT fk_{table}_{column} REFERENCES {target} (id)"
        )
    installation = op.create_table(
        "installation",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_installation"),
        sa.CheckConstraint("id = 1", name="ck_installation_only"),
        sa.CheckConstraint("length(uuid) = 36", name="ck_installation_uuid"),
    )
    op.bulk_insert(installation, [{"id": 1, "uuid": str(uuid.uuid4())}])
