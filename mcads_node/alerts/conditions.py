"""What an administrator has to know of: a pure look at how the node stands.

Texts go out of the house: they name studies by the node's own number, and never say what a peer or a file
said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from mcads_node.drift import LabelDrift, Measured
from mcads_node.workitems import Backlog, Stuck


class Kind(StrEnum):
    """Sorts of trouble."""

    QUARANTINE = "quarantine"
    UNREPORTED = "unreported"
    HELD = "held"
    DEAD_LETTERS = "dead-letters"
    DESTINATION = "destination"
    DELIVERIES = "deliveries"
    COMMITMENT = "commitment"
    QUEUE = "queue"
    DATABASE = "database"
    DISK = "disk"
    CERTIFICATE = "certificate"
    AUDIT = "audit"
    BACKUP = "backup"
    DRIFT = "drift"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """Something that is wrong now."""

    #: what it is about; the same trouble always has the same. What is of one machine ends in ``@host``
    key: str
    kind: Kind
    text: str
    #: what to do
    advice: str


@dataclass(frozen=True, kw_only=True)
class Limits:
    """From when on something is wrong."""

    queue_age: timedelta = timedelta(minutes=30)
    destination: timedelta = timedelta(minutes=60)
    certificate: timedelta = timedelta(days=30)
    #: what waits for a destination that can be reached; and for its Storage Commitment
    delivery: timedelta = timedelta(minutes=60)
    commitment: timedelta = timedelta(hours=24)
    #: one is made each day, and may take its time
    backup: timedelta = timedelta(hours=26)
    #: names of the destinations that there are; None: not looked at
    destinations: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class MachineView:
    """What only the machine itself can tell."""

    #: name of the machine
    host: str
    #: ``ample``, ``low`` or ``full``, and free bytes (None: the disk does not answer)
    room: str = "ample"
    free_bytes: int | None = None
    #: when certificates that the node uses expire, by what they are for
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    #: audit messages lost since the last look
    audit_lost: int = 0
    #: when the last whole backup was made, or since when there should be one; None: none are made
    backup_since: datetime | None = None
    #: how the scores of each model stood to those of before; empty: not measured
    drift: Mapping[str, Measured] = field(default_factory=dict)


#: more of one sort are told as one
MOST_OF_A_SORT = 100


def of_the_state(backlog: Backlog, stuck: Stuck, limits: Limits) -> list[Condition]:
    """Say what is wrong in the durable state."""
    found = [*_quarantined(stuck), *_held(stuck), *_dead_letters(stuck)]
    return [
        *_bounded(found),
        *_unreachable(backlog, limits),
        *_undelivered(backlog, limits),
        *_uncommitted(backlog, limits),
        *_queues(backlog, limits),
    ]


def of_the_machine(view: MachineView, limits: Limits, now: datetime) -> list[Condition]:
    """Say what is wrong with this machine."""
    return [
        *_disk(view),
        *_certificates(view, limits, now),
        *_audit(view),
        *_backup(view, limits, now),
        *_drift(view),
    ]


def database_away(host: str, reason: str) -> Condition:
    """Say that the durable state cannot be asked."""
    return Condition(
        key=f"database@{host}",
        kind=Kind.DATABASE,
        text=f"The database cannot be used: {reason}.",
        advice="Look at the disk and the database server; mcads-node check tells more.",
    )


def _quarantined(stuck: Stuck) -> Iterator[Condition]:
    for study, images in stuck.quarantined.items():
        yield Condition(
            key=f"quarantine/{study}",
            kind=Kind.QUARANTINE,
            text=f"Study no. {study}: {images} image(s) could not be analysed and are in quarantine.",
            advice=f"mcads-node show {study} tells why; once mended: mcads-node retry {study}",
        )
    for study in stuck.unreported:
        yield Condition(
            key=f"unreported/{study}",
            kind=Kind.UNREPORTED,
            text=f"Study no. {study}: its report could not be made.",
            advice=f"mcads-node show {study} tells why; once mended: mcads-node retry {study}",
        )


def _held(stuck: Stuck) -> Iterator[Condition]:
    for study, images in stuck.held.items():
        yield Condition(
            key=f"held/{study}",
            kind=Kind.HELD,
            text=f"Study no. {study}: {images} image(s) name another patient than the study, and are held.",
            advice="mcads-node held lists them; mcads-node release or mcads-node decline decides.",
        )


def _dead_letters(stuck: Stuck) -> Iterator[Condition]:
    for each in stuck.dead_letters:
        yield Condition(
            key=f"dead-letters/{each.destination}/{each.study}",
            kind=Kind.DEAD_LETTERS,
            text=f"Study no. {each.study}: {each.deliveries} object(s) were not delivered to"
            f" {each.destination}, and are no longer tried.",
            advice=f"mcads-node show {each.study} tells why; once mended: mcads-node retry {each.study}",
        )


def _bounded(found: Sequence[Condition]) -> Iterator[Condition]:
    counts: dict[Kind, int] = {}
    for each in found:
        counts[each.kind] = counts.get(each.kind, 0) + 1
        if counts[each.kind] <= MOST_OF_A_SORT:
            yield each
        elif counts[each.kind] == MOST_OF_A_SORT + 1:
            yield Condition(
                key=f"{each.kind}/more",
                kind=each.kind,
                text=f"More than {MOST_OF_A_SORT} studies have trouble of the sort {each.kind}.",
                advice="One cause for all is likely: see the journal, and mcads-node studies.",
            )


def _unreachable(backlog: Backlog, limits: Limits) -> Iterator[Condition]:
    for each in backlog.destinations:
        since = each.failing_since
        if since is not None and backlog.at - since >= limits.destination:
            yield Condition(
                key=f"destination/{each.name}",
                kind=Kind.DESTINATION,
                text=f"Destination {each.name} has not been reached since {_moment(since)};"
                f" {each.pending} object(s) wait for it.",
                advice=f"mcads-node echo {each.name}; what waits is sent by itself once it answers.",
            )


def _undelivered(backlog: Backlog, limits: Limits) -> Iterator[Condition]:
    for each in backlog.destinations:
        if not each.pending or each.oldest is None:
            continue
        if limits.destinations is not None and each.name not in limits.destinations:
            yield Condition(
                key=f"unknown-destination/{each.name}",
                kind=Kind.DELIVERIES,
                text=f"{each.pending} object(s) wait for {each.name}, which is no destination any more.",
                advice="Put it back into destinations of node.yaml, and start the node anew.",
            )
        elif each.failing_since is None and backlog.at - each.oldest >= limits.delivery:
            yield Condition(
                key=f"deliveries/{each.name}",
                kind=Kind.DELIVERIES,
                text=f"{each.pending} object(s) wait for {each.name}, which can be reached;"
                f" the oldest since {_moment(each.oldest)}.",
                advice="mcads-node check --live; is it slow, does it answer with failures, or does no"
                " process deliver?",
            )


def _uncommitted(backlog: Backlog, limits: Limits) -> Iterator[Condition]:
    for each in backlog.destinations:
        since = each.oldest_stored
        if since is not None and backlog.at - since >= limits.commitment:
            yield Condition(
                key=f"commitment/{each.name}",
                kind=Kind.COMMITMENT,
                text=f"{each.name} has not said that it keeps {each.awaiting_commitment} object(s);"
                f" the oldest is stored there since {_moment(since)}.",
                advice="Does it answer requests for Storage Commitment, and can it reach this node?",
            )


def _queues(backlog: Backlog, limits: Limits) -> Iterator[Condition]:
    for queue in backlog.queues:
        if queue.due_at is not None and backlog.at - queue.due_at >= limits.queue_age:
            yield Condition(
                key=f"queue/{queue.kind}",
                kind=Kind.QUEUE,
                text=f"Work of kind {queue.kind} waits since {_moment(queue.due_at)};"
                f" {queue.waiting} piece(s) in all.",
                advice="mcads-node check --live; are the workers overloaded, or is no process analysing?",
            )


def _disk(view: MachineView) -> Iterator[Condition]:
    if view.room == "ample":
        return
    free = "does not answer" if view.free_bytes is None else f"has {view.free_bytes >> 20} MiB left"
    consequence = "nothing is received any more" if view.room == "full" else "soon nothing can be received"
    yield Condition(
        # one that gets worse is another alert
        key=f"disk-{view.room}@{view.host}",
        kind=Kind.DISK,
        text=f"The disk of the data folder on {view.host} {free}: {consequence}.",
        advice="Make room, or shorten retention; disk.alert_below_mib and refuse_below_mib are the marks.",
    )


def _certificates(view: MachineView, limits: Limits, now: datetime) -> Iterator[Condition]:
    for use, expires_at in sorted(view.certificates.items()):
        if expires_at - now <= limits.certificate:
            verb = "expired" if expires_at <= now else "expires"
            yield Condition(
                key=f"certificate/{use}@{view.host}",
                kind=Kind.CERTIFICATE,
                text=f"The certificate of {use} on {view.host} {verb} on {_moment(expires_at)}.",
                advice="Put a new one in its place, then: systemctl reload mcads-node",
            )


def _audit(view: MachineView) -> Iterator[Condition]:
    if view.audit_lost:
        yield Condition(
            key=f"audit@{view.host}",
            kind=Kind.AUDIT,
            text=f"{view.audit_lost} message(s) of the audit trail could not be sent.",
            advice="Is the audit repository reached? The events are kept in the database.",
        )


def _backup(view: MachineView, limits: Limits, now: datetime) -> Iterator[Condition]:
    since = view.backup_since
    if since is not None and now - since >= limits.backup:
        yield Condition(
            key=f"backup@{view.host}",
            kind=Kind.BACKUP,
            text=f"No whole backup has been made since {_moment(since)}.",
            advice="See job.failed in the journal; mcads-node backup makes one, or says why it cannot.",
        )


def _drift(view: MachineView) -> Iterator[Condition]:
    drifted: dict[tuple[str, str], list[LabelDrift]] = {}
    for model, measured in view.drift.items():
        for week in measured.weeks:
            for each in week.labels:
                if each.drifted:
                    drifted.setdefault((model, each.label), []).append(each)
    for (model, label), found in drifted.items():
        index, distance = max(each.psi for each in found), max(each.ks for each in found)
        yield Condition(
            # which devices, the text does not say: their names are what files say
            key=f"drift/{model}/{label}@{view.host}",
            kind=Kind.DRIFT,
            text=f"The scores of {label} by {model} in the last 7 days are not distributed as before: PSI up "
            f"to {index:.2f}, KS up to {distance:.2f}.",
            advice="mcads-node drift tells which devices; did equipment, protocol or patients change?",
        )


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
