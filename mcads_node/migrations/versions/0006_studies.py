"""Studies: when they are complete, and whose they are."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

#: constraints of instances as they were and as they are: by name, conditions
CHANGED = {
    "state": (
        "state IN ('RECEIVED', 'ANALYSED', 'DECLINED', 'QUARANTINED')",
        "state IN ('RECEIVED', 'ANALYSED', 'DECLINED', 'QUARANTINED', 'HELD')",
    ),
    "reason": (
        "(state IN ('DECLINED', 'QUARANTINED')) = (reason IS NOT NULL)",
        "(state IN ('DECLINED', 'QUARANTINED', 'HELD')) = (reason IS NOT NULL)",
    ),
    "conflict": (
        "conflicts_with IS NULL OR state = 'DECLINED'",
        "conflicts_with IS NULL OR state IN ('ANALYSED', 'DECLINED', 'HELD')",
    ),
}
ADDED = {
    "patient": "state NOT IN ('RECEIVED', 'ANALYSED', 'QUARANTINED') OR patient_number IS NOT NULL",
    "held": "state <> 'HELD' OR patient_number IS NULL",
}


def upgrade() -> None:
    _completion()
    op.execute("ALTER TABLE studies ADD COLUMN patient_number INTEGER DEFAULT '1' NOT NULL")
    for column in ("patient VARCHAR(64)", "issuer VARCHAR(64)", "patient_number INTEGER"):
        op.execute(f"ALTER TABLE instances ADD COLUMN {column}")
    # what is on record is of the patient that its study is of
    op.execute("UPDATE instances SET patient_number = 1 WHERE study_id IS NOT NULL")
    if op.get_bind().dialect.name == "sqlite":
        _rebuild_instances()
    else:
        _alter_instances()
    held: dict[str, Any] = {
        "sqlite_where": sa.text("state = 'HELD'"),
        "postgresql_where": sa.text("state = 'HELD'"),
    }
    op.create_index("ix_instances_held", "instances", ["state", "study_id"], **held)


def _completion() -> None:
    moment = "DATETIME" if op.get_bind().dialect.name == "sqlite" else "TIMESTAMP WITH TIME ZONE"
    # in plain SQL: SQLite takes a constraint only together with its column, which Alembic would write apart
    op.execute(
        f"ALTER TABLE workitems ADD COLUMN latest_at {moment} CONSTRAINT ck_workitems_latest"
        " CHECK (latest_at IS NULL OR kind = 'report')"
    )
    op.execute("ALTER TABLE analyses ADD COLUMN expected_views JSON DEFAULT '{}' NOT NULL")
    op.execute(
        "ALTER TABLE analyses ADD COLUMN max_wait_seconds FLOAT CONSTRAINT ck_analyses_wait"
        " CHECK (max_wait_seconds > 0)"
    )


def _rebuild_instances() -> None:
    """SQLite cannot change a constraint: the table is made anew, by its own definition but for these.

    Rows of other tables refer to it. While it is away they lack their parents, which is looked at when all is
    done; the index is for that look, which asks for the children of each row.
    """
    ours = "SELECT sql FROM sqlite_master WHERE tbl_name = 'instances' AND sql IS NOT NULL ORDER BY rowid"
    definition, *indexes = op.get_bind().execute(sa.text(ours)).scalars()
    for old, new in CHANGED.values():
        if f"CHECK ({old})" not in definition:
            raise RuntimeError(f"the table of instances has no constraint {old!r}")
        definition = definition.replace(f"CHECK ({old})", f"CHECK ({new})")
    head, _, tail = definition.rpartition(")")
    for name, condition in ADDED.items():
        head += f", CONSTRAINT ck_instances_{name} CHECK ({condition})"
    op.execute("PRAGMA defer_foreign_keys = ON")
    op.execute("CREATE INDEX children ON instances (conflicts_with)")
    op.execute("CREATE TEMPORARY TABLE instances_before AS SELECT * FROM instances")
    op.execute("DROP TABLE instances")
    op.execute(f"{head}){tail}")
    op.execute("CREATE INDEX children ON instances (conflicts_with)")
    op.execute("INSERT INTO instances SELECT * FROM instances_before")
    op.execute("DROP TABLE instances_before")
    op.execute("DROP INDEX children")
    for index in indexes:
        op.execute(index)


def _alter_instances() -> None:
    for name, (_, condition) in CHANGED.items():
        op.drop_constraint(op.f(f"ck_instances_{name}"), "instances")
        op.create_check_constraint(op.f(f"ck_instances_{name}"), "instances", condition)
    for name, condition in ADDED.items():
        op.create_check_constraint(op.f(f"ck_instances_{name}"), "instances", condition)
