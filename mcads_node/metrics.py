"""What the node counts, for Prometheus; the only home of prometheus_client.

Whoever sees something happen calls the function that is named for it; nothing here can fail or block:

=================================================  =====================================================
``use_peers(requestors, destinations)``            once at the start: who may be a label
``describe(version, model, weights)``              once at the start
``received(calling, status)``                      a C-STORE was answered, with which status
``duplicate(same_content)``                        its SOP Instance UID was on record already
``association_rejected(calling, why)``             see `Rejection`
``tls_failed(direction)``                          a handshake failed: ``in`` or ``out``
``declined()``                                     an instance was declined
``analysed(seconds)``                              an instance was analysed; seconds since receipt
``analysed_besides(model, shadow)``                an image was analysed again, or as a shadow
``reported(seconds)``                              a report was made; see there
``triaged(level)``                                 a study was reported first, with a level or without one
``work_failed(kind, error, quarantined)``          an attempt failed; kind: ``analyse`` or ``report``
``lease_expired()``                                nobody spoke for a piece of work any more
``worker_ended(how)``                              a worker process was lost: see `WorkerEnd`
``delivered(destination, seconds)``                stored; seconds since it was due first
``delivery_failed(destination, kind)``             see `DeliveryFailure`
``commitment(destination, outcome)``               see `CommitmentOutcome`; of one instance
``job_ended(job, seconds, ok)``                    a job of the tender ended
``alert_sent(channel, ok)``                        ``log``, ``webhook``, ``email``
``pulled(source, received, failed)``               a study was asked of an archive
``audit_lost(count)``                              audit messages that could not be sent
=================================================  =====================================================

Labels never carry what a peer made up: an AE title that is not configured becomes
"unlisted". No patient data.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    Summary,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from mcads_node.errors import NodeError

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

#: why an association (or a presentation context) was not accepted
Rejection = Literal[
    "unknown_ae_title", "unknown_address", "called_ae_title", "limit", "requestor_limit", "congested",
    "no_context", "too_large", "tls", "other",
]  # fmt: skip
WorkerEnd = Literal["timeout", "crash"]
#: unreachable: the destination; refused: by the peer; given_up: too old or too often; retried: later
DeliveryFailure = Literal["unreachable", "refused", "given_up", "retried"]
CommitmentOutcome = Literal["requested", "committed", "failed", "unanswered"]

#: label of everyone who is not configured
UNLISTED = "unlisted"

#: seconds; an analysis takes one to some, a report waits for the study's quiet period, a night is long
_BUCKETS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)

REGISTRY = CollectorRegistry()
# memory, processor time and file descriptors of this process
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)


def _counter(name: str, meaning: str, *labels: str) -> Counter:
    return Counter(name, meaning, labels, registry=REGISTRY)


def _seconds(name: str, meaning: str, *labels: str) -> Histogram:
    return Histogram(name, meaning, labels, buckets=_BUCKETS, registry=REGISTRY)


# when a series was begun is of no use to anyone here
disable_created_metrics()  # type: ignore[no-untyped-call]
_info = Info("mcads_node", "Versions of node, model and weights.", registry=REGISTRY)
_received = _counter(
    "mcads_instances_received", "C-STORE requests answered.", "requestor", "status"
)  # fmt: skip
_duplicates = _counter("mcads_instances_duplicate", "Instances whose UID was on record already.", "content")
_rejected = _counter("mcads_associations_rejected", "Associations not accepted.", "requestor", "reason")
_tls = _counter("mcads_tls_failures", "TLS handshakes that failed.", "direction")
_declined = _counter("mcads_instances_declined", "Instances that were declined.")
_analysed = _seconds("mcads_analysed_seconds", "From the receipt of an image to its analysis.")
_besides = _counter("mcads_analyses_besides", "Images analysed again, or as a shadow.", "model", "purpose")
_reported = _seconds("mcads_reported_seconds", "From the receipt of a study's first image to its report.")
_reports = _counter("mcads_reports", "Reports that were made, with all revisions.")
_triages = _counter("mcads_triages", "Studies by triage level, when they were first reported.", "level")
_failures = _counter("mcads_work_failures", "Attempts at work that failed.", "kind", "error", "end")
_leases = _counter("mcads_lease_expiries", "Leases that ran out.")
_workers = _counter("mcads_workers_ended", "Worker processes that were lost.", "how")
_delivered = _seconds("mcads_delivered_seconds", "From due until stored.", "destination")
_undelivered = _counter("mcads_delivery_failures", "Deliveries that failed.", "destination", "kind")
_commitments = _counter("mcads_commitments", "Storage Commitment, by instance.", "destination", "outcome")
_jobs = Summary("mcads_job_seconds", "Duration of scheduled jobs.", ("job", "end"), registry=REGISTRY)
_alerts = _counter("mcads_alerts_sent", "Alerts sent, or not.", "channel", "end")
_pulled = _counter("mcads_instances_pulled", "Instances asked of an archive.", "source", "end")
_audit = _counter("mcads_audit_messages_lost", "Audit messages that could not be sent.")


class _Peers:
    """Names that may be labels: those of the configuration, of which there are few."""

    requestors: frozenset[str] = frozenset()
    destinations: frozenset[str] = frozenset()


def use_peers(requestors: Iterable[str], destinations: Iterable[str]) -> None:
    """Allow the AE titles of configured requestors, and the names of destinations, as labels."""
    _Peers.requestors, _Peers.destinations = frozenset(requestors), frozenset(destinations)
    for name in _Peers.destinations:
        # there from the start, so that the first failure is a step from nought
        _delivered.labels(name)
        for kind in ("unreachable", "refused", "given_up", "retried"):
            _undelivered.labels(name, kind)


def describe(version: str, model: str, weights: str) -> None:
    """Say what runs: version of the node, name of the model, SHA-256 of the weights."""
    _info.info({"version": version, "model": model, "weights": weights})


def received(calling: str, status: int) -> None:
    """Count a C-STORE by the AE title of its sender and the status it was answered with."""
    _received.labels(_requestor(calling), f"0x{status:04X}").inc()


def duplicate(*, same_content: bool) -> None:
    """Count an instance whose UID was on record already, with the same content or with other."""
    _duplicates.labels("same" if same_content else "other").inc()


def association_rejected(calling: str, why: Rejection) -> None:
    """Count an association that was not accepted, or had a context that was not."""
    _rejected.labels(_requestor(calling), why).inc()


def tls_failed(direction: Literal["in", "out"]) -> None:
    """Count a TLS handshake that failed."""
    _tls.labels(direction).inc()


def declined() -> None:
    """Count an instance that was declined."""
    _declined.inc()


def analysed(seconds: float) -> None:
    """Count an analysis, `seconds` after the image was received."""
    _analysed.observe(max(0.0, seconds))


def analysed_besides(model: str, *, shadow: bool) -> None:
    """Count an analysis besides an image's first: by a shadow, or again; `model` is one that is installed."""
    _besides.labels(model, "shadow" if shadow else "again").inc()


