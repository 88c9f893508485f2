"""The tables. What must never be is forbidden here, by constraint and index, whatever the code does.

The migrations make these tables; this module only describes them, and a test holds the two together.

::

    studies ─┬─ instances ─┬── analyses ─┐
             ├─ workitems  │             ├─ results ─┬─ deliveries      destinations      events
             └─────────────│─────────────┘           │    └── commitment_items ── commitments
                           └─────── forwarded ───────┘
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: timezone-aware in Python, UTC in the database, of fixed width (sortable) in SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive moment: it would mean another one on another machine."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"expected a timezone-aware moment, got {value.isoformat()}")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite gives it back naive, PostgreSQL in the session's zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


#: SQLite numbers rows by itself only in a column of exactly the type INTEGER
_Number = BigInteger().with_variant(Integer(), "sqlite")
_Uid = String(64)


def _key() -> Column[int]:
    return Column("id", _Number, primary_key=True)


def _to(table: str, *, optional: bool = False) -> Column[int]:
    return Column(f"{table}_id", _Number, ForeignKey(_PLURAL[table]), nullable=optional)


_PLURAL = {
    "study": "studies.id",
    "instance": "instances.id",
    "workitem": "workitems.id",
    "analysis": "analyses.id",
    "result": "results.id",
}

studies = Table(
    "studies",
    metadata,
    _key(),
    Column("study_instance_uid", _Uid, nullable=False, unique=True),
    Column("first_received_at", UtcDateTime, nullable=False),
    Column("last_received_at", UtcDateTime, nullable=False),
    # why no report could be made of it
    Column("trouble", Text),
    # which of the patients that it has been of it is of now: 1, or more where a person had it moved
    Column("patient_number", Integer, nullable=False, server_default="1"),
    CheckConstraint("length(study_instance_uid) > 0", name="uid"),
    Index("ix_studies_last_received_at", "last_received_at"),
    Index(
        "ix_studies_trouble",
        "id",
        sqlite_where=text("trouble IS NOT NULL"),
        postgresql_where=text("trouble IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

instances = Table(
    "instances",
    metadata,
    _key(),
    # null: its data set could not be parsed, so its study is not known
    _to("study", optional=True),
    Column("sop_class_uid", _Uid),
    Column("sop_instance_uid", _Uid),
    Column("transfer_syntax_uid", _Uid),
    Column("requestor_ae_title", String(64), nullable=False),
    Column("requestor_address", String(64), nullable=False),
    Column("called_ae_title", String(64), nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Column("path", Text, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    # the instance that came first under the same SOP Instance UID, with other content
    Column("conflicts_with", _Number, ForeignKey("instances.id")),
    # when its file was let go; null: the file is there
    Column("file_deleted_at", UtcDateTime),
    # of the rules that it was treated by; null: it was not, or before the digest was kept
    Column("rules_digest", String(64)),
    # digests of Patient ID and its issuer; null: the image does not say
    Column("patient", String(64)),
    Column("issuer", String(64)),
    # which of its study's patients it is of; null: of none, it is held or was never taken in
    Column("patient_number", Integer),
    CheckConstraint("state IN ('RECEIVED', 'ANALYSED', 'DECLINED', 'QUARANTINED', 'HELD')", name="state"),
    CheckConstraint("(state IN ('DECLINED', 'QUARANTINED', 'HELD')) = (reason IS NOT NULL)", name="reason"),
    CheckConstraint("study_id IS NOT NULL OR state = 'DECLINED'", name="unreadable"),
    CheckConstraint(
        "study_id IS NULL OR (sop_instance_uid IS NOT NULL AND sop_class_uid IS NOT NULL"
        " AND transfer_syntax_uid IS NOT NULL)",
        name="identity",
    ),
    # ANALYSED: another has taken its place since, in the hands of another patient
    CheckConstraint("conflicts_with IS NULL OR state IN ('ANALYSED', 'DECLINED', 'HELD')", name="conflict"),
    # nothing is analysed of which it is not known whose it is; who would be another patient waits
    CheckConstraint(
        "state NOT IN ('RECEIVED', 'ANALYSED', 'QUARANTINED') OR patient_number IS NOT NULL", name="patient"
    ),
    CheckConstraint("state <> 'HELD' OR patient_number IS NULL", name="held"),
    # never of what is still to be analysed, or could be
    CheckConstraint("file_deleted_at IS NULL OR state IN ('ANALYSED', 'DECLINED')", name="file"),
    CheckConstraint("size >= 0 AND length(digest) = 64", name="content"),
    # one SOP Instance UID, one content; whatever else comes under it is kept apart
    Index(
        "uq_instances_sop_instance_uid",
        "sop_instance_uid",
        unique=True,
        sqlite_where=text("conflicts_with IS NULL AND study_id IS NOT NULL"),
        postgresql_where=text("conflicts_with IS NULL AND study_id IS NOT NULL"),
    ),
    Index(
        "uq_instances_content",
        "sop_instance_uid",
        "digest",
        unique=True,
        sqlite_where=text("study_id IS NOT NULL"),
        postgresql_where=text("study_id IS NOT NULL"),
    ),
    Index(
        "ix_instances_unreadable",
        "digest",
        sqlite_where=text("study_id IS NULL"),
        postgresql_where=text("study_id IS NULL"),
    ),
    Index("ix_instances_study_id_state", "study_id", "state"),
    # retention looks through the files that there are, not through all that there ever were
    Index(
        "ix_instances_file",
        "study_id",
        sqlite_where=text("file_deleted_at IS NULL"),
        postgresql_where=text("file_deleted_at IS NULL"),
    ),
    Index(
        "ix_instances_held",
        "state",
        "study_id",
        sqlite_where=text("state = 'HELD'"),
        postgresql_where=text("state = 'HELD'"),
    ),
    Index(
        "ix_instances_quarantined",
        # state comes first: SQLite knows by it that this index is the shortest way
        "state",
        "study_id",
        sqlite_where=text("state = 'QUARANTINED'"),
        postgresql_where=text("state = 'QUARANTINED'"),
    ),
    sqlite_autoincrement=True,
)

workitems = Table(
    "workitems",
    metadata,
    _key(),
    Column("kind", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    _to("study"),
    _to("instance", optional=True),
    # of an analysis: whether it is the image's first, another one, or one that is only looked at
    Column("purpose", String(8)),
    # of a shadow: the rule that it follows; null: the one that the image falls under
    Column("rule", Text),
    # that reads, instead of the rule's
    Column("model", String(64)),
    Column("revision", Integer),
    # higher is sooner
    Column("priority", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    # due_at less the head start of its priority: the order of claims
    Column("turn_at", UtcDateTime, nullable=False),
    # when it may be done, as `Schedule.to_text`; null: at any time
    Column("schedule", Text),
    # it waits for its schedule; null: it may be done now
    Column("held_until", UtcDateTime),
    # failed ones; deaths are those of them in which the lease ran out
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("worker", String(255)),
    Column("transaction_uid", _Uid),
    Column("lease_expires_at", UtcDateTime),
    # a report speaks of the study's analyses up to this one, however long it takes to write
    Column("covers", _Number, ForeignKey("analyses.id")),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    # of the last failure, or why it was cancelled
    Column("reason", Text),
    # when a report is due although images still wait for their analysis; null: it waits for them
    Column("latest_at", UtcDateTime),
    CheckConstraint("latest_at IS NULL OR kind = 'report'", name="latest"),
    CheckConstraint("kind IN ('analyse', 'report')", name="kind"),
    CheckConstraint("state IN ('SCHEDULED', 'IN PROGRESS', 'COMPLETED', 'CANCELED')", name="state"),
    CheckConstraint("(kind = 'analyse') = (instance_id IS NOT NULL)", name="analyse"),
    CheckConstraint("(kind = 'analyse') = (purpose IS NOT NULL)", name="purposeful"),
    CheckConstraint("purpose IN ('first', 'again', 'shadow')", name="purpose"),
    CheckConstraint("rule IS NULL OR purpose = 'shadow'", name="rule"),
    CheckConstraint("model IS NULL OR purpose IN ('again', 'shadow')", name="model"),
    CheckConstraint("held_until IS NULL OR (schedule IS NOT NULL AND state = 'SCHEDULED')", name="held"),
    CheckConstraint("(kind = 'report') = (revision IS NOT NULL)", name="report"),
    CheckConstraint("revision IS NULL OR revision >= 1", name="revision"),
    CheckConstraint("deaths >= 0 AND attempts >= deaths", name="attempts"),
    CheckConstraint("(state = 'IN PROGRESS') = (transaction_uid IS NOT NULL)", name="transaction"),
    CheckConstraint("(state = 'IN PROGRESS') = (lease_expires_at IS NOT NULL)", name="lease"),
    CheckConstraint("(state = 'IN PROGRESS') = (worker IS NOT NULL)", name="worker"),
    CheckConstraint("(state IN ('COMPLETED', 'CANCELED')) = (ended_at IS NOT NULL)", name="ended"),
    CheckConstraint("state <> 'CANCELED' OR reason IS NOT NULL", name="reason"),
    # the order of claims; a claim reads its first entries, however much waits, and however much is held
    Index(
        "ix_workitems_claim",
        "turn_at",
        "id",
        sqlite_where=text("state = 'SCHEDULED' AND held_until IS NULL"),
        postgresql_where=text("state = 'SCHEDULED' AND held_until IS NULL"),
    ),
    # what is to be held, or to be held no more
    Index(
        "ix_workitems_schedule",
        "schedule",
        "held_until",
        sqlite_where=text("state = 'SCHEDULED' AND schedule IS NOT NULL"),
        postgresql_where=text("state = 'SCHEDULED' AND schedule IS NOT NULL"),
    ),
    Index(
        "ix_workitems_lease",
        "lease_expires_at",
        sqlite_where=text("state = 'IN PROGRESS'"),
        postgresql_where=text("state = 'IN PROGRESS'"),
    ),
    # counted for metrics and alerts, without a look at the rows
    Index(
        "ix_workitems_open",
        "kind",
        "state",
        "due_at",
        "priority",
        "held_until",
        sqlite_where=text("state IN ('SCHEDULED', 'IN PROGRESS')"),
        postgresql_where=text("state IN ('SCHEDULED', 'IN PROGRESS')"),
    ),
    Index("ix_workitems_study_id_kind_state", "study_id", "kind", "state"),
    Index("ix_workitems_instance_id", "instance_id"),
    # an image is analysed once for the first time; and not twice at a time for the same
    Index(
        "uq_workitems_first",
        "instance_id",
        unique=True,
        sqlite_where=text("purpose = 'first'"),
        postgresql_where=text("purpose = 'first'"),
    ),
    Index(
        "uq_workitems_again",
        "instance_id",
        unique=True,
        sqlite_where=text("purpose = 'again' AND state IN ('SCHEDULED', 'IN PROGRESS')"),
        postgresql_where=text("purpose = 'again' AND state IN ('SCHEDULED', 'IN PROGRESS')"),
    ),
    Index(
        "uq_workitems_shadow",
        "instance_id",
        text("coalesce(rule, '')"),
        text("coalesce(model, '')"),
        unique=True,
        sqlite_where=text("purpose = 'shadow' AND state IN ('SCHEDULED', 'IN PROGRESS')"),
        postgresql_where=text("purpose = 'shadow' AND state IN ('SCHEDULED', 'IN PROGRESS')"),
    ),
    Index(
        "uq_workitems_report_scheduled",
        "study_id",
        unique=True,
        sqlite_where=text("kind = 'report' AND state = 'SCHEDULED'"),
        postgresql_where=text("kind = 'report' AND state = 'SCHEDULED'"),
    ),
    Index(
        "uq_workitems_report_in_progress",
        "study_id",
        unique=True,
        sqlite_where=text("kind = 'report' AND state = 'IN PROGRESS'"),
        postgresql_where=text("kind = 'report' AND state = 'IN PROGRESS'"),
    ),
    # never two reports of one revision
    Index(
        "uq_workitems_report_revision",
        "study_id",
        "revision",
        unique=True,
        sqlite_where=text("kind = 'report' AND state <> 'CANCELED'"),
        postgresql_where=text("kind = 'report' AND state <> 'CANCELED'"),
    ),
    sqlite_autoincrement=True,
)

analyses = Table(
    "analyses",
    metadata,
    _key(),
    _to("study"),
    # the last one that is no shadow is the one that reports speak of
    _to("instance"),
    # recorded, and not reported
    Column("shadow", Boolean, nullable=False, server_default=false()),
    Column("route", Text, nullable=False),
    # name of the threshold set that was used; null: none
    Column("threshold_set", Text),
    # kinds of object that the route makes; null: all that its destinations want
    Column("kinds", JSON),
    Column("algorithm", JSON, nullable=False),
    Column("findings", JSON, nullable=False),
    Column("checks", JSON, nullable=False),
    Column("view", String(16), nullable=False),
    # Part 10 file of the source's header, without pixels: what a report copies from
    Column("header", LargeBinary, nullable=False),
    Column("thumbnail", Text),
    # label of the finding whose heatmap is drawn in the thumbnail
    Column("shown", Text),
    Column("send_to", JSON, nullable=False),
    Column("quiet_seconds", Float, nullable=False),
    Column("analysed_at", UtcDateTime, nullable=False),
    # what its route takes for a complete study, besides quiet
    Column("expected_views", JSON, nullable=False, server_default="{}"),
    Column("max_wait_seconds", Float),
    # which device made the image; empty: its header does not say
    Column("device", Text, nullable=False, server_default=""),
    # how urgent it is by the rules of triage; null: there were none
    Column("triage", JSON),
    # what a segmentation model found; null: none was asked
    Column("anatomy", JSON),
    CheckConstraint("quiet_seconds >= 0", name="quiet"),
    CheckConstraint("max_wait_seconds > 0", name="wait"),
    Index("ix_analyses_study_id", "study_id"),
    Index("ix_analyses_instance_id", "instance_id"),
    # scores of a time are compared with those of another
    Index("ix_analyses_analysed_at", "analysed_at"),
    sqlite_autoincrement=True,
)

results = Table(
    "results",
    metadata,
    _key(),
    _to("study"),
    _to("workitem"),
    Column("analysis_id", _Number, ForeignKey("analyses.id")),
    Column("revision", Integer),
    Column("kind", String(16), nullable=False),
    Column("sop_class_uid", _Uid, nullable=False),
    # the same UID always means the same bytes
    Column("sop_instance_uid", _Uid, nullable=False, unique=True),
    Column("series_instance_uid", _Uid, nullable=False),
    Column("transfer_syntax_uid", _Uid, nullable=False),
    Column("path", Text, nullable=False, unique=True),
    Column("size", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # Device UID of the model that it speaks for; null: not known, or the node's own
    Column("device_uid", _Uid),
    # which rendition of its kind it is; empty: the default one
    Column("variant", Text, nullable=False, server_default=""),
    # the rejection note that took it back
    Column("retracted_by", _Number, ForeignKey("results.id")),
    # when its file was let go; null: the file is there
    Column("file_deleted_at", UtcDateTime),
    # of the rules that its image was treated by, of a report's images the last; null: as of an image
    Column("rules_digest", String(64)),
    # of an image, or of a revision of the study's report
    CheckConstraint("(analysis_id IS NULL) = (revision IS NOT NULL)", name="origin"),
    CheckConstraint("size > 0 AND length(digest) = 64", name="content"),
    Index("ix_results_study_id_kind", "study_id", "kind"),
    Index(
        "ix_results_file",
        "study_id",
        sqlite_where=text("file_deleted_at IS NULL"),
        postgresql_where=text("file_deleted_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)

deliveries = Table(
    "deliveries",
    metadata,
    _key(),
    _to("study"),
    # the object: one of ours, or one that is forwarded as it was received
    _to("result", optional=True),
    _to("instance", optional=True),
    Column("destination", String(255), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    # since when it has been tried; a retry by hand starts it again
    Column("since", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    # the peer's last C-STORE status
    Column("status", Integer),
    Column("reason", Text),
    # the refused delivery whose object this one's stands in for
    Column("stands_in_for", _Number, ForeignKey("deliveries.id")),
    # when the peer last answered that it stored it, whatever became of it since
    Column("stored_at", UtcDateTime),
    # when the peer is to be asked, or asked again, whether it keeps it; null: it need not be asked
    Column("commitment_due_at", UtcDateTime),
    UniqueConstraint("result_id", "destination"),
    UniqueConstraint("instance_id", "destination"),
    CheckConstraint("(result_id IS NULL) = (instance_id IS NOT NULL)", name="object"),
    CheckConstraint("state IN ('PENDING', 'STORED', 'COMMITTED', 'REFUSED')", name="state"),
    CheckConstraint("state NOT IN ('STORED', 'COMMITTED') OR stored_at IS NOT NULL", name="stored"),
    CheckConstraint("commitment_due_at IS NULL OR state = 'STORED'", name="commitment"),
    CheckConstraint("(state = 'PENDING') = (ended_at IS NULL)", name="ended"),
    CheckConstraint("state <> 'REFUSED' OR reason IS NOT NULL", name="reason"),
    CheckConstraint("attempts >= 0", name="attempts"),
    Index(
        "ix_deliveries_due",
        "destination",
        "due_at",
        "id",
        sqlite_where=text("state = 'PENDING'"),
        postgresql_where=text("state = 'PENDING'"),
    ),
    Index(
        "ix_deliveries_commitment",
        "destination",
        "commitment_due_at",
        "id",
        sqlite_where=text("commitment_due_at IS NOT NULL"),
        postgresql_where=text("commitment_due_at IS NOT NULL"),
    ),
    # dead letters are few among all deliveries
    Index(
        "ix_deliveries_refused",
        "id",
        sqlite_where=text("state = 'REFUSED'"),
        postgresql_where=text("state = 'REFUSED'"),
    ),
    Index("ix_deliveries_study_id", "study_id"),
    Index("ix_deliveries_stands_in_for", "stands_in_for"),
    sqlite_autoincrement=True,
)

#: requests for Storage Commitment; a late answer to an old one still counts, so they stay
commitments = Table(
    "commitments",
    metadata,
    _key(),
    Column("destination", String(255), nullable=False),
    Column("transaction_uid", _Uid, nullable=False, unique=True),
    Column("asked_at", UtcDateTime, nullable=False),
    sqlite_autoincrement=True,
)

#: what a request asks for
commitment_items = Table(
    "commitment_items",
    metadata,
    Column("commitment_id", _Number, ForeignKey("commitments.id"), primary_key=True),
    Column("delivery_id", _Number, ForeignKey("deliveries.id"), primary_key=True),
    # null: not answered
    Column("answered_at", UtcDateTime),
    Index("ix_commitment_items_delivery_id", "delivery_id"),
)

#: a destination that cannot be reached now: one row to change, however much waits for it
destinations = Table(
    "destinations",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("failing_since", UtcDateTime, nullable=False),
    Column("deferred_until", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    CheckConstraint("failures >= 1", name="failures"),
)

#: what an administrator was told, or is to be told, by each way
alerts = Table(
    "alerts",
    metadata,
    Column("channel", String(16), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("raised_at", UtcDateTime, nullable=False),
    # null: not told yet
    Column("told_at", UtcDateTime),
    # null: it holds
    Column("ended_at", UtcDateTime),
    # an alert that ended before it was told is forgotten
    CheckConstraint("ended_at IS NULL OR told_at IS NOT NULL", name="ended"),
)

#: which process sends to a destination: where several deliver, each destination is served by one at a time
destination_holders = Table(
    "destination_holders",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("holder", String(255), nullable=False),
    Column("held_until", UtcDateTime, nullable=False),
)

#: with which time's scores those of now are compared, where a person said so; the last of a model counts
drift_references = Table(
    "drift_references",
    metadata,
    _key(),
    Column("weights_digest", String(64), nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("until", UtcDateTime, nullable=False),
    Column("set_at", UtcDateTime, nullable=False),
    Column("who", String(255), nullable=False),
    CheckConstraint("since < until", name="span"),
    Index("ix_drift_references_weights_digest", "weights_digest"),
    sqlite_autoincrement=True,
)

#: one row: which installation of the node this is, for as long as its state lives
installation = Table(
    "installation",
    metadata,
    _key(),
    Column("uuid", String(36), nullable=False),
    CheckConstraint("id = 1", name="only"),
    CheckConstraint("length(uuid) = 36", name="uuid"),
)

#: every version of routes.yaml that was used, as text; no patient is named in it
rules_versions = Table(
    "rules_versions",
    metadata,
    _key(),
    Column("digest", String(64), nullable=False),
    Column("text", Text, nullable=False),
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("who", String(255), nullable=False),
    # start or reload
    Column("why", String(16), nullable=False),
    CheckConstraint("length(digest) = 64", name="digest"),
    Index("ix_rules_versions_digest", "digest"),
    sqlite_autoincrement=True,
)

#: append-only: triggers forbid UPDATE and DELETE. No foreign keys: it outlives what it speaks of
events = Table(
    "events",
    metadata,
    _key(),
    Column("at", UtcDateTime, nullable=False),
    Column("who", String(255), nullable=False),
    Column("what", String(32), nullable=False),
    # such as ``instance 5`` or ``workitem 7``
    Column("subject", String(255), nullable=False),
    Column("study_id", _Number),
    Column("why", Text),
    # for how many of its kind it stands; null: for itself
    Column("times", Integer),
    CheckConstraint("times >= 1", name="times"),
    Index("ix_events_study_id", "study_id"),
    Index(
        "ix_events_turned_away",
        "id",
        sqlite_where=text("what = 'turned away'"),
        postgresql_where=text("what = 'turned away'"),
    ),
    sqlite_autoincrement=True,
)
