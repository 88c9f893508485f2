"""The part of `Workitems` that keeps the rules: every version that was used, and who had them read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, Select, bindparam, func, insert, select

from mcads_node.errors import PermanentError
from mcads_node.instance import Circumstances, Requestor, View
from mcads_node.workitems.again import again
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.patients import is_of_its_patient
from mcads_node.workitems.records import InstanceState, Workitem
from mcads_node.workitems.schema import analyses, events, instances, rules_versions
from mcads_node.workitems.studies import find
from mcads_node.workitems.transactions import Transactions

#: what is on record of a reload: that somebody asked for it, and how it ended
ASKED, RELOADED, KEPT = "routes asked", "routes reloaded", "routes kept"

#: how far back it is looked who asked for a reload
_RECENT_EVENTS = 10_000


@dataclass(frozen=True, kw_only=True)
class RulesVersion:
    """One version of the rules that was used, from a moment on."""

    #: the node's own number of it; the version that is used has the highest
    number: int
    #: SHA-256 of its text, hex
    digest: str
    text: str
    accepted_at: datetime
    who: str
    #: start or reload
    why: str


@dataclass(frozen=True, kw_only=True)
class Answered:
    """How a reload ended."""

    accepted: bool
    #: digest of what is used now; or what is wrong
    said: str


@dataclass(frozen=True, kw_only=True)
class TriedInstance:
    """An instance that was taken in, as rules ask about it."""

    number: int
    study_number: int
    sop_instance_uid: str
    #: relative to the spool; None: it was let go
    path: str | None
    circumstances: Circumstances
    #: of the rules that it was treated by; None: it was not yet
    rules_digest: str | None


class Ruling(Transactions):
    """Versions of the rules, reloads, and the images that rules can be tried on."""

    @again
    def accept_rules(self, digest: str, text: str, *, who: str, why: str) -> bool:
        """Put on record that these rules are used from now on; False: they were used already."""
        with self._write() as tx:
            last = tx.connection.execute(
                select(rules_versions.c.digest).order_by(rules_versions.c.id.desc()).limit(1)
            ).scalar()
            if last == digest:
                return False
            row = {"digest": digest, "text": text, "accepted_at": tx.now, "who": who[:255], "why": why}
            tx.connection.execute(insert(rules_versions).values(row))
            return True

    def rules_versions(self, limit: int = 50) -> list[RulesVersion]:
        """Versions that were used, the present one first."""
        with self._read() as tx:
            rows = tx.connection.execute(_versions().limit(limit))
            return [_version(row) for row in rows]

    def rules_version(self, digest: str) -> RulesVersion:
        """Give the version of a digest, or of the beginning of one.

        Raises
        ------
        PermanentError
            There is none, or several begin so.
        """
        begins = rules_versions.c.digest.startswith(digest.lower(), autoescape=True)
        with self._read() as tx:
            found = [_version(row) for row in tx.connection.execute(_versions().where(begins))]
        if len({version.digest for version in found}) != 1:
            said = "several versions of the rules begin" if found else "no version of the rules begins"
            raise PermanentError(f"{said} with {digest!r}; see mcads-node routes history")
        return found[0]

    @again
    def ask_for_rules(self, who: str) -> int:
        """Put on record that somebody has the rules read again; gives the number of the event."""
        with self._write() as tx:
            record(tx, Happening(who=who, what=ASKED, subject="node"))
            return int(tx.connection.execute(select(func.max(events.c.id))).scalar_one())

    def who_asked_for_rules(self) -> str | None:
        """Say who asked for a reload that has not ended yet; None: nobody by a verb."""
        recent = select(func.max(events.c.id) - _RECENT_EVENTS).scalar_subquery()
        query = (
            select(events.c.who, events.c.what)
            .where(events.c.id > recent, events.c.what.in_((ASKED, RELOADED, KEPT)))
            .order_by(events.c.id.desc())
            .limit(1)
        )
        with self._read() as tx:
            row = tx.connection.execute(query).first()
        return str(row.who) if row is not None and row.what == ASKED else None

    def reload_ended(self, asked: int) -> Answered | None:
        """Say how the first reload after event `asked` ended; None: it has not."""
        query = (
            select(events.c.what, events.c.why)
            .where(events.c.id > asked, events.c.what.in_((RELOADED, KEPT)))
            .order_by(events.c.id)
            .limit(1)
        )
        with self._read() as tx:
            row = tx.connection.execute(query).first()
        return None if row is None else Answered(accepted=row.what == RELOADED, said=row.why or "")

    def circumstances(self, item: Workitem) -> Circumstances:
        """Say how the image of an analyse item came, and what there is of its study now."""
        if item.instance is None:
            raise ValueError(f"{item} is of no image")
        with self._read() as tx:
            row = tx.connection.execute(_image(), {"mine": item.instance_number}).one()
            return _circumstances(row, _views(tx, [item.study_number]))

    def instances_to_try(
        self,
        *,
        study: str | int | None = None,
        since: datetime | None = None,
        after: int = 0,
        limit: int = 500,
    ) -> list[TriedInstance]:
        """Give instances above number `after`, in the order they came.

        Parameters
        ----------
        study
            Of this one only, by UID or number.
        since
            That came since then; timezone-aware.
        after, limit
            At most so many, with higher numbers.

        Raises
        ------
        PermanentError
            The study is not on record.
        """
        query = _images().where(instances.c.id > after)
        with self._read() as tx:
            if study is not None:
                query = query.where(instances.c.study_id == find(tx, study))
            if since is not None:
                query = query.where(instances.c.received_at >= since)
            rows = tx.connection.execute(query.order_by(instances.c.id).limit(limit)).all()
            views = _views(tx, sorted({row.study_id for row in rows}))
        return [
            TriedInstance(
                number=row.id,
                study_number=row.study_id,
                sop_instance_uid=row.sop_instance_uid,
                path=None if row.file_deleted_at is not None else row.path,
                circumstances=_circumstances(row, views),
                rules_digest=row.rules_digest,
            )
            for row in rows
        ]

    def count_instances(self, since: datetime) -> int:
        """Count the instances that `instances_to_try` gives since then."""
        query = select(func.count()).where(instances.c.received_at >= since, _is_taken_in(instances))
        with self._read() as tx:
            return int(tx.connection.execute(query).scalar_one())


def _views(tx: Transaction, studies: Sequence[int]) -> dict[int, tuple[View, ...]]:
    """Projections of the images of studies that were analysed, by the study's number."""
    found: dict[int, tuple[View, ...]] = {}
    for row in tx.connection.execute(_VIEWS, {"studies": studies}):
        found[row.study_id] = (*found.get(row.study_id, ()), View(row.view))
    return found