def reported(seconds: float | None) -> None:
    """Count a report; a study's first one `seconds` after its first image was received, others None."""
    _reports.inc()
    if seconds is not None:
        _reported.observe(max(0.0, seconds))


def triaged(level: int | None) -> None:
    """Count a study by its triage level; None: its images were held against the rules, and got none."""
    _triages.labels("none" if level is None else str(level)).inc()


def work_failed(kind: str, error: BaseException, *, quarantined: bool) -> None:
    """Count a failed attempt by the class of its error: one of errors.py and its like, or "unforeseen"."""
    name = type(error).__name__ if isinstance(error, NodeError) else "unforeseen"
    _failures.labels(kind, name, "quarantined" if quarantined else "retried").inc()


def lease_expired() -> None:
    """Count a lease that ran out."""
    _leases.inc()


def worker_ended(how: WorkerEnd) -> None:
    """Count a worker process that was lost."""
    _workers.labels(how).inc()


def delivered(destination: str, seconds: float) -> None:
    """Count an object that was stored, `seconds` after it was due first."""
    _delivered.labels(_destination(destination)).observe(max(0.0, seconds))


def delivery_failed(destination: str, kind: DeliveryFailure, count: int = 1) -> None:
    """Count deliveries that failed."""
    _undelivered.labels(_destination(destination), kind).inc(count)


def commitment(destination: str, outcome: CommitmentOutcome, count: int = 1) -> None:
    """Count instances of which Storage Commitment was asked, or answered."""
    _commitments.labels(_destination(destination), outcome).inc(count)


def job_ended(job: str, seconds: float, *, ok: bool) -> None:
    """Count a run of a scheduled job; `job` is its name in the program."""
    _jobs.labels(job, "ok" if ok else "failed").observe(max(0.0, seconds))


def alert_sent(channel: str, *, ok: bool) -> None:
    """Count an alert that was sent, or could not be."""
    _alerts.labels(channel, "ok" if ok else "failed").inc()


def pulled(source: str, received: int, *, failed: int) -> None:
    """Count instances that were asked of an archive, by its configured name."""
    _pulled.labels(source, "received").inc(received)
    _pulled.labels(source, "failed").inc(failed)


def audit_lost(count: int = 1) -> None:
    """Count audit messages that could not be sent."""
    _audit.inc(count)


def _requestor(ae_title: str) -> str:
    return ae_title if ae_title in _Peers.requestors else UNLISTED


def _destination(name: str) -> str:
    return name if name in _Peers.destinations else UNLISTED


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """A value that is read from the durable state when it is asked for."""

    name: str
    meaning: str
    #: values of `samples` go by these
    labels: tuple[str, ...] = ()
    #: values of the labels, and the value
    samples: tuple[tuple[tuple[str, ...], float], ...]


class _Once(Collector):
    """Gauges of one moment."""

    def __init__(self, gauges: Iterable[Gauge]) -> None:
        self._gauges = tuple(gauges)

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for gauge in self._gauges:
            family = GaugeMetricFamily(gauge.name, gauge.meaning, labels=gauge.labels)
            for labels, value in gauge.samples:
                family.add_metric(labels, value)
            yield family


def exposition(gauges: Iterable[Gauge] = ()) -> bytes:
    """Write everything that was counted, and `gauges`, in Prometheus' text format 0.0.4 (`CONTENT_TYPE`)."""
    now = CollectorRegistry()
    now.register(_Once(gauges))
    return generate_latest(REGISTRY) + generate_latest(now)
