"""The first tables: studies, instances, workitems, analyses, results, deliveries, destinations, events."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)

SQLITE_APPEND_ONLY = """
CREATE TRIGGER events_no_{verb} BEFORE {verb} ON events
BEGIN SELECT RAISE(ABORT, 'events are append-only'); END
"""
POSTGRESQL_APPEND_ONLY = (
    """
CREATE FUNCTION events_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'restrict_violation'; END $$
""",
    """
CREATE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
FOR EACH STATEMENT EXECUTE FUNCTION events_append_only()
""",
)


def upgrade() -> None:
    _destinations()
    _events()
    _studies()
    _instances()
    _analyses()
    _workitems()
    _results()
    _deliveries()
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(SQLITE_APPEND_ONLY.format(verb=verb))
    else:
        for statement in POSTGRESQL_APPEND_ONLY:
            op.execute(statement)


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def _destinations() -> None:
    op.create_table(
        "destinations",
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", MOMENT, nullable=False),
        sa.Column("deferred_until", MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("failures >= 1", name=op.f("ck_destinations_failures")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_destinations")),
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("what", sa.String(32), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("study_id", NUMBER),
        sa.Column("why", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_study_id", "events", ["study_id"])


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("study_instance_uid", sa.String(64), nullable=False),
        sa.Column("first_received_at", MOMENT, nullable=False),
        sa.Column("last_received_at", MOMENT, nullable=False),
        sa.Column("trouble", sa.Text()),
        sa.CheckConstraint("length(study_instance_uid) > 0", name=op.f("ck_studies_uid")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("study_instance_uid", name=op.f("uq_studies_study_instance_uid")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_studies_last_received_at", "studies", ["last_received_at"])


def _instances() -> None:
    op.create_table(
        "instances",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("study_id", NUMBER),
        sa.Column("sop_class_uid", sa.String(64)),
        sa.Column("sop_instance_uid", sa.String(64)),
        sa.Column("transfer_syntax_uid", sa.String(64)),
        sa.Column("requestor_ae_title", sa.String(64), nullable=False),
        sa.Column("requestor_address", sa.String(64), nullable=False),
        sa.Column("called_ae_title", sa.String(64), nullable=False),
        sa.Column("received_at", MOMENT, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("conflicts_with", NUMBER),
        sa.CheckConstraint(
            "(state IN ('DECLINED', 'QUARANTINED')) = (reason IS NOT NULL)", name=op.f("ck_instances_reason")
        ),
        sa.CheckConstraint(
            "conflicts_with IS NULL OR state = 'DECLINED'", name=op.f("ck_instances_conflict")
        ),
        sa.CheckConstraint(
            "state IN ('RECEIVED', 'ANALYSED', 'DECLINED', 'QUARANTINED')", name=op.f("ck_instances_state")
        ),
        sa.CheckConstraint(
            "study_id IS NOT NULL OR state = 'DECLINED'", name=op.f("ck_instances_unreadable")
        ),
        sa.CheckConstraint("size >= 0 AND length(digest) = 64", name=op.f("ck_instances_content")),
        sa.CheckConstraint(
            "study_id IS NULL OR (sop_instance_uid IS NOT NULL AND sop_class_uid IS NOT NULL"
            " AND transfer_syntax_uid IS NOT NULL)",
            name=op.f("ck_instances_identity"),
        ),
        sa.ForeignKeyConstraint(
            ["conflicts_with"], ["instances.id"], name=op.f("fk_instances_conflicts_with")
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_instances_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
        sa.UniqueConstraint("path", name=op.f("uq_instances_path")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_instances_study_id_state", "instances", ["study_id", "state"])
    op.create_index("ix_instances_unreadable", "instances", ["digest"], **_where("study_id IS NULL"))
    op.create_index(
        "uq_instances_content",
        "instances",
        ["sop_instance_uid", "digest"],
        unique=True,
        **_where("study_id IS NOT NULL"),
    )
    op.create_index(
        "uq_instances_sop_instance_uid",
        "instances",
        ["sop_instance_uid"],
        unique=True,
        **_where("conflicts_with IS NULL AND study_id IS NOT NULL"),
    )


def _analyses() -> None:
    op.create_table(
        "analyses",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("study_id", NUMBER, nullable=False),
        sa.Column("instance_id", NUMBER, nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("checks", sa.JSON(), nullable=False),
        sa.Column("view", sa.String(16), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("thumbnail", sa.Text()),
        sa.Column("send_to", sa.JSON(), nullable=False),
        sa.Column("quiet_seconds", sa.Float(), nullable=False),
        sa.Column("analysed_at", MOMENT, nullable=False),
        sa.CheckConstraint("quiet_seconds >= 0", name=op.f("ck_analyses_quiet")),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_analyses_instance_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_analyses_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analyses")),
        sa.UniqueConstraint("instance_id", name=op.f("uq_analyses_instance_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_analyses_study_id", "analyses", ["study_id"])


def _workitems() -> None:
    op.create_table(
        "workitems",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("study_id", NUMBER, nullable=False),
        sa.Column("instance_id", NUMBER),
        sa.Column("revision", sa.Integer()),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("due_at", MOMENT, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(255)),
        sa.Column("transaction_uid", sa.String(64)),
        sa.Column("lease_expires_at", MOMENT),
        sa.Column("covers", NUMBER),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("reason", sa.Text()),
        sa.CheckConstraint(
            "(kind = 'analyse') = (instance_id IS NOT NULL)", name=op.f("ck_workitems_analyse")
        ),
        sa.CheckConstraint("(kind = 'report') = (revision IS NOT NULL)", name=op.f("ck_workitems_report")),
        sa.CheckConstraint(
            "(state = 'IN PROGRESS') = (lease_expires_at IS NOT NULL)", name=op.f("ck_workitems_lease")
        ),
        sa.CheckConstraint(
            "(state = 'IN PROGRESS') = (transaction_uid IS NOT NULL)", name=op.f("ck_workitems_transaction")
        ),
        sa.CheckConstraint(
            "(state = 'IN PROGRESS') = (worker IS NOT NULL)", name=op.f("ck_workitems_worker")
        ),
        sa.CheckConstraint(
            "(state IN ('COMPLETED', 'CANCELED')) = (ended_at IS NOT NULL)", name=op.f("ck_workitems_ended")
        ),
        sa.CheckConstraint("kind IN ('analyse', 'report')", name=op.f("ck_workitems_kind")),
        sa.CheckConstraint("state <> 'CANCELED' OR reason IS NOT NULL", name=op.f("ck_workitems_reason")),
        sa.CheckConstraint(
            "state IN ('SCHEDULED', 'IN PROGRESS', 'COMPLETED', 'CANCELED')", name=op.f("ck_workitems_state")
        ),
        sa.CheckConstraint("deaths >= 0 AND attempts >= deaths", name=op.f("ck_workitems_attempts")),
        sa.CheckConstraint("revision IS NULL OR revision >= 1", name=op.f("ck_workitems_revision")),
        sa.ForeignKeyConstraint(["covers"], ["analyses.id"], name=op.f("fk_workitems_covers")),
        sa.ForeignKeyConstraint(["instance_id"], ["instances.id"], name=op.f("fk_workitems_instance_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_workitems_study_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workitems")),
        sa.UniqueConstraint("instance_id", name=op.f("uq_workitems_instance_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_workitems_claim",
        "workitems",
        [sa.text("priority DESC"), sa.text("due_at"), sa.text("id")],
        **_where("state = 'SCHEDULED'"),
    )
    op.create_index(
        "ix_workitems_lease", "workitems", ["lease_expires_at"], **_where("state = 'IN PROGRESS'")
    )
    op.create_index("ix_workitems_study_id_kind_state", "workitems", ["study_id", "kind", "state"])
    op.create_index(
        "uq_workitems_report_in_progress",
        "workitems",
        ["study_id"],
        unique=True,
        **_where("kind = 'report' AND state = 'IN PROGRESS'"),
    )
    op.create_index(
        "uq_workitems_report_revision",
        "workitems",
        ["study_id", "revision"],
        unique=True,
        **_where("kind = 'report' AND state <> 'CANCELED'"),
    )
    op.create_index(
        "uq_workitems_report_scheduled",
        "workitems",
        ["study_id"],
        unique=True,
        **_where("kind = 'report' AND state = 'SCHEDULED'"),
    )


def _results() -> None:
    op.create_table(
        "results",
        sa.Column("id", NUMBER, nullable=False),
        sa.Column("study_id", NUMBER, nullable=False),
        sa.Column("workitem_id", NUMBER, nullable=False),
        sa.Column("analysis_id", NUMBER),
        sa.Column("revision", sa.Integer()),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("sop_class_uid", sa.String(64), nullable=False),
        sa.Column("sop_instance_uid", sa.String(64), nullable=False),
        sa.Column("series_instance_uid", sa.String(64), nullable=False),
        sa.Column("transfer_syntax_uid", sa.String(64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.CheckConstraint("(analysis_id IS NULL) = (revision IS NOT NULL)", name=op.f("ck_results_origin")),
        sa.CheckConstraint("size > 0 AND length(digest) = 64", name=op.f("ck_results_content")),
        sa.ForeignKeyConstraint(["analysis_id"], ["analyses.id"], name=op.f("fk_results_analysis_id")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_results_study_id")),
        sa.ForeignKeyConstraint(["workitem_id"], ["workitems.id"], name=op.f("fk_results_workitem_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_results")),
        sa.UniqueConstraint("path", name=op.f("uq_results_path")),
        sa.UniqueConstraint("sop_instance_uid", name=op.f("uq_results_sop_instance_uid")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_results_study_id_kind", "results", ["study_id", "kind"])


def _deliveries() -> None:
    op.create_table(
        "deliveries",
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
        sa.CheckConstraint("(state = 'PENDING') = (ended_at IS NULL)", name=op.f("ck_deliveries_ended")),
        sa.CheckConstraint("state <> 'REFUSED' OR reason IS NOT NULL", name=op.f("ck_deliveries_reason")),
        sa.CheckConstraint("state IN ('PENDING', 'STORED', 'REFUSED')", name=op.f("ck_deliveries_state")),
        sa.CheckConstraint("attempts >= 0", name=op.f("ck_deliveries_attempts")),
        sa.ForeignKeyConstraint(["result_id"], ["results.id"], name=op.f("fk_deliveries_result_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("result_id", "destination", name=op.f("uq_deliveries_result_id_destination")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_deliveries_due", "deliveries", ["destination", "due_at", "id"], **_where("state = 'PENDING'")
    )
