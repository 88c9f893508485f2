"""The verb ``events``: the record of who did what, to what, when and why."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from mcads_node.verbs.overview import state_of, which


def list_events(config: Path, study: str | None, since: datetime | None, limit: int) -> list[dict[str, Any]]:
    """Tell of events in the order they happened.

    Parameters
    ----------
    config
        ``node.yaml``.
    study
        Number or UID; None: of all studies, and of the node itself.
    since
        The first ones since then, by the clock of this machine where it has no zone; None: the last ones.
    limit
        How many.

    Raises
    ------
    PermanentError
        The study is not on record.
    """
    workitems = state_of(config).workitems
    try:
        found = workitems.list_events(
            None if study is None else which(study), None if since is None else since.astimezone(), limit
        )
    finally:
        workitems.close()
    return [
        {
            "number": event.number,
            "at": event.at.isoformat(),
            "who": event.who,
            "what": event.what,
            "subject": event.subject,
            "study_instance_uid": event.study_instance_uid,
            "why": event.why,
        }
        for event in found
    ]
