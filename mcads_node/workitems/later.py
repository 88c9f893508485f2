"""The part of `Workitems` about work that is done later: at its hours, or once more."""

from __future__ import annotations

from datetime import datetime

from mcads_node.workitems import hours, reanalysing
from mcads_node.workitems.again import again
from mcads_node.workitems.reanalysing import Reanalysis, Wish
from mcads_node.workitems.transactions import Transactions


class Later(Transactions):
    """Work that waits for its hours, and analyses that a person wishes."""

    @again
    def keep_hours(self) -> int:
        """Hold work whose hours have ended, and let go what may be done now; gives how much that is."""
        with self._write() as tx:
            return hours.keep_hours(tx)

    def studies_since(self, moment: datetime) -> list[int]:
        """Numbers of the studies with an image that was received since then, and analysed."""
        with self._read() as tx:
            return reanalysing.studies_since(tx, moment)

    @again
    def reanalyse(self, which: str | int, wish: Wish, *, who: str = "administrator") -> Reanalysis:
        """Have a study's images analysed again; `PermanentError` where it is not on record."""
        with self._write() as tx:
            return reanalysing.reanalyse(tx, which, wish, who)
