"""Signs of life of the threads without which the node would stand still and look alive.

A thread that does its round calls `beat`, and says within how many seconds it will again at the latest; one
that ends in good order calls `rest`. Whoever watches asks `silent`. A thread that died, hangs or waits for
itself falls silent.
"""

from __future__ import annotations

import threading
import time

_lock = threading.Lock()
#: by name of the thread: until when the sign of life holds, on the monotonic clock
_due: dict[str, float] = {}


def beat(within: float, name: str | None = None) -> None:
    """Say that the calling thread lives, and will say so again within so many seconds.

    Parameters
    ----------
    within
        Seconds; longer than the longest wait that is in order.
    name
        Whose sign it is; None: the thread's.
    """
    with _lock:
        _due[name or threading.current_thread().name] = time.monotonic() + within


def rest(name: str | None = None) -> None:
    """Say that the thread ends in good order: nothing is to be heard of it any more."""
    with _lock:
        _due.pop(name or threading.current_thread().name, None)


def silent() -> dict[str, float]:
    """Names of those that should have been heard of, and since how many seconds."""
    now = time.monotonic()
    with _lock:
        return {name: now - due for name, due in sorted(_due.items()) if due < now}


def heard() -> tuple[str, ...]:
    """Names of all that give signs of life, or should."""
    with _lock:
        return tuple(sorted(_due))
