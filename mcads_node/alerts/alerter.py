"""The job that looks for trouble and tells it; it blocks nothing, and nothing waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from mcads_node import metrics
from mcads_node.alerts.bookkeeping import Step, due, refreshed, told
from mcads_node.alerts.conditions import (
    Condition,
    Limits,
    MachineView,
    database_away,
    of_the_machine,
    of_the_state,
)
from mcads_node.alerts.message import Channel, Message
from mcads_node.errors import NodeError
from mcads_node.workitems import AlertEntry, Workitems

log = structlog.stdlib.get_logger(__name__)

_Entries = dict[tuple[str, str], AlertEntry]


class LogChannel:
    """The journal, which is always told."""

    name = "log"

    def send(self, message: Message) -> None:
        """Log each."""
        for notice in message.notices:
            entry = notice.entry
            said = {"key": entry.key, "kind": entry.kind, "text": entry.text, "since": entry.raised_at}
            if notice.step is Step.RESOLVED:
                log.info("alert.resolved", **said)
            elif notice.step is Step.RAISED:
                log.error("alert.raised", **said, advice=entry.advice)
            else:
                log.error("alert.repeated", **said, advice=entry.advice)


@dataclass(frozen=True, kw_only=True)
class AlertSettings:
    """Who tells, and when."""

    ae_title: str
    limits: Limits = field(default_factory=Limits)
    repeat: timedelta = timedelta(hours=24)


class Alerter:
    """Looks for trouble, and tells of it by every way.

    Parameters
    ----------
    settings
        Who tells, and when.
    workitems
        The durable state, which also keeps what was told.
    view
        How the machine stands.
    channels
        Ways to an administrator besides the log.
    clock
        Gives the present moment, timezone-aware.
    """

    def __init__(
        self,
        settings: AlertSettings,
        workitems: Workitems,
        view: Callable[[], MachineView],
        channels: Sequence[Channel] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._workitems = workitems
        self._view = view
        self._channels: tuple[Channel, ...] = (LogChannel(), *channels)
        self._clock = clock
        #: as they were last read or written; what the database could not take is not told again meanwhile
        self._entries: _Entries = {}
        self._unsaved: set[tuple[str, str]] = set()

    def run(self) -> None:
        """Look once, and tell what is to be told. A way that fails is tried again the next time."""
        now, view = self._clock(), self._view()
        conditions = of_the_machine(view, self._settings.limits, now)
        try:
            entries = self._load()
            backlog, stuck = self._workitems.backlog(), self._workitems.stuck()
            conditions += of_the_state(backlog, stuck, self._settings.limits)
            whole = True
        except NodeError as error:
            # out of reach, or damaged: what cannot be asked is neither raised nor resolved
            entries, whole = dict(self._entries), False
            conditions.append(database_away(view.host, str(error)))

        def is_ours(key: str) -> bool:
            _, local, host = key.rpartition("@")
            return host == view.host if local else whole

        after = {at: entry for at, entry in entries.items() if not is_ours(entry.key)}
        try:
            for channel in self._channels:
                mine = {
                    key: each
                    for (name, key), each in entries.items()
                    if name == channel.name and is_ours(key)
                }
                for entry in self._tell(channel, mine, conditions, view.host).values():
                    after[channel.name, entry.key] = entry
        finally:
            self._save(entries, after)

    def _tell(
        self, channel: Channel, mine: dict[str, AlertEntry], conditions: Sequence[Condition], host: str
    ) -> dict[str, AlertEntry]:
        now = self._clock()
        entries = refreshed(channel.name, mine, conditions, now)
        notices = due(entries, now, self._settings.repeat)
        if not notices:
            return entries
        message = Message(ae_title=self._settings.ae_title, host=host, at=now, notices=tuple(notices))
        try:
            channel.send(message)
        except Exception as error:  # noqa: BLE001 - a defect of one way must silence no other
            reason = str(error) if isinstance(error, NodeError) else f"a defect: {type(error).__name__}"
            log.error("alert.unsent", channel=channel.name, alerts=len(notices), reason=reason)
            metrics.alert_sent(channel.name, ok=False)
            return entries
        metrics.alert_sent(channel.name, ok=True)
        return told(entries, notices, now)

    def _load(self) -> _Entries:
        kept = {(each.channel, each.key): each for each in self._workitems.alert_entries()}
        for at in self._unsaved:
            if at in self._entries:
                kept[at] = self._entries[at]
            else:
                kept.pop(at, None)
        return kept

    def _save(self, before: _Entries, after: _Entries) -> None:
        changed = {at for at in before.keys() | after.keys() if before.get(at) != after.get(at)}
        changed |= self._unsaved
        self._entries, self._unsaved = after, changed
        if not changed:
            return
        try:
            self._workitems.save_alerts(
                [after[at] for at in sorted(changed) if at in after],
                [at for at in sorted(changed) if at not in after],
            )
        except NodeError as error:
            log.warning("alert.unsaved", reason=str(error))
            return
        self._unsaved = set()
