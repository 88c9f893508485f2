"""The part of `Workitems` that speaks of files: which are kept, which are let go, and the database's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from pathlib import Path

from mcads_node.workitems import copying, lost, retention
from mcads_node.workitems.again import again
from mcads_node.workitems.copying import Snapshot
from mcads_node.workitems.retention import FileKind
from mcads_node.workitems.transactions import Transactions


class Keeping(Transactions):
    """Files on record, and the record itself."""

    def spool_paths(self) -> set[str]:
        """Every received file that is on record and was not let go."""
        with self._read() as tx:
            return retention.kept_in_spool(tx)

    def result_paths(self) -> set[str]:
        """Every result file and thumbnail that is on record and was not let go."""
        with self._read() as tx:
            return retention.kept_in_results(tx)

    def studies_with_old_files(self, kind: FileKind, age: timedelta, after: int, limit: int) -> list[int]:
        """Numbers above `after` of studies that have been settled for `age`, and whose files are there."""
        with self._read() as tx:
            return retention.studies_with_old_files(tx, kind, age, after, limit)

    @again
    def let_go(self, kind: FileKind, age: timedelta, numbers: Sequence[int]) -> list[str]:
        """Put on record that the files of settled studies are deleted; gives the paths, to be deleted now."""
        with self._write() as tx:
            return retention.let_go(tx, kind, age, numbers)

    @again
    def let_go_unreadable(self, age: timedelta, limit: int) -> list[str]:
        """Do the same for objects that belong to no study since they could not be read."""
        with self._write() as tx:
            return retention.let_go_unreadable(tx, age, limit)

    def copy_database(self, target: Path, progress: Callable[[int, int], None]) -> Snapshot:
        """Write a consistent copy of the database to a file, while others write to it.

        Parameters
        ----------
        target
            The file, which is not there yet.
        progress
            Told how many pages of how many are copied (SQLite), or 0 of 1 and 1 of 1 (PostgreSQL).

        Raises
        ------
        NodeError
            The copy could not be made, and why.
        """
        with self._read() as tx:
            return copying.copy(tx, self._database, target, progress)

    @again
    def record_restored(self, gone: Collection[str], why: str, *, who: str) -> None:
        """Note that this state came out of a backup, and which files were let go while it was made."""
        with self._write() as tx:
            copying.record_restored(tx, gone, who, why)

    @again
    def record_lost(self, paths: Sequence[str], why: str, *, who: str) -> None:
        """Note that files of rows are lost: what waits for one is ended, for a person to see."""
        with self._write() as tx:
            lost.record_lost(tx, paths, who, why)
