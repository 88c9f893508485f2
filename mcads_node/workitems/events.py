"""The append-only record of who did what, to what, when and why."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert

from mcads_node.workitems.engine import Transaction
from mcads_node.workitems.schema import events

#: made once: to make a statement takes longer than to execute it
_APPEND = insert(events)

#: who, where the node acts by itself
NODE = "node"

#: a reason longer than this says nothing more to a person
_LONGEST = 1000


@dataclass(frozen=True, kw_only=True)
class Happening:
    """One thing that happened; when is the transaction's moment."""

    who: str
    what: str
    #: a row, such as ``workitem 7``
    subject: str
    #: the node's number of the study it belongs to
    study: int | None = None
    why: str | None = None


def record(tx: Transaction, *happenings: Happening) -> None:
    """Append events."""
    rows = [
        {
            "at": tx.now,
            "who": clean(each.who)[:255] or "unknown",
            "what": each.what,
            "subject": each.subject,
            "study_id": each.study,
            "why": None if each.why is None else clean(each.why),
        }
        for each in happenings
    ]
    if rows:
        tx.connection.execute(_APPEND, rows)


def clean(reason: str) -> str:
    """Make a text fit to be stored.

    PostgreSQL takes no NUL, no database takes half a surrogate pair (of bytes that a library could not
    decode), and a foreign library may say too much.
    """
    return reason.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")[:_LONGEST]
