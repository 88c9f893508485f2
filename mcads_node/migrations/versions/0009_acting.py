"""Acting: turns of work, work that waits for its hours, repeated and shadow analyses, forwarded originals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

OPEN = "state IN ('SCHEDULED', 'IN PROGRESS')"
#: columns that are new, by table: SQLite's type, PostgreSQL's, and the rest of the definition
COLUMNS: dict[str, list[tuple[str, str, str, str]]] = {
    "workitems": [
        ("purpose", "VARCHAR(8)", "VARCHAR(8)", ""),
        ("rule", "TEXT", "TEXT", ""),
        ("model", "VARCHAR(64)", "VARCHAR(64)", ""),
        ("turn_at", "DATETIME", "TIMESTAMP WITH TIME ZONE", "NOT NULL"),
        ("schedule", "TEXT", "TEXT", ""),
        ("held_until", "DATETIME", "TIMESTAMP WITH TIME ZONE", ""),
    ],
    "analyses": [
        ("shadow", "BOOLEAN DEFAULT 0", "BOOLEAN DEFAULT false", "NOT NULL"),
        ("threshold_set", "TEXT", "TEXT", ""),
        ("kinds", "JSON", "JSON", ""),
    ],
    "results": [("device_uid", "VARCHAR(64)", "VARCHAR(64)", "")],
    "deliveries": [
        ("study_id", "INTEGER", "BIGINT", "NOT NULL"),
        ("instance_id", "INTEGER", "BIGINT", ""),
    ],
}
CONSTRAINTS: dict[str, list[tuple[str, str]]] = {
    "workitems": [
        ("ck_workitems_purposeful", "CHECK ((kind = 'analyse') = (purpose IS NOT NULL))"),
        ("ck_workitems_purpose", "CHECK (purpose IN ('first', 'again', 'shadow'))"),
        ("ck_workitems_rule", "CHECK (rule IS NULL OR purpose = 'shadow')"),
        ("ck_workitems_model", "CHECK (model IS NULL OR purpose IN ('again', 'shadow'))"),
        (
            "ck_workitems_held",
            "CHECK (held_until IS NULL OR (schedule IS NOT NULL AND state = 'SCHEDULED'))",
        ),
    ],
    "deliveries": [
        ("fk_deliveries_study_id", "FOREIGN KEY(study_id) REFERENCES studies (id)"),
        ("fk_deliveries_instance_id", "FOREIGN KEY(instance_id) REFERENCES instances (id)"),
        ("uq_deliveries_instance_id_destination", "UNIQUE (instance_id, destination)"),
        ("ck_deliveries_object", "CHECK ((result_id IS NULL) = (instance_id IS NOT NULL))"),
    ],
}
#: what new columns of old rows have. Such work is routine, which has a head start of eight hours
VALUES = {
    "workitems": {"purpose": "CASE kind WHEN 'analyse' THEN 'first' END"},
    "deliveries": {"study_id": "(SELECT r.study_id FROM results r WHERE r.id = result_id)"},
}
TURN = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%f', due_at, '-8 hours') || '000'",
    "postgresql": "due_at - interval '8 hours'",
}
#: dropped last to first, so that no row ever lacks its parent
REBUILT = ("analyses", "workitems", "results", "deliveries", "commitment_items")
REPLACED = ("ix_workitems_claim", "ix_workitems_open")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _rebuild()
    else:
        _alter()
    _indexes()


def _alter() -> None:
    for name in REPLACED:
        op.drop_index(name)
    for table in COLUMNS:
        _add_columns(table)
        for name, constraint in CONSTRAINTS.get(table, []):
            op.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {constraint}")
    for table in ("workitems", "analyses"):
        op.execute(f"ALTER TABLE {table} DROP CONSTRAINT uq_{table}_instance_id")
    op.execute("ALTER TABLE deliveries ALTER COLUMN result_id DROP NOT NULL")


def _add_columns(table: str) -> None:
    for name, _, kind, _rest in COLUMNS[table]:
        op.execute(f"ALTER TABLE {table} ADD COLUMN {name} {kind}")
    values = _values(table, "postgresql")
    if values:
        assigned = ", ".join(f"{name} = {value}" for name, value in values.items())
        op.execute(f"UPDATE {table} SET {assigned}")  # noqa: S608 - constants of this file
    for name, _, _, rest in COLUMNS[table]:
        if rest:
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {name} SET {rest}")


def _rebuild() -> None:
    """SQLite cannot drop a constraint: new tables take the place of the old ones, and of what refers to them.

    They are made of the definitions that are there, under other names; renaming takes the references along.
    """
    kept = [
        row.sql
        for table in REBUILT
        for row in _master("index", table)
        if row.sql is not None and row.name not in REPLACED
    ]
    for table in REBUILT:
        _copy(table)
    for table in reversed(REBUILT):
        op.drop_table(table)
    for table in REBUILT:
        op.rename_table(f"{table}_new", table)
    for sql in kept:
        op.execute(sa.text(sql.replace(":", r"\:")))


def _copy(table: str) -> None:
    (row,) = _master("table", table)
    op.execute(sa.text(_definition(table, row.sql).replace(":", r"\:")))
    old = [each.name for each in op.get_bind().execute(sa.text(f"PRAGMA table_info({table})"))]
    values = {name: name for name in old} | dict(_values(table, "sqlite"))
    op.execute(
        f"INSERT INTO {table}_new ({', '.join(values)})"  # noqa: S608 - names of our own tables
        f" SELECT {', '.join(values.values())} FROM {table}"
    )


def _definition(table: str, sql: str) -> str:
    body = sql.replace('"', "")
    for each in REBUILT:
        body = re.sub(rf"\b(TABLE|REFERENCES) {each}\b", rf"\1 {each}_new", body)
    body = re.sub(rf",\s*CONSTRAINT uq_{table}_instance_id UNIQUE \(instance_id\)", "", body)
    if table == "deliveries":
        body = re.sub(r"(result_id \w+) NOT NULL", r"\1", body)
    columns = [f"{name} {kind} {rest}" for name, kind, _, rest in COLUMNS.get(table, [])]
    head, opened, tail = body.partition("(")
    added = "".join(f"{column}, " for column in columns)
    body, closed, options = f"{head}{opened}{added}{tail}".rpartition(")")
    told = "".join(f", CONSTRAINT {name} {rest}" for name, rest in CONSTRAINTS.get(table, []))
    return f"{body}{told}{closed}{options}"


def _master(kind: str, table: str) -> list[Any]:
    found = op.get_bind().execute(
        sa.text("SELECT name, sql FROM sqlite_master WHERE type = :kind AND tbl_name = :table"),
        {"kind": kind, "table": table},
    )
    return list(found)


def _values(table: str, dialect: str) -> Mapping[str, str]:
    turn = {"turn_at": TURN[dialect]} if table == "workitems" else {}
    return {**VALUES.get(table, {}), **turn}


def _indexes() -> None:
    for name, table, columns, condition in (
        ("ix_workitems_claim", "workitems", ["turn_at", "id"], "state = 'SCHEDULED' AND held_until IS NULL"),
        (
            "ix_workitems_schedule",
            "workitems",
            ["schedule", "held_until"],
            "state = 'SCHEDULED' AND schedule IS NOT NULL",
        ),
        ("ix_workitems_open", "workitems", ["kind", "state", "due_at", "priority", "held_until"], OPEN),
        ("ix_workitems_instance_id", "workitems", ["instance_id"], None),
        ("ix_analyses_instance_id", "analyses", ["instance_id"], None),
        ("ix_deliveries_study_id", "deliveries", ["study_id"], None),
    ):
        op.create_index(name, table, columns, **_where(condition))
    shadow: list[Any] = ["instance_id", sa.text("coalesce(rule, '')"), sa.text("coalesce(model, '')")]
    for name, unique, condition in (
        ("uq_workitems_first", ["instance_id"], "purpose = 'first'"),
        ("uq_workitems_again", ["instance_id"], f"purpose = 'again' AND {OPEN}"),
        ("uq_workitems_shadow", shadow, f"purpose = 'shadow' AND {OPEN}"),
    ):
        op.create_index(name, "workitems", unique, unique=True, **_where(condition))


def _where(condition: str | None) -> dict[str, Any]:
    if condition is None:
        return {}
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
