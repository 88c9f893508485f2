"""Retention: files of settled studies are deleted after a while, what is not delivered never is.

The disk is not looked at: a full one refuses new images (`disk`), and deletes nothing that is still owed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import structlog

from mcads_node.spool import Spool
from mcads_node.state import State
from mcads_node.workitems import FileKind

log = structlog.stdlib.get_logger(__name__)

#: studies that are looked up at once, and those of them that are let go in one transaction
_LOOKED_UP = 500
_BATCH = 20
#: so that others may write between two batches: who waits for SQLite's lock in another process polls for it
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class RetentionPolicy:
    """How long files are kept once their study is settled; None: for ever."""

    images: timedelta | None
    results: timedelta | None
    #: of received objects that were declined
    declined: timedelta | None


def delete_old_files(
    state: State, policy: RetentionPolicy, stopping: threading.Event | None = None
) -> dict[FileKind, int]:
    """Delete the files that are due to be; says how many.

    Parameters
    ----------
    state
        The durable state.
    policy
        How long each kind is kept.
    stopping
        Once it is set, no more batch is begun.

    Raises
    ------
    TransientError
        The database or a folder cannot serve now; what was deleted by then is on record.
    """
    stopping = stopping if stopping is not None else threading.Event()
    done = dict.fromkeys(FileKind, 0)
    for kind, age, folder in (
        (FileKind.IMAGES, policy.images, state.spool),
        (FileKind.RESULTS, policy.results, state.results),
        (FileKind.DECLINED, policy.declined, state.spool),
    ):
        if age is not None:
            for paths in _batches(state, kind, age):
                _delete(folder, paths)
                done[kind] += len(paths)
                if stopping.wait(_PAUSE_SECONDS):
                    return done
    return done


def _batches(state: State, kind: FileKind, age: timedelta) -> Iterator[list[str]]:
    """Let go of a batch of files at a time, and give their paths."""
    after = 0
    while found := state.workitems.studies_with_old_files(kind, age, after, _LOOKED_UP):
        for start in range(0, len(found), _BATCH):
            yield state.workitems.let_go(kind, age, found[start : start + _BATCH])
        after = found[-1]
    if kind is FileKind.DECLINED:
        while paths := state.workitems.let_go_unreadable(age, _BATCH):
            yield paths


def _delete(folder: Spool, paths: list[str]) -> None:
    for path in paths:
        folder.delete(path)


def retention_job(state: State, policy: RetentionPolicy, stopping: threading.Event) -> Callable[[], None]:
    """Give a job that deletes old files, and says so where there were any."""

    def run() -> None:
        done = delete_old_files(state, policy, stopping)
        if any(done.values()):
            log.info("retention.deleted", **{str(kind): count for kind, count in done.items()})

    return run
