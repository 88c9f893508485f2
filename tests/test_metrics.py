"""What is counted is written in Prometheus' format, with labels of few values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcads_node import metrics
from mcads_node.errors import InstanceUnreadable


def value(name: str, **labels: str) -> float:
    found = 0.0
    for family in text_string_to_metric_families(metrics.exposition().decode()):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                found = sample.value
    return found


@pytest.fixture(autouse=True)
def peers() -> None:
    metrics.use_peers(["CR_ROOM1"], ["pacs"])


@pytest.mark.parametrize(
    ("count", "name", "labels"),
    [
        (lambda: metrics.received("CR_ROOM1", 0), "mcads_instances_received_total",
         {"requestor": "CR_ROOM1", "status": "0x0000"}),
        (lambda: metrics.received("EVIL^NAME", 0xA700), "mcads_instances_received_total",
         {"requestor": "unlisted", "status": "0xA700"}),
        (lambda: metrics.duplicate(same_content=False), "mcads_instances_duplicate_total",
         {"content": "other"}),
        (lambda: metrics.association_rejected("X", "limit"), "mcads_associations_rejected_total",
         {"requestor": "unlisted", "reason": "limit"}),
        (lambda: metrics.tls_failed("in"), "mcads_tls_failures_total", {"direction": "in"}),
        (metrics.declined, "mcads_instances_declined_total", {}),
        (lambda: metrics.analysed(3.0), "mcads_analysed_seconds_count", {}),
        (lambda: metrics.reported(None), "mcads_reports_total", {}),
        (lambda: metrics.reported(12.0), "mcads_reported_seconds_count", {}),
        (lambda: metrics.work_failed("analyse", InstanceUnreadable("x"), quarantined=True),
         "mcads_work_failures_total",
         {"kind": "analyse", "error": "InstanceUnreadable", "end": "quarantined"}),
        (lambda: metrics.work_failed("report", KeyError("Doe^Jane"), quarantined=False),
         "mcads_work_failures_total", {"kind": "report", "error": "unforeseen", "end": "retried"}),
        (metrics.lease_expired, "mcads_lease_expiries_total", {}),
        (lambda: metrics.worker_ended("timeout"), "mcads_workers_ended_total", {"how": "timeout"}),
        (lambda: metrics.delivered("pacs", 1.0), "mcads_delivered_seconds_count", {"destination": "pacs"}),
        (lambda: metrics.delivered("gone", 1.0), "mcads_delivered_seconds_count",
         {"destination": "unlisted"}),
        (lambda: metrics.delivery_failed("pacs", "refused"), "mcads_delivery_failures_total",
         {"destination": "pacs", "kind": "refused"}),
        (lambda: metrics.commitment("pacs", "committed"), "mcads_commitments_total",
         {"destination": "pacs", "outcome": "committed"}),
        (lambda: metrics.job_ended("backup", 1.0, ok=False), "mcads_job_seconds_count",
         {"job": "backup", "end": "failed"}),
        (lambda: metrics.alert_sent("email", ok=True), "mcads_alerts_sent_total",
         {"channel": "email", "end": "ok"}),
        (metrics.audit_lost, "mcads_audit_messages_lost_total", {}),
    ],
)  # fmt: skip
def test_what_happens_is_counted(count: Callable[[], None], name: str, labels: dict[str, str]) -> None:
    before = value(name, **labels)
    count()
    assert value(name, **labels) == before + 1


def test_a_clock_that_was_set_back_counts_as_no_time() -> None:
    before = value("mcads_analysed_seconds_sum")
    metrics.analysed(-5.0)
    assert value("mcads_analysed_seconds_sum") == before


def test_gauges_are_written_beside_what_was_counted() -> None:
    gauge = metrics.Gauge(name="mcads_x", meaning="x", labels=("k",), samples=((("a",), 2.0), (("b",), 3.0)))
    families = {
        each.name: each for each in text_string_to_metric_families(metrics.exposition([gauge]).decode())
    }
    assert [(each.labels, each.value) for each in families["mcads_x"].samples] == [
        ({"k": "a"}, 2.0),
        ({"k": "b"}, 3.0),
    ]
    assert "process_resident_memory_bytes" in families


def test_model_and_version_are_told() -> None:
    metrics.describe("1.2.3", "densenet", "abc")
    assert value("mcads_node_info", version="1.2.3", model="densenet", weights="abc") == 1.0
