"""How urgent work is, and whose turn it is: the more urgent first, but nothing is overtaken for ever."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import IntEnum
from types import MappingProxyType
from typing import Final


class Priority(IntEnum):
    """The words of a rule's ``priority``; higher is sooner."""

    LOW = -1
    ROUTINE = 0
    HIGH = 1
    STAT = 2

    @classmethod
    def of(cls, word: str) -> Priority:
        """Read the word of a rule, such as ``stat``."""
        return cls[word.upper()]

    @property
    def word(self) -> str:
        """As rules say it."""
        return self.name.lower()


#: how much later than low work each may come, and still go first: a stat image overtakes routine ones that
#: have waited for up to four hours, and none that has waited for longer
HEAD_START: Final[Mapping[Priority, timedelta]] = MappingProxyType(
    {
        Priority.LOW: timedelta(0),
        Priority.ROUTINE: timedelta(hours=8),
        Priority.HIGH: timedelta(hours=9),
        Priority.STAT: timedelta(hours=12),
    }
)


def turn(due_at: datetime, priority: Priority) -> datetime:
    """Give the moment by which waiting work is ordered, earliest first.

    It never changes while the work waits, so an index can keep the order; that waiting raises priority comes
    of the clock alone: what is due later than this by more than the longest head start comes after it,
    whatever its priority.
    """
    return due_at - HEAD_START[priority]
