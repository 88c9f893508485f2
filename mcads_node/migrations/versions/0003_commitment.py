"""Deliveries: storage commitment, dead letters."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)

STATE = "state IN ('PENDING', 'STORED', 'COMMITTED', 'REFUSED')"
STORED = "state NOT IN ('STORED', 'COMMITTED') OR stored_at IS NOT NULL"
COMMITMENT = "commitment_due_at IS NULL OR state = 'STORED'"
#: columns that there were before
KEPT = "id, result_id, destination, state, attempts, due_at, since, ended_at, status, reason, stands_in_for"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_deliveries()
    else:
        _alter_deliveries()
    for name, columns, condition in (
        ("ix_deliveries_due", ["destination", "due_at", "id"], "state = 'PENDING'"),
        (
            "ix_deliveries_commitment",
            ["destination", "commitment_due_at", "id"],
            "commitment_due_at IS NOT NULL",
        ),
        ("ix_deliveries_refused", ["id"], "state = 'REFUSED'"),
    ):
        op.create_index(name, "deliveries", columns, if_not_exists=True, **_where(condition))
    op.create_index("ix_deliveries_stands_in_for", "deliveries", ["stands_in_for"])
    _commitments()
    _holders()


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _rebuild_deliveries() -> None:
    """SQLite cannot change a constraint of a table: a new table takes the place of the old one.

    The foreign key to itself names the new table; renaming takes it along: no row ever lacks its parent.
    """
    op.create_table(
        "deliveries_new",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("result_id", NUMBER, nullable=False),
        sa.Column("destination", sa.String(255), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("since", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("status", sa.Integer()),
        sa.Column("reason", sa.Text()),
        sa.Column("stands_in_for", NUMBER),
        sa.Column("stored_at", MOMENT),
        sa.Column("commitment_due_at", MOMENT),
        sa.CheckConstraint("(state = 'PENDING') = (ended_at IS NULL)", name=op.f("ck_deliveries_ended")),
        sa.CheckConstraint("state <> 'REFUSED' OR reason IS NOT NULL", name=op.f("ck_deliveries_reason")),
        sa.CheckConstraint(STATE, name=op.f("ck_deliveries_state")),
        sa.CheckConstraint(STORED, name=op.f("ck_deliveries_stored")),
        sa.CheckConstraint(COMMITMENT, name=op.f("ck_deliveries_commitment")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_deliveries_attempts")),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_deliveries_result_id")),
        sa.ForeignKeyConstraint(
            ["stands_in_for"], ["deliveries_new.id"], name=op.f("fk_deliveries_stands_in_for")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("result_id", "destination", name=op.f("uq_deliveries_result_id_destination")),
        sqlite_autoincrement=True,
    )
    op.execute(
        f"INSERT INTO deliveries_new ({KEPT}, stored_at)"  # noqa: S608 - constants of this file
        f" SELECT {KEPT}, CASE state WHEN 'STORED' THEN ended_at END FROM deliveries"
    )
    op.drop_table("deliveries")
    op.rename_table("deliveries_new", "deliveries")


def _alter_deliveries() -> None:
    op.add_column("deliveries", sa.Column("stored_at", MOMENT))
    op.add_column("deliveries", sa.Column("commitment_due_at", MOMENT))
    op.execute("UPDATE deliveries SET stored_at = ended_at WHERE state = 'STORED'")
    op.drop_constraint(op.f("ck_deliveries_state"), "deliveries")
    for name, condition in (("state", STATE), ("stored", STORED), ("commitment", COMMITMENT)):
        op.create_check_constraint(op.f(f"ck_deliveries_{name}"), "deliveries", condition)


def _commitments() -> None:
    op.create_table(
        "commitments",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("destination", sa.String(255), nullable=False),
        sa.Column("transaction_uid", sa.String(64), nullable=False),
        sa.Column("asked_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_commitments")),
        sa.UniqueConstraint("transaction_uid", name=op.f("uq_commitments_transaction_uid")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "commitment_items",
        sa.Column("commitment_id", NUMBER, nullable=False),
        sa.Column("delivery_id", NUMBER, nullable=False),
        sa.Column("answered_at", MOMENT),
        sa.ForeignKeyConstraint(
            ["commitment_id"], ["commitments.id"], name=op.f("fk_commitment_items_commitment_id")
        ),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["deliveries.id"], name=op.f("fk_commitment_items_delivery_id")
        ),
        sa.PrimaryKeyConstraint("commitment_id", "delivery_id", name=op.f("pk_commitment_items")),
    )
    op.create_index("ix_commitment_items_delivery_id", "commitment_items", ["delivery_id"])


def _holders() -> None:
    op.create_table(
        "destination_holders",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("holder", sa.String(255), nullable=False),
        sa.Column("held_until", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_destination_holders")),
    )
