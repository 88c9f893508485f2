"""Receiving: events that stand for several of their kind, such as peers turned away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # in plain SQL: SQLite takes a constraint only together with its column, which Alembic would write apart
    op.execute("ALTER TABLE events ADD COLUMN times INTEGER CONSTRAINT ck_events_times CHECK (times >= 1)")
    condition = sa.text("what = 'turned away'")
    op.create_index(
        "ix_events_turned_away", "events", ["id"], sqlite_where=condition, postgresql_where=condition
    )
