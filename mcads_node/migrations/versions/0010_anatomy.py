"""Anatomy: what a segmentation model found in an image, for its study's report."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("analyses", sa.Column("anatomy", sa.JSON()))
