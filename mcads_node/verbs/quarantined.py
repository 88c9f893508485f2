"""Work that was given up, over all studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from mcads_node.verbs.overview import state_of


def list_quarantined(config: Path, limit: int) -> list[dict[str, Any]]:
    """Tell of the images and reports that wait for a person, the last given up first."""
    workitems = state_of(config).workitems
    try:
        return [
            {
                "workitem": each.number,
                "kind": str(each.kind),
                "study": each.study_number,
                "study_instance_uid": each.study_instance_uid,
                "sop_instance_uid": each.sop_instance_uid,
                "since": each.since.isoformat(),
                "attempts": each.attempts,
                "deaths": each.deaths,
                "reason": each.reason,
            }
            for each in workitems.list_quarantined(limit)
        ]
    finally:
        workitems.close()


def show_quarantined(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print what :func:`list_quarantined` told."""
    for each in found:
        what = "report" if each["kind"] == "report" else f"image {each['sop_instance_uid']}"
        text = f"{each['since'][:19].replace('T', ' ')}  study {each['study']}, {what}: {each['reason']}"
        console.print(escape(text), highlight=False, soft_wrap=True)
    if not found:
        console.print("Nothing is quarantined.")