_VIEWS = (
    select(analyses.c.study_id, analyses.c.view)
    .where(analyses.c.study_id.in_(bindparam("studies", expanding=True)), is_of_its_patient())
    .order_by(analyses.c.id)
)


def _versions() -> Select[Any]:
    return select(rules_versions).order_by(rules_versions.c.id.desc())


def _version(row: Row[Any]) -> RulesVersion:
    return RulesVersion(
        number=row.id,
        digest=row.digest,
        text=row.text,
        accepted_at=row.accepted_at,
        who=row.who,
        why=row.why,
    )


@cache
def _image() -> Select[Any]:
    """Select one of `_images`; made once."""
    return _images().where(instances.c.id == bindparam("mine"))


def _images() -> Select[Any]:
    of_study = instances.alias("of_study")
    images = (
        select(func.count())
        .where(
            of_study.c.study_id == instances.c.study_id,
            of_study.c.patient_number == instances.c.patient_number,
            _is_taken_in(of_study),
        )
        .scalar_subquery()
        .label("images_in_study")
    )
    return select(instances, images).where(_is_taken_in(instances))


def _is_taken_in(table: FromClause) -> ColumnElement[bool]:
    """Leave out what no rule is asked about: what is held, and other content under a UID that is known."""
    is_other_content = table.c.conflicts_with.is_not(None) & (table.c.state == InstanceState.DECLINED)
    return table.c.patient_number.is_not(None) & ~is_other_content


def _circumstances(row: Row[Any], views: dict[int, tuple[View, ...]]) -> Circumstances:
    return Circumstances(
        requestor=Requestor(
            ae_title=row.requestor_ae_title,
            address=row.requestor_address,
            called_ae_title=row.called_ae_title,
        ),
        received_at=row.received_at,
        images_in_study=row.images_in_study,
        views_in_study=views.get(row.study_id, ()),
    )
