"""Files that nobody needs any more: which they are, and the record that they were let go.

Rows stay for ever: an image that is sent again is recognised by its row, a report is revised and retracted
from the headers that are kept in the database. Only files go, of studies that are settled.

The row comes first, the file after it is committed. A crash between the two leaves a file that its row says
is deleted: that is a file nobody knows, and it is removed with the other orphans. The other order would leave
a row that promises a file which is not there, to whoever reads it: a backup, a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, Table, exists, func, select, update

from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.events import NODE, Happening, record
from mcads_node.workitems.records import InstanceState
from mcads_node.workitems.schema import analyses, instances, results, studies, workitems
from mcads_node.workitems.settled import is_settled, settled_at


class FileKind(StrEnum):
    """Kinds of files that are kept for a time of their own."""

    #: received objects that were analysed
    IMAGES = "images"
    #: objects that the node made, and thumbnails
    RESULTS = "results"
    #: received objects that were declined
    DECLINED = "declined"


_OF_IMAGES = instances.c.file_deleted_at.is_(None) & (instances.c.state == InstanceState.ANALYSED)
_OF_DECLINED = instances.c.file_deleted_at.is_(None) & (instances.c.state == InstanceState.DECLINED)
_KEPT: dict[FileKind, tuple[Table, ColumnElement[bool]]] = {
    FileKind.IMAGES: (instances, _OF_IMAGES),
    FileKind.RESULTS: (results, results.c.file_deleted_at.is_(None)),
    FileKind.DECLINED: (instances, _OF_DECLINED),
}


def studies_with_old_files(
    tx: Transaction, kind: FileKind, age: timedelta, after: int, limit: int
) -> list[int]:
    """Numbers above `after` of studies that have been settled for `age`, and whose files are still there."""
    table, kept = _KEPT[kind]
    query = (
        select(studies.c.id)
        .where(
            studies.c.id > after,
            studies.c.id.in_(select(table.c.study_id).where(kept)),
            *_settled_since(tx.now - age),
        )
        .order_by(studies.c.id)
        .limit(limit)
    )
    return list(tx.connection.execute(query).scalars())


def let_go(tx: Transaction, kind: FileKind, age: timedelta, numbers: Sequence[int]) -> list[str]:
    """Put on record that files of those studies are deleted; gives the paths to delete after the commit."""
    # locked in one order: what arrives for a study, or ends for it, comes before this or after it
    tx.connection.execute(
        select(studies.c.id).where(studies.c.id.in_(numbers)).order_by(studies.c.id).with_for_update()
    )
    old = select(studies.c.id).where(studies.c.id.in_(numbers), *_settled_since(tx.now - age))
    table, kept = _KEPT[kind]
    gone: dict[int, list[str]] = {}
    for study in tx.connection.execute(old).scalars().all():
        statement = (
            update(table)
            .where(table.c.study_id == study, kept)
            .values(file_deleted_at=tx.now)
            .returning(table.c.path)
        )
        gone[study] = list(tx.connection.execute(statement).scalars())
        if kind is FileKind.RESULTS:
            gone[study] += _let_go_thumbnails(tx, study)
    record(tx, *(_happening(study, kind, len(paths)) for study, paths in gone.items() if paths))
    return [path for paths in gone.values() for path in paths]


def let_go_unreadable(tx: Transaction, age: timedelta, limit: int) -> list[str]:
    """Do the same for objects that belong to no study since they could not be read."""
    old = (
        select(instances.c.id)
        .where(
            instances.c.study_id.is_(None),
            instances.c.file_deleted_at.is_(None),
            instances.c.received_at <= tx.now - age,
        )
        .order_by(instances.c.id)
        .limit(limit)
    )
    statement = (
        update(instances)
        .where(instances.c.id.in_(old))
        .values(file_deleted_at=tx.now)
        .returning(instances.c.id, instances.c.path)
    )
    gone = tx.connection.execute(statement).all()
    record(tx, *(Happening(who=NODE, what="file deleted", subject=f"instance {row.id}") for row in gone))
    return [row.path for row in gone]


def kept_in_spool(tx: Transaction) -> set[str]:
    """Paths of the received files that rows say are there."""
    return set(
        tx.connection.execute(select(instances.c.path).where(instances.c.file_deleted_at.is_(None))).scalars()
    )


def kept_in_results(tx: Transaction) -> set[str]:
    """Paths of the results and thumbnails that rows say are there."""
    there = select(results.c.path).where(results.c.file_deleted_at.is_(None))
    drawn = select(analyses.c.thumbnail).where(analyses.c.thumbnail.is_not(None))
    return {*tx.connection.execute(there).scalars(), *tx.connection.execute(drawn).scalars()}


def _settled_since(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    """Conditions on a study: it was settled at that moment, and nothing has happened to it since."""
    worked = exists().where(workitems.c.study_id == studies.c.id, workitems.c.ended_at > moment)
    return (
        studies.c.last_received_at <= moment,
        func.coalesce(settled_at(), studies.c.last_received_at) <= moment,
        ~worked,
        is_settled(),
    )


def _let_go_thumbnails(tx: Transaction, study: int) -> list[str]:
    drawn = (analyses.c.study_id == study) & analyses.c.thumbnail.is_not(None)
    paths = list(tx.connection.execute(select(analyses.c.thumbnail).where(drawn)).scalars())
    tx.connection.execute(update(analyses).where(drawn).values(thumbnail=None))
    return paths


def _happening(study: int, kind: FileKind, count: int) -> Happening:
    return Happening(
        who=NODE, what="files deleted", subject=f"study {study}", study=study, why=f"{kind}: {count} files"
    )
