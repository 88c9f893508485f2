"""Tending: what was deleted, alerts, backups."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    # the last: whoever makes one of these tables anew would drop its indexes
    _alerting()
    _files()


def _alerting() -> None:
    op.create_table(
        "alerts",
        sa.Column("channel", sa.String(16), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("raised_at", MOMENT, nullable=False),
        sa.Column("told_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.CheckConstraint("ended_at IS NULL OR told_at IS NOT NULL", name=op.f("ck_alerts_ended")),
        sa.PrimaryKeyConstraint("channel", "key", name=op.f("pk_alerts")),
    )
    for name, table, columns, condition in (
        ("ix_studies_trouble", "studies", ["id"], "trouble IS NOT NULL"),
        ("ix_instances_quarantined", "instances", ["state", "study_id"], "state = 'QUARANTINED'"),
        (
            "ix_workitems_open",
            "workitems",
            ["kind", "state", "due_at"],
            "state IN ('SCHEDULED', 'IN PROGRESS')",
        ),
    ):
        op.create_index(name, table, columns, **_where(condition))


def _files() -> None:
    """Say of each file whether it was let go."""
    moment = "DATETIME" if op.get_bind().dialect.name == "sqlite" else "TIMESTAMP WITH TIME ZONE"
    # in plain SQL: SQLite takes a constraint only together with its column, which Alembic would write apart
    op.execute(
        f"ALTER TABLE instances ADD COLUMN file_deleted_at {moment} CONSTRAINT ck_instances_file"
        " CHECK (file_deleted_at IS NULL OR state IN ('ANALYSED', 'DECLINED'))"
    )
    op.execute(f"ALTER TABLE results ADD COLUMN file_deleted_at {moment}")
    for table in ("instances", "results"):
        op.create_index(f"ix_{table}_file", table, ["study_id"], **_where("file_deleted_at IS NULL"))


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
