"""Renditions of results, retraction, and deliveries that stand in for refused ones."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    number = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    # in plain SQL: SQLite takes a foreign key only together with its column, which Alembic would write apart
    op.execute("ALTER TABLE results ADD COLUMN variant TEXT DEFAULT '' NOT NULL")
    for table, column, target in (
        ("results", "retracted_by", "results"),
        ("deliveries", "stands_in_for", "deliveries"),
    ):
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN {column} {number}"
            f" CONSTRAINT fk_{table}_{column} REFERENCES {target} (id)"
        )
