"""What waits and how the machine stands, as Prometheus' gauges: read when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from mcads_node.drift import ALL_DEVICES, Measured
from mcads_node.metrics import Gauge
from mcads_node.workitems import Backlog


@dataclass(frozen=True, kw_only=True)
class Machine:
    """How this process and its machine stand."""

    free_bytes: int | None
    #: 0: ample, 1: low, 2: full
    disk_level: int
    #: None: the database cannot be asked
    database_bytes: int | None
    #: None: this process does not analyse
    workers_alive: int | None
    #: when certificates that the node uses expire, by what they are for
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    #: vital threads that have fallen silent
    threads_silent: int = 0
    #: when the last whole backup was made, or since when there should be one; None: none are looked for
    backup_since: datetime | None = None
    #: by the model's name; empty: not measured
    drift: Mapping[str, Measured] = field(default_factory=dict)


def gauges(machine: Machine, backlog: Backlog | None) -> list[Gauge]:
    """Say all that can be said; `backlog` None: the database cannot be asked."""
    return [
        *_of_machine(machine),
        *(_of_drift(machine.drift) if machine.drift else ()),
        *(_of_backlog(backlog) if backlog is not None else ()),
    ]


def _of_machine(machine: Machine) -> list[Gauge]:
    certificates = tuple(((use,), moment.timestamp()) for use, moment in sorted(machine.certificates.items()))
    return [
        _single("mcads_disk_free_bytes", "Free space that the node may use.", machine.free_bytes),
        _single(
            "mcads_disk_level", "0 ample, 1 below the first mark, 2 below the second.", machine.disk_level
        ),
        _single("mcads_database_up", "Whether the database can be read.", machine.database_bytes is not None),
        _single("mcads_database_bytes", "Size of the database.", machine.database_bytes),
        _single("mcads_workers_alive", "Worker processes with a model.", machine.workers_alive),
        _single("mcads_threads_silent", "Vital threads that stand still.", machine.threads_silent),
        _single(
            "mcads_backup_timestamp_seconds",
            "When the last whole backup was made, or since when there should be one.",
            None if machine.backup_since is None else machine.backup_since.timestamp(),
        ),
        Gauge(
            name="mcads_certificate_expiry_timestamp_seconds",
            meaning="When a certificate of the node's expires.",
            labels=("use",),
            samples=certificates,
        ),
    ]


def _of_drift(drift: Mapping[str, Measured]) -> list[Gauge]:
    """Of each label, of which there are few, the device that drifted most; devices are no labels here."""
    worst: dict[tuple[str, str], tuple[float, float]] = {}
    present: dict[tuple[str, str], float] = {}
    images: dict[tuple[str, ...], float] = {}
    for model, measured in drift.items():
        images[(model,)] = 0.0
        for week in measured.weeks:
            everything = week.device == ALL_DEVICES
            images[(model,)] += week.images if everything else 0
            for each in week.labels:
                index, distance = worst.get((model, each.label), (0.0, 0.0))
                worst[model, each.label] = max(index, each.psi), max(distance, each.ks)
                if everything:
                    present[model, each.label] = each.positives.value

    def by_label(name: str, meaning: str, values: Mapping[tuple[str, str], float]) -> Gauge:
        return Gauge(name=name, meaning=meaning, labels=("model", "label"), samples=tuple(values.items()))

    return [
        by_label(
            "mcads_drift_psi",
            "Population stability index of the last 7 days' scores, of the device where it is largest.",
            {key: index for key, (index, _) in worst.items()},
        ),
        by_label(
            "mcads_drift_ks",
            "Kolmogorov-Smirnov distance of the same, of the device where it is largest.",
            {key: distance for key, (_, distance) in worst.items()},
        ),
        by_label("mcads_drift_present_share", "Share of the last 7 days' images with the finding.", present),
        Gauge(
            name="mcads_drift_images",
            meaning="Images of the last 7 days.",
            labels=("model",),
            samples=tuple(images.items()),
        ),
    ]


def _of_backlog(backlog: Backlog) -> list[Gauge]:
    now = backlog.at

    def age(moment: datetime | None) -> float:
        return max(0.0, (now - moment).total_seconds()) if moment else 0.0

    def by_kind(name: str, meaning: str, values: list[float]) -> Gauge:
        pairs = zip(backlog.queues, values, strict=True)
        samples = tuple(((queue.kind.value,), value) for queue, value in pairs)
        return Gauge(name=name, meaning=meaning, labels=("kind",), samples=samples)

    def by_destination(name: str, meaning: str, values: list[float]) -> Gauge:
        pairs = zip(backlog.destinations, values, strict=True)
        samples = tuple(((line.name,), value) for line, value in pairs)
        return Gauge(name=name, meaning=meaning, labels=("destination",), samples=samples)

    queues, lines = backlog.queues, backlog.destinations
    left_alone = [float(line.deferred_until is not None and line.deferred_until > now) for line in lines]
    return [
        by_kind("mcads_queue_waiting", "Work that waits.", [queue.waiting for queue in queues]),
        by_kind(
            "mcads_queue_off_peak",
            "Of the work that waits, what waits for its hours.",
            [queue.held for queue in queues],
        ),
        by_kind("mcads_queue_in_progress", "Work under way.", [queue.in_progress for queue in queues]),
        by_kind(
            "mcads_queue_age_seconds",
            "Since when the oldest work that is due has been due.",
            [age(queue.due_at) for queue in queues],
        ),
        by_destination(
            "mcads_deliveries_pending",
            "Objects that wait for a destination.",
            [line.pending for line in lines],
        ),
        by_destination(
            "mcads_deliveries_age_seconds",
            "Since when the oldest of them has waited.",
            [age(line.oldest) for line in lines],
        ),
        by_destination(
            "mcads_deliveries_uncommitted",
            "Objects stored whose Storage Commitment is awaited.",
            [line.awaiting_commitment for line in lines],
        ),
        by_destination(
            "mcads_deliveries_uncommitted_age_seconds",
            "Since when the oldest of them has been stored.",
            [age(line.oldest_stored) for line in lines],
        ),
        by_destination(
            "mcads_deliveries_dead_letters",
            "Objects that were not delivered and are no longer tried.",
            [line.undelivered for line in lines],
        ),
        by_destination(
            "mcads_destination_failing_seconds",
            "Since when a destination cannot be reached; 0: it can.",
            [age(line.failing_since) for line in lines],
        ),
        by_destination(
            "mcads_destination_circuit_open", "1: it is left alone for a while, unreachable.", left_alone
        ),
        _single("mcads_instances_quarantined", "Images in quarantine.", backlog.quarantined),
        _single("mcads_instances_held", "Images that name another patient.", backlog.held),
        _single("mcads_studies_unreported", "Studies whose report could not be made.", backlog.unreported),
    ]


def _single(name: str, meaning: str, value: float | None) -> Gauge:
    return Gauge(name=name, meaning=meaning, samples=() if value is None else (((), float(value)),))
