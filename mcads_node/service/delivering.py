"""What the configuration says of deliveries: the terms of each destination, and who may answer for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial

from mcads_node import metrics
from mcads_node.backoff import RetryPolicy
from mcads_node.config import DestinationSection, NodeConfig
from mcads_node.deliver.terms import Terms, Transfer, policy_of
from mcads_node.receive.commitment import CommitmentReports, Reporter
from mcads_node.workitems import CommitmentOutcome, CommitmentReport, Workitems


def terms_of(destination: DestinationSection) -> Terms:
    """Say how a destination is dealt with."""
    minutes = destination.commitment_timeout_minutes
    return Terms(
        associations=destination.associations,
        max_age=timedelta(hours=destination.max_age_hours),
        commitment_timeout=timedelta(minutes=minutes) if destination.storage_commitment else None,
    )


def commitment_reports_of(config: NodeConfig, workitems: Workitems) -> CommitmentReports | None:
    """Make what takes answers to requests for Storage Commitment; None where no destination is asked."""
    asked = [each for each in config.destinations.values() if each.storage_commitment]
    if not asked:
        return None
    policies = {name: policy_of(terms_of(each), RetryPolicy()) for name, each in config.destinations.items()}
    reporters = [Reporter(ae_title=each.ae_title, host=each.host) for each in asked]
    take = partial(_take, workitems, lambda name: policies.get(name, RetryPolicy()))
    return CommitmentReports(config.node.ae_title, reporters, take)


def _take(
    workitems: Workitems, policy: Callable[[str], RetryPolicy], report: CommitmentReport
) -> CommitmentOutcome | None:
    outcome = workitems.record_commitment(report, policy)
    if outcome is not None:
        count_commitment(outcome)
    return outcome


def count_commitment(outcome: CommitmentOutcome) -> None:
    """Count what a destination answered."""
    metrics.commitment(outcome.destination, "committed", outcome.committed)
    metrics.commitment(outcome.destination, "failed", outcome.again + outcome.refused)


def count_transfer(transfer: Transfer) -> None:
    """Count what an association for delivery came to."""
    for seconds in transfer.waited:
        metrics.delivered(transfer.destination, seconds)
    for _ in range(transfer.refused):
        metrics.delivery_failed(transfer.destination, "refused")
    for _ in range(transfer.deferred):
        metrics.delivery_failed(transfer.destination, "retried")
    if transfer.unreachable is not None:
        metrics.delivery_failed(transfer.destination, "unreachable")


def all_of(observers: Iterable[Callable[[Transfer], None]]) -> Callable[[Transfer], None]:
    """Make one observer of several."""
    told = tuple(observers)

    def tell(transfer: Transfer) -> None:
        for observer in told:
            observer(transfer)

    return tell
