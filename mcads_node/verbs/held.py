"""Images that name another patient than their study: the verbs ``held``, ``release`` and ``decline``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from mcads_node.errors import NodeError
from mcads_node.read.part10 import read_header
from mcads_node.spool import Spool
from mcads_node.verbs.overview import state_of, which
from mcads_node.verbs.person import administrator
from mcads_node.workitems import HeldInstance, Released

_KEYWORDS = ("PatientID", "IssuerOfPatientID")


def list_held(config: Path, limit: int, *, identify: bool) -> list[dict[str, Any]]:
    """Tell of the images that are held, by study; `identify`: with the Patient IDs, read from their files."""
    state = state_of(config)
    try:
        return [
            _told(each) | (_identified(each, state.spool) if identify else {})
            for each in state.workitems.list_held(limit)
        ]
    finally:
        state.close()


def release_held(
    config: Path, study: str, image: int | None, *, new_patient: bool, keep_results: bool
) -> Released:
    """Take held images in: the study is of their patient from now on, or the patient is the same."""
    workitems = state_of(config).workitems
    try:
        return workitems.release_held(
            which(study),
            image=image,
            new_patient=new_patient,
            keep_results=keep_results,
            who=administrator(),
        )
    finally:
        workitems.close()


def decline_held(config: Path, study: str, image: int | None, reason: str) -> int:
    """Decline held images: they are not of their study."""
    workitems = state_of(config).workitems
    try:
        return workitems.decline_held(which(study), reason, image=image, who=administrator())
    finally:
        workitems.close()


def show_held(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print what :func:`list_held` told."""
    for each in found:
        text = f"{each['received_at'][:19].replace('T', ' ')}  study {each['study']}, image {each['image']}"
        text += f" from {each['requestor']}: names another patient (no. {each['candidate']})"
        if each["stands_in"]:
            text += ", under a SOP Instance UID that is known"
        if "patient" in each:
            text += f"; {each['patient']} instead of {each['patient_of_study']}"
        console.print(escape(text), highlight=False, soft_wrap=True)
    if not found:
        console.print("Nothing is held.")
    else:
        console.print("What was reported before is taken back first, if it has to be: mcads-node retract")


def _told(each: HeldInstance) -> dict[str, Any]:
    return {
        "study": each.study_number,
        "study_instance_uid": each.study_instance_uid,
        "image": each.number,
        "sop_instance_uid": each.sop_instance_uid,
        "requestor": each.requestor,
        "received_at": each.received_at.isoformat(),
        "candidate": each.candidate,
        "stands_in": each.stands_in,
    }


def _identified(each: HeldInstance, spool: Spool) -> dict[str, str]:
    return {"patient": _patient(spool, each.path), "patient_of_study": _patient(spool, each.other_path)}


def _patient(spool: Spool, path: str | None) -> str:
    if path is None:
        return "(the file is not there)"
    try:
        header = read_header(spool.read(path))
    except NodeError:
        return "(the file cannot be read)"
    return " / ".join(str(header.get(keyword) or "") for keyword in _KEYWORDS).removesuffix(" / ")
