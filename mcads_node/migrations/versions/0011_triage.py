"""Triage: how urgent an image is by the site's rules."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("analyses", sa.Column("triage", sa.JSON(), nullable=True))
