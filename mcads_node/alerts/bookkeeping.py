"""What is to be told by one way, given what was told and what is wrong now: pure.

::

              wrong                 told                       no longer wrong
    (nothing) ─────▶ raised, untold ────▶ told ─ again after ─▶ ended ─── told ──▶ (nothing)
                         │                 ▲    repeat            │
                         └─ mended: forgotten   └── wrong again ──┘

An end is told only when it has lasted: what comes and goes is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from mcads_node.alerts.conditions import Condition
from mcads_node.workitems import AlertEntry

#: how long something must have been in order before that is told
SETTLE = timedelta(minutes=5)

Entries = Mapping[str, AlertEntry]


class Step(StrEnum):
    """What is told of an alert."""

    RAISED = "raised"
    REPEATED = "repeated"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something to be told."""

    step: Step
    entry: AlertEntry


def refreshed(
    channel: str, entries: Entries, conditions: Iterable[Condition], now: datetime
) -> dict[str, AlertEntry]:
    """Bring the entries of a way, by key, into line with what is wrong now."""
    wrong = {each.key: each for each in conditions}
    after: dict[str, AlertEntry] = {}
    for key, condition in wrong.items():
        old = entries.get(key)
        after[key] = AlertEntry(
            channel=channel,
            key=key,
            kind=condition.kind.value,
            text=condition.text,
            advice=condition.advice,
            raised_at=old.raised_at if old else now,
            told_at=old.told_at if old else None,
        )
    for key, old in entries.items():
        # what ended before it was told is forgotten
        if key not in wrong and old.told_at is not None:
            after[key] = replace(old, ended_at=old.ended_at or now)
    return after


def due(entries: Entries, now: datetime, repeat: timedelta) -> list[Notice]:
    """Say what is to be told now, the new first."""
    notices = [
        Notice(step=step, entry=each) for each in entries.values() if (step := _step(each, now, repeat))
    ]
    return sorted(notices, key=lambda notice: (list(Step).index(notice.step), notice.entry.key))


def _step(entry: AlertEntry, now: datetime, repeat: timedelta) -> Step | None:
    if entry.told_at is None:
        return Step.RAISED
    # the clock may have been set back meanwhile: a moment in the future is as far away as one in the past
    if entry.ended_at is not None:
        return Step.RESOLVED if abs(now - entry.ended_at) >= SETTLE else None
    return Step.REPEATED if abs(now - entry.told_at) >= repeat else None


def told(entries: Entries, notices: Iterable[Notice], now: datetime) -> dict[str, AlertEntry]:
    """Write down that these were told."""
    after = dict(entries)
    for notice in notices:
        if notice.step is Step.RESOLVED:
            del after[notice.entry.key]
        else:
            after[notice.entry.key] = replace(notice.entry, told_at=now)
    return after
