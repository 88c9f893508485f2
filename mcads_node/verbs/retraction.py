"""Take back what was reported of a study: the verb ``retract``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from mcads_node.errors import TransientError
from mcads_node.read.part10 import read_dataset
from mcads_node.report.key_objects import (
    REJECTED_FOR_QUALITY,
    REJECTED_FOR_SAFETY,
    RejectedObject,
    rejection_note,
)
from mcads_node.result import ReportContext, ResultObject
from mcads_node.state import State
from mcads_node.verbs.overview import state_of, which
from mcads_node.verbs.person import administrator
from mcads_node.workitems import Retractable, Retraction, StoredResult

#: how often a note is made anew where more was sent in the meantime, or a report is being written:
#: some seconds
_ATTEMPTS = 10
_PAUSE_SECONDS = 0.5


def retract_study(config: Path, study: str, reason: str, *, for_safety: bool) -> Retraction:
    """Make the rejection note of a study, and have the node that runs send it.

    Parameters
    ----------
    config
        ``node.yaml``.
    study
        The node's number of the study, or its UID.
    reason
        Why, in words; they stand in the note.
    for_safety
        Whether the note is titled "Rejected for Patient Safety Reasons", not "for Quality Reasons".

    Raises
    ------
    PermanentError
        The study is not on record, or nothing of it is left to retract.
    ReportImpossible
        No valid note can be made of the source's header.
    """
    state = state_of(config)
    try:
        for _ in range(_ATTEMPTS):
            done = _retract(state, study, reason, for_safety=for_safety)
            if done is not None:
                return done
            time.sleep(_PAUSE_SECONDS)
    finally:
        state.close()
    raise TransientError(f"study {study} is being reported just now: retract it when that is done")


def _retract(state: State, study: str, reason: str, *, for_safety: bool) -> Retraction | None:
    what = state.workitems.retractable(which(study))
    context = ReportContext(
        installation=state.workitems.installation(),
        series_started=what.first_received_at,
        created=datetime.now(UTC),
    )
    note = _note(what, reason, context, for_safety=for_safety)
    stored = StoredResult.of(note, state.results.write(note.data))
    return state.workitems.retract(what, stored, reason, who=administrator())


def _note(what: Retractable, reason: str, context: ReportContext, *, for_safety: bool) -> ResultObject:
    return rejection_note(
        read_dataset(what.header),
        [
            RejectedObject(
                sop_class_uid=each.sop_class_uid,
                sop_instance_uid=each.sop_instance_uid,
                series_instance_uid=each.series_instance_uid,
            )
            for each in what.objects
        ],
        reason,
        context,
        serial=what.notes + 1,
        title=REJECTED_FOR_SAFETY if for_safety else REJECTED_FOR_QUALITY,
    )
