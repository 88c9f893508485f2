"""Doing a transaction again that the database undid in favour of another."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from mcads_node.workitems.engine import Undone

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

#: two transactions that met once seldom meet again; one that is undone so often has another trouble
_ATTEMPTS = 5


def again(transaction: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Repeat a function that is one whole transaction when it was undone (deadlock, serialization)."""

    @wraps(transaction)
    def repeated(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        for attempt in range(1, _ATTEMPTS):
            try:
                return transaction(*args, **kwargs)
            except Undone:
                time.sleep(random.uniform(0, 0.05 * attempt))  # noqa: S311 - so that the two do not meet again
        return transaction(*args, **kwargs)

    return repeated
