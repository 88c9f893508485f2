"""What watches a node: its health port, systemd's watchdog, and the job that alerts."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from mcads_node import __version__, metrics, pulse
from mcads_node.alerts.alerter import Alerter, AlertSettings
from mcads_node.alerts.conditions import Limits, MachineView
from mcads_node.alerts.email import EmailChannel
from mcads_node.alerts.message import Channel
from mcads_node.alerts.webhook import WebhookChannel
from mcads_node.config import AlertsSection, Configuration
from mcads_node.disk import DiskGuard, Room
from mcads_node.drift import Measured
from mcads_node.errors import NodeError, TransientError
from mcads_node.monitoring.endpoint import Endpoint, Pages
from mcads_node.monitoring.gauges import Machine, gauges
from mcads_node.monitoring.health import Finding, Readiness, liveness
from mcads_node.monitoring.watchdog import Watchdog
from mcads_node.service.backups import BackupWatch
from mcads_node.service.drifting import DriftWatch
from mcads_node.service.roles import ALL_ROLES, Role
from mcads_node.state import State
from mcads_node.tend import Job
from mcads_node.workitems import Backlog, Stewardship

ALERT_EVERY = timedelta(seconds=60)
#: the clock's job that gives its signs of life runs every minute
_TENDER, _SILENCE_SECONDS = "tend", 900.0
_LOSSES_SECONDS = 3600.0
_LEVELS = {Room.AMPLE: 0, Room.LOW: 1, Room.FULL: 2}
#: a process of some roles answers at a port of its own: so far behind monitoring.port
_OFFSETS = {Role.RECEIVE: 1, Role.ANALYSE: 2, Role.DELIVER: 3, Role.TEND: 4}


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What there is to be looked at."""

    configuration: Configuration
    roles: Collection[Role]
    state: State
    disk: DiskGuard
    #: the port that the receiver listens on; None where it does not
    receiver_port: Callable[[], int | None]
    #: worker processes that live; None where this process does not analyse
    workers_alive: Callable[[], int | None]
    #: when certificates expire, by what they are for
    certificates: Callable[[], Mapping[str, datetime]] = dict
    #: audit messages lost, ever
    audit_lost: Callable[[], int] = int
    backups: BackupWatch = field(default_factory=BackupWatch)
    #: None: drift is not looked for
    drift: DriftWatch | None = None


