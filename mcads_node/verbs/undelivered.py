"""What the verbs tell of destinations, and of what could not be brought to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from mcads_node.config import NodeConfig
from mcads_node.errors import PermanentError
from mcads_node.verbs.overview import state_of
from mcads_node.verbs.person import administrator
from mcads_node.workitems import DestinationLine
from mcads_node.yamlfile import load_yaml


def list_undelivered(config: Path, destination: str | None, limit: int) -> list[dict[str, Any]]:
    """Tell of the deliveries that are not tried any more, the newest first.

    Raises
    ------
    PermanentError
        There is no such destination, neither in the configuration nor on record.
    """
    workitems = state_of(config).workitems
    try:
        _require_known(config, destination, workitems.list_destinations())
        return [
            {
                "number": each.number,
                "study": each.study_number,
                "study_instance_uid": each.study_instance_uid,
                "destination": each.destination,
                "kind": str(each.kind or "original"),
                "sop_class_uid": each.sop_class_uid,
                "sop_instance_uid": each.sop_instance_uid,
                "attempts": each.attempts,
                "since": each.since.isoformat(),
                "ended_at": each.ended_at.isoformat(),
                "status": each.status,
                "reason": each.reason,
            }
            for each in workitems.list_undelivered(destination, limit)
        ]
    finally:
        workitems.close()


def retry_destination(config: Path, destination: str) -> int:
    """Have everything tried again that a destination did not get; gives the number of deliveries."""
    workitems = state_of(config).workitems
    try:
        _require_known(config, destination, workitems.list_destinations())
        return workitems.retry_undelivered(destination, who=administrator())
    finally:
        workitems.close()


def list_destinations(config: Path) -> list[dict[str, Any]]:
    """Tell how it stands with each destination, also with those that are no longer configured."""
    workitems = state_of(config).workitems
    try:
        lines = {line.name: line for line in workitems.list_destinations()}
    finally:
        workitems.close()
    configured = load_yaml(config, NodeConfig).destinations
    told = []
    for name in sorted({*configured, *lines}):
        section, line = configured.get(name), lines.get(name)
        told.append(
            {
                "name": name,
                "ae_title": section.ae_title if section else None,
                "host": section.host if section else None,
                "port": section.port if section else None,
                "state": _state(line, configured=section is not None),
                "failures": line.failures if line else 0,
                "since": _moment(line.failing_since if line else None),
                "next_attempt": _moment(line.deferred_until if line else None),
                "reason": line.reason if line else None,
                "pending": line.pending if line else 0,
                "oldest": _moment(line.oldest if line else None),
                "awaiting_commitment": line.awaiting_commitment if line else 0,
                "oldest_stored": _moment(line.oldest_stored if line else None),
                "undelivered": line.undelivered if line else 0,
            }
        )
    return told


def show_undelivered(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print the deliveries that are not tried any more."""
    for each in found:
        status = "" if each["status"] is None else f" (status 0x{each['status']:04X})"
        what = f"study {each['study']}: {each['kind']} → {each['destination']}{status}"
        text = f"{_short(each['ended_at'])}  {what}"
        console.print(escape(f"{text}: {each['reason']}"), highlight=False, soft_wrap=True)
    if not found:
        console.print("Nothing is undelivered.")


def show_destinations(console: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Print the state of the destinations."""
    table = Table()
    for column in ("destination", "state", "pending", "oldest", "commitment awaited", "undelivered"):
        table.add_column(column, overflow="fold")
    for each in found:
        state = each["state"]
        if each["failures"]:
            state = (
                f"[bold red]{state}[/] since {_short(each['since'])}, {each['failures']} failures, "
                f"next attempt {_short(each['next_attempt'])}: {escape(each['reason'])}"
            )
        table.add_row(
            each["name"],
            state,
            str(each["pending"]),
            _short(each["oldest"]),
            str(each["awaiting_commitment"]),
            str(each["undelivered"]),
        )
    console.print(table if found else "No destinations.")


def _state(line: DestinationLine | None, *, configured: bool) -> str:
    if not configured:
        return "not configured"
    return "deferred" if line is not None and line.failures else "reachable"


def _require_known(config: Path, name: str | None, lines: Sequence[DestinationLine]) -> None:
    configured = load_yaml(config, NodeConfig).destinations
    known = sorted({*configured, *(line.name for line in lines)})
    if name is not None and name not in known:
        raise PermanentError(f"no destination {name!r}: expected one of {', '.join(known) or 'none'}")


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _short(moment: str | None) -> str:
    return "" if moment is None else moment[:19].replace("T", " ")
