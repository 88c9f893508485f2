"""Rules: every version that was used, and which one each image and result was treated by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "rules_versions",
        sa.Column("id", number, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("why", sa.String(16), nullable=False),
        sa.CheckConstraint("length(digest) = 64", name=op.f("ck_rules_versions_digest")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rules_versions")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_rules_versions_digest", "rules_versions", ["digest"])
    for table in ("instances", "results"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN rules_digest VARCHAR(64)")
