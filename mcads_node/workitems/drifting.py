"""Scores over time: what the analyses on record say, for whoever compares one time with another.

Rows of analyses stay for ever (see `retention`), so that a reference is a span of time and no copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, insert, select

from mcads_node.finding import Finding
from mcads_node.workitems.codec import findings_from_json
from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import Happening, record
from mcads_node.workitems.schema import analyses, drift_references
from mcads_node.workitems.transactions import Transactions

#: rows fetched at once
_BATCH = 500


@dataclass(frozen=True, kw_only=True)
class ScoredImage:
    """What one analysis found."""

    analysed_at: datetime
    #: empty: the image's header does not say
    device: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A time, its end not in it."""

    since: datetime
    until: datetime


class Drifting(Transactions):
    """The part of `Workitems` that compares times."""

    def scored_images(self, weights_digest: str, span: Span) -> Iterator[ScoredImage]:
        """Give the analyses that a model made in a time, one after the other."""
        with self._read() as tx:
            query = (
                select(analyses.c.analysed_at, analyses.c.device, analyses.c.findings)
                .where(
                    analyses.c.analysed_at >= span.since,
                    analyses.c.analysed_at < span.until,
                    _by(weights_digest),
                )
                .execution_options(yield_per=_BATCH)
            )
            for row in tx.connection.execute(query):
                yield ScoredImage(
                    analysed_at=row.analysed_at,
                    device=row.device,
                    findings=findings_from_json(row.findings),
                )

    def first_analysis(self, weights_digest: str) -> datetime | None:
        """When the model made its first analysis; None: it made none."""
        with self._read() as tx:
            query = (
                select(analyses.c.analysed_at)
                .where(_by(weights_digest))
                .order_by(analyses.c.analysed_at)
                .limit(1)
            )
            found: datetime | None = tx.connection.execute(query).scalar()
            return found

    def drift_reference(self, weights_digest: str) -> Span | None:
        """With which time a person wants the model's scores compared; None: nobody said."""
        with self._read() as tx:
            row = tx.connection.execute(
                select(drift_references.c.since, drift_references.c.until)
                .where(drift_references.c.weights_digest == weights_digest)
                .order_by(drift_references.c.id.desc())
                .limit(1)
            ).first()
            return None if row is None else Span(since=row.since, until=row.until)

    def set_drift_reference(self, weights_digest: str, span: Span, who: str) -> None:
        """Have a model's scores compared with those of `span` from now on."""
        with self._write() as tx:
            tx.connection.execute(
                insert(drift_references).values(
                    weights_digest=weights_digest,
                    since=span.since,
                    until=span.until,
                    set_at=tx.now,
                    who=who,
                )
            )
            _note(tx, span, who)


def _by(weights_digest: str) -> ColumnElement[bool]:
    is_its: ColumnElement[bool] = analyses.c.algorithm["weights_digest"].as_string() == weights_digest
    # a shadow reads what the serving rule reads: its images would count twice
    return is_its & analyses.c.shadow.is_(False)


def _note(tx: Transaction, span: Span, who: str) -> None:
    why = f"{span.since:%Y-%m-%d %H:%M} to {span.until:%Y-%m-%d %H:%M} UTC"
    record(tx, Happening(who=who, what="drift reference set", subject="model", study=None, why=why))
