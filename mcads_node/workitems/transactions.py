"""What every part of the durable state needs: the database, the clock, and one transaction a method."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from mcads_node.workitems.engine import Database, Transaction


class Transactions:
    """Begins transactions at the moment of a clock."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._random = secrets.SystemRandom().random

    @contextmanager
    def _write(self) -> Iterator[Transaction]:
        with self._database.write() as connection:
            yield Transaction(connection=connection, now=self._clock())

    @contextmanager
    def _read(self) -> Iterator[Transaction]:
        with self._database.read() as connection:
            yield Transaction(connection=connection, now=self._clock())
