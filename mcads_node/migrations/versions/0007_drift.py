"""Drift: which device made an image, and with which time scores are compared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.execute("ALTER TABLE analyses ADD COLUMN device TEXT DEFAULT '' NOT NULL")
    op.create_index("ix_analyses_analysed_at", "analyses", ["analysed_at"])
    op.create_table(
        "drift_references",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("weights_digest", sa.String(64), nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("until", MOMENT, nullable=False),
        sa.Column("set_at", MOMENT, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.CheckConstraint("since < until", name=op.f("ck_drift_references_span")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_references")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_drift_references_weights_digest", "drift_references", ["weights_digest"])
