"""The documentation names every metric with its labels, every kind of alert, and the JSON as it is sent."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from mcads_node import metrics
from mcads_node.alerts.bookkeeping import Notice, Step
from mcads_node.alerts.conditions import Kind
from mcads_node.alerts.message import Message
from mcads_node.drift import Measured
from mcads_node.monitoring.gauges import Machine, gauges
from mcads_node.workitems import AlertEntry, Backlog
from tests.documents import OPERATIONS, ROOT, blocks, plain, table

RULES = ROOT / "docs" / "prometheus-alerts.yaml"


def there() -> dict[str, set[str]]:
    """Every metric of the node's own, and its labels."""
    drift = Measured(at=datetime.now(UTC), reference=None, chosen=False, weeks=())
    machine = Machine(free_bytes=1, disk_level=0, database_bytes=1, workers_alive=1, drift={"m": drift})
    backlog = Backlog(at=datetime.now(UTC), queues=(), destinations=(), quarantined=0, unreported=0)
    found = {gauge.name: set(gauge.labels) for gauge in gauges(machine, backlog)}
    for collector in set(metrics.REGISTRY._collector_to_names):
        names, labels = getattr(collector, "_name", ""), getattr(collector, "_labelnames", ())
        suffix = {"counter": "_total", "info": "_info"}.get(getattr(collector, "_type", ""), "")
        if names.startswith("mcads_"):
            found[names + suffix] = set(labels)
    found["mcads_node_info"] = {"version", "model", "weights"}
    return found


def test_every_metric_is_documented() -> None:
    rows = table(OPERATIONS, "metric", "labels")
    told = {plain(row[0]): {each.strip() for each in row[1].split(",") if each.strip()} for row in rows}
    assert told == there()


def test_every_kind_of_alert_is_documented() -> None:
    assert {plain(row[0]) for row in table(OPERATIONS, "kind", "when")} == set(Kind)


def test_the_json_is_as_documented() -> None:
    (block,) = [each for each in blocks() if each.document == OPERATIONS and each.info == "json"]
    told = json.loads(block.text)
    (alert,) = told["alerts"]
    at = datetime.fromisoformat(told["sent_at"])
    entry = AlertEntry(
        channel="webhook",
        raised_at=at,
        told_at=at - timedelta(days=1),
        **{name: alert[name] for name in ("key", "kind", "text", "advice")},
    )
    notice = Notice(step=Step(alert["event"]), entry=entry)
    assert Message(**told["node"], at=at, notices=(notice,)).as_json() == told


def test_the_rules_speak_of_metrics_that_there_are() -> None:
    rules = [rule for group in yaml.safe_load(Path(RULES).read_text())["groups"] for rule in group["rules"]]
    assert len(rules) >= 8
    names = {name for rule in rules for name in re.findall(r"mcads_\w+", rule["expr"])}
    assert names and names <= set(there())
    for rule in rules:
        labels = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        used = [there()[name] for name in re.findall(r"mcads_\w+", rule["expr"])]
        assert all(labels <= each for each in used), rule["alert"]
