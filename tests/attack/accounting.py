"""What became of every acknowledged instance: asked of the database itself, past the code under attack."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.attack.destination import Destination


@dataclass(frozen=True, kw_only=True)
class Account:
    """The balance of an attack."""

    #: SOP Instance UIDs that were answered 0x0000
    acknowledged: int
    #: of them: results delivered everywhere, declined, or quarantined, the latter two with a reason
    accounted: int
    declined: int
    quarantined: int
    #: what is wrong with each of the others, by SOP Instance UID
    lost: Mapping[str, str]
    #: UIDs with two contents, and reports beyond the first of a study
    duplicates: tuple[str, ...]
    #: files that no row names: a process died between the file and the row
    orphans: int


@contextmanager
def reading(data_dir: Path) -> Iterator[sqlite3.Connection]:
    """Open a node's database for reading."""
    with closing(sqlite3.connect(f"file:{data_dir / 'node.db'}?mode=ro", uri=True, timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        yield connection


def open_work(data_dir: Path) -> int:
    """Workitems that are not done, and deliveries that wait."""
    with reading(data_dir) as connection:
        (work,) = connection.execute(
            "SELECT count(*) FROM workitems WHERE state IN ('SCHEDULED', 'IN PROGRESS')"
        ).fetchone()
        return int(work) + pending(data_dir)


def pending(data_dir: Path) -> int:
    """Deliveries that wait."""
    with reading(data_dir) as connection:
        (count,) = connection.execute("SELECT count(*) FROM deliveries WHERE state = 'PENDING'").fetchone()
        return int(count)


def damage(data_dir: Path) -> list[str]:
    """What SQLite finds wrong with the database."""
    with reading(data_dir) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        foreign = [
            f"a foreign key of {row[0]} leads nowhere"
            for row in connection.execute("PRAGMA foreign_key_check")
        ]
        return [each for each in found if each != "ok"] + foreign


def account(data_dir: Path, acknowledged: Mapping[str, str], destination: Destination) -> Account:
    """Strike the balance.

    Parameters
    ----------
    data_dir
        Of the node, which has nothing left to do.
    acknowledged
        Study Instance UID by SOP Instance UID of what was answered 0x0000; each the only image of its study.
    destination
        Where the results were due.
    """
    with reading(data_dir) as connection:
        instances = _instances(connection)
        due = _due(connection)
        revised = connection.execute(
            "SELECT s.study_instance_uid AS study, count(DISTINCT r.revision) AS revisions FROM results r"
            " JOIN studies s ON s.id = r.study_id WHERE r.revision IS NOT NULL"
            " GROUP BY 1 HAVING revisions > 1"
        ).fetchall()
        named = {row[0] for row in connection.execute("SELECT path FROM instances")}
    verdicts = {
        uid: _trouble(instances.get(uid), due.get(study, []), data_dir / "spool", destination)
        for uid, study in acknowledged.items()
    }
    lost = {uid: trouble for uid, trouble in verdicts.items() if trouble is not None}
    states = [instances[uid]["state"] for uid in acknowledged if uid in instances]
    duplicates = [f"two contents under {uid}" for uid in destination.two_contents()]
    duplicates += [
        f"{count} reports of {study}" for study, count in destination.reports().items() if count > 1
    ]
    duplicates += [f"{row['revisions']} revisions of {row['study']}" for row in revised]
    files = {f"{file.parent.name}/{file.name}" for file in (data_dir / "spool").glob("*/*")}
    return Account(
        acknowledged=len(acknowledged),
        accounted=len(acknowledged) - len(lost),
        declined=states.count("DECLINED"),
        quarantined=states.count("QUARANTINED"),
        lost=lost,
        duplicates=tuple(duplicates),
        orphans=len(files - named),
    )


def _instances(connection: sqlite3.Connection) -> dict[str, sqlite3.Row]:
    query = (
        "SELECT i.*, s.trouble FROM instances i LEFT JOIN studies s ON s.id = i.study_id"
        " WHERE conflicts_with IS NULL AND sop_instance_uid IS NOT NULL"
    )
    return {row["sop_instance_uid"]: row for row in connection.execute(query)}


def _due(connection: sqlite3.Connection) -> dict[str, list[sqlite3.Row]]:
    """Deliveries by Study Instance UID."""
    query = (
        "SELECT s.study_instance_uid AS study, r.kind, r.sop_instance_uid AS uid, d.state, d.reason"
        " FROM deliveries d JOIN results r ON r.id = d.result_id JOIN studies s ON s.id = r.study_id"
    )
    found: dict[str, list[sqlite3.Row]] = {}
    for row in connection.execute(query):
        found.setdefault(row["study"], []).append(row)
    return found


def _trouble(
    instance: Any, deliveries: list[sqlite3.Row], spool: Path, destination: Destination
) -> str | None:
    """Why an instance is not accounted for; None where it is."""
    if instance is None:
        return "not on record"
    file = spool / instance["path"]
    if not file.exists() or file.stat().st_size != instance["size"]:
        return "its file is gone, or not whole"
    if instance["state"] in ("DECLINED", "QUARANTINED"):
        return None if instance["reason"] else f"{instance['state']} without a reason"
    if instance["state"] != "ANALYSED":
        return f"still {instance['state']}"
    # where its report was quarantined, the study tells the reason
    return None if instance["trouble"] else _undelivered(deliveries, destination)


def _undelivered(deliveries: list[sqlite3.Row], destination: Destination) -> str | None:
    if "sr" not in {row["kind"] for row in deliveries}:
        return "analysed, but no report was due anywhere"
    for row in deliveries:
        if row["state"] not in ("STORED", "COMMITTED"):
            return f"its {row['kind']} is {row['state']}: {row['reason']}"
        if not destination.has(row["uid"]):
            return f"its {row['kind']} is on record as stored, and the destination never said so"
    return None