class Watch:
    """Health port and watchdog of a process."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        config = watched.configuration.node
        metrics.use_peers((each.ae_title for each in config.requestors), config.destinations)
        self._ready = Readiness(_checks(watched))
        pages = Pages(
            metrics=lambda: metrics.exposition(gauges(*_measured(watched))),
            liveness=liveness,
            readiness=self._ready,
            identity={
                "ae_title": config.node.ae_title,
                "data_dir": str(config.node.data_dir),
                "roles": sorted(watched.roles),
                "version": __version__,
            },
        )
        port = monitoring_port(config.monitoring.port, watched.roles)
        self._endpoint = None if port is None else Endpoint(config.monitoring.host, port, pages)
        self._watchdog = Watchdog(pulse.silent, lambda: status_line(watched))

    def start(self) -> None:
        """Answer, and tell systemd."""
        if self._endpoint is not None:
            self._endpoint.start()
        self._watchdog.start()

    def end(self) -> None:
        """Say that the node is stopping, to whoever asks."""
        self._ready.end()

    def stop(self) -> None:
        """Answer no more."""
        pulse.rest(_TENDER)
        self._watchdog.stop()
        if self._endpoint is not None:
            self._endpoint.stop()


def monitoring_port(port: int | None, roles: Collection[Role]) -> int | None:
    """Give the port at which a process with these roles answers."""
    if not port or frozenset(roles) == ALL_ROLES:
        return port
    # the first of its roles, in the order of the path
    return port + next(offset for role, offset in _OFFSETS.items() if role in roles)


def alert_job(watched: Watched, stewardship: Stewardship) -> Job:
    """Make the job that alerts, where no other node does so for all that share the database."""
    config = watched.configuration.node
    alerts = config.alerts
    settings = AlertSettings(
        ae_title=config.node.ae_title,
        limits=limits_of(alerts, config.destinations),
        repeat=timedelta(hours=alerts.repeat_hours),
    )
    workitems = watched.state.workitems
    losses = _Losses(watched.audit_lost)
    alerter = Alerter(settings, workitems, lambda: _view(watched, losses), channels_of(alerts))

    def run() -> None:
        pulse.beat(within=_SILENCE_SECONDS, name=_TENDER)
        # what one told, another would take back that does not find it on its own machine
        if stewardship.have():
            alerter.run()

    return Job(name="alert", run=run, every=ALERT_EVERY, soon=True)


def limits_of(alerts: AlertsSection, destinations: Collection[str] | None = None) -> Limits:
    """Give from when on something is wrong."""
    return Limits(
        queue_age=timedelta(minutes=alerts.queue_age_minutes),
        destination=timedelta(minutes=alerts.destination_minutes),
        certificate=timedelta(days=alerts.certificate_days),
        delivery=timedelta(minutes=alerts.delivery_minutes),
        commitment=timedelta(hours=alerts.commitment_hours),
        destinations=None if destinations is None else frozenset(destinations),
    )


def channels_of(alerts: AlertsSection) -> list[Channel]:
    """Give the ways to an administrator that are configured."""
    channels: list[Channel] = []
    if alerts.webhook is not None:
        channels.append(WebhookChannel(alerts.webhook))
    if alerts.email is not None:
        channels.append(EmailChannel(alerts.email))
    return channels


def status_line(watched: Watched) -> str:
    """Say in one line, for ``systemctl status``, how the node stands."""
    port = watched.receiver_port()
    where = ", ".join(sorted(watched.roles)) if port is None else f"listening on port {port}"
    backlog = watched.state.workitems.backlog()
    queued = sum(queue.waiting + queue.in_progress for queue in backlog.queues)
    pending = sum(line.pending for line in backlog.destinations)
    dead = [line.name for line in backlog.destinations if line.failing_since is not None]
    unreachable = f"; not reached: {', '.join(dead)}" if dead else ""
    quarantined = f"; {backlog.quarantined} quarantined" if backlog.quarantined else ""
    return f"{where}; {queued} in work, {pending} to deliver{unreachable}{quarantined}"


def _view(watched: Watched, losses: _Losses) -> MachineView:
    return MachineView(
        host=watched.configuration.node.node.machine,
        room=watched.disk.room().value,
        free_bytes=_free(watched.disk),
        certificates=watched.certificates(),
        audit_lost=losses.recent(),
        backup_since=watched.backups.since,
        drift=_drift(watched),
    )


def _drift(watched: Watched) -> Mapping[str, Measured]:
    return watched.drift.measured if watched.drift is not None else {}


class _Losses:
    """Audit messages lost of late: an alert of them ends when none was lost for a while."""

    def __init__(self, ever: Callable[[], int]) -> None:
        self._ever = ever
        self._looks: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def recent(self) -> int:
        now, ever = time.monotonic(), self._ever()
        self._looks.append((now, ever))
        while len(self._looks) > 1 and now - self._looks[0][0] > _LOSSES_SECONDS:
            self._looks.popleft()
        return ever - self._looks[0][1]


def _measured(watched: Watched) -> tuple[Machine, Backlog | None]:
    backlog, size = None, None
    try:
        backlog, size = watched.state.workitems.backlog(), watched.state.workitems.database_bytes()
    except NodeError:
        # mcads_database_up says so; what was counted is told all the same
        backlog = None
    machine = Machine(
        free_bytes=_free(watched.disk),
        disk_level=_LEVELS[watched.disk.room()],
        database_bytes=None if backlog is None else size,
        workers_alive=watched.workers_alive(),
        certificates=watched.certificates(),
        threads_silent=len(pulse.silent()),
        backup_since=watched.backups.since if Role.TEND in watched.roles else None,
        drift=_drift(watched) if Role.TEND in watched.roles else {},
    )
    return machine, backlog


def _free(disk: DiskGuard) -> int | None:
    try:
        return disk.free_bytes()
    except TransientError:
        return None


def _checks(watched: Watched) -> dict[str, Callable[[], Finding]]:
    def database() -> Finding:
        watched.state.workitems.check_writable()
        return Finding(ok=True, text="can be written")

    def disk() -> Finding:
        room, free = watched.disk.room(), _free(watched.disk)
        said = "does not answer" if free is None else f"{free >> 20} MiB free"
        return Finding(ok=room is not Room.FULL, text=f"{said} ({room.value})")

    def receiver() -> Finding:
        port = watched.receiver_port()
        return Finding(ok=port is not None, text="does not listen" if port is None else f"port {port}")

    def model() -> Finding:
        alive = watched.workers_alive() or 0
        return Finding(ok=alive > 0, text=f"{alive} worker(s) with {_model(watched)}")

    def threads() -> Finding:
        silent = pulse.silent()
        return Finding(ok=not silent, text=f"silent: {', '.join(silent)}" if silent else "alive")

    checks = {"threads": threads, "database": database, "disk": disk}
    if Role.RECEIVE in watched.roles:
        checks["receiver"] = receiver
    if Role.ANALYSE in watched.roles:
        checks["model"] = model
    return checks


def _model(watched: Watched) -> str:
    return watched.configuration.node.analysis.model
