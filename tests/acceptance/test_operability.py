"""A real node tells how it is: metrics, health, readiness, ``check --live``, alerts, systemd."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcads_node import phantom
from tests.acceptance.node import ServedNode, served, wait_for
from tests.alert_receivers import Webhook, webhook
from tests.peers import echoscu, free_port, storescu

PORT = free_port()


@pytest.fixture(scope="module")
def receiver() -> Iterator[Webhook]:
    with webhook() as running:
        yield running


@dataclass
class Manager:
    """What systemd was told."""

    address: str
    told: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Manager]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        found = Manager(address=str(tmp_path_factory.mktemp("systemd") / "notify"))
        listening.bind(found.address)

        def listen() -> None:
            while state := listening.recv(1000):
                found.told.extend(state.decode().splitlines())

        thread = threading.Thread(target=listen)
        thread.start()
        yield found
        # an empty message ends it
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", found.address)
        thread.join()


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, receiver: Webhook, manager: Manager
) -> Iterator[ServedNode]:
    """Run a node whose disk is low, and whose destination is away; both are told at once."""
    sections = {
        "monitoring": {"port": PORT},
        "disk": {"alert_below_mib": 2**29},
        "alerts": {
            "webhook": {"url": f"http://127.0.0.1:{receiver.port}/"},
            "destination_minutes": 0.0001,
        },
    }
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "1000000"}
    destination = {"ae_title": "AWAY", "port": free_port()}
    folder = tmp_path_factory.mktemp("node")
    with served(folder, destination, environment=environment, sections=sections) as running:
        yield running


def get(path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def metrics() -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by the values of their labels, in the order of the labels' names."""
    status, content = get("/metrics")
    assert status == 200
    return {
        sample.name: {
            tuple(each.labels.values()): each.value for each in family.samples if each.name == sample.name
        }
        for family in text_string_to_metric_families(content.decode())
        for sample in family.samples
    }


def test_ready_and_alive(node: ServedNode) -> None:
    status, content = get("/readyz")
    said = json.loads(content)
    assert (status, said["ok"], said["data_dir"]) == (200, True, str(node.folder / "data"))
    assert set(said["checks"]) == {"threads", "database", "disk", "receiver", "model"}
    assert said["checks"]["disk"]["text"].endswith("(low)")
    status, content = get("/healthz")
    assert status == 200
    assert set(json.loads(content)["checks"]) == {"receiver", "dispatch", "deliver-pacs-1", "tend"}


def test_systemd_hears_of_it(node: ServedNode, manager: Manager) -> None:
    wait_for("a sign of life", lambda: "WATCHDOG=1" in manager.told, 30.0)
    assert "READY=1" in manager.told
    status = f"STATUS=listening on port {node.port}; 0 in work, 0 to deliver"
    wait_for("a status", lambda: status in manager.told, 30.0)


def test_an_alert_goes_out(node: ServedNode, receiver: Webhook) -> None:
    (first, *_) = wait_for("an alert", lambda: receiver.received, 30.0)
    assert [(each["kind"], each["event"]) for each in first["alerts"]] == [("disk", "raised")]
    assert "alert.raised" in node.log.read_text()


def test_what_happens_is_counted_and_what_is_wrong_is_told(node: ServedNode, tmp_path: Path) -> None:
    chest = phantom.radiograph(rows=160, columns=128, study="operability")
    (tmp_path / "1.dcm").write_bytes(phantom.save(chest))
    assert storescu(node.port, str(tmp_path / "1.dcm")).returncode == 0
    assert echoscu(node.port, calling="STRANGER").returncode != 0
    wait_for("an attempt to deliver", lambda: _failures(metrics()))
    now = metrics()
    assert now["mcads_instances_received_total"] == {("MODALITY", "0x0000"): 1.0}
    assert now["mcads_associations_rejected_total"] == {("unknown_ae_title", "unlisted"): 1.0}
    assert now["mcads_analysed_seconds_count"] == now["mcads_reported_seconds_count"] == {(): 1.0}
    assert now["mcads_deliveries_pending"][("pacs",)] >= 2
    assert now["mcads_destination_failing_seconds"][("pacs",)] > 0
    assert (now["mcads_disk_level"], now["mcads_workers_alive"]) == ({(): 1.0}, {(): 1.0})
    assert now["mcads_node_info"].keys() and "mcads-demo" in next(iter(now["mcads_node_info"]))

    told = {each["name"]: each for each in json.loads(node.verb("check", "--live", "--json", code=1))}
    assert told["destination"]["ok"] is False
    assert "mcads-node echo pacs" in told["destination"]["text"]
    assert told["disk"] | {"text": ""} == {"name": "disk", "ok": True, "warning": True, "text": ""}
    assert told["port"]["text"].startswith(f"MCADS at 127.0.0.1 port {node.port} answered a C-ECHO")
    assert told["node model"]["ok"] is True


def _failures(now: dict[str, dict[tuple[str, ...], float]]) -> Any:
    return now["mcads_delivery_failures_total"].get(("pacs", "unreachable"))


def test_a_node_that_is_gone_is_missed(node: ServedNode) -> None:
    node.stop()
    told = {each["name"]: each for each in json.loads(node.verb("check", "--live", "--json", code=1))}
    assert "systemctl status" in told["node"]["text"]
    assert (told["node"]["ok"], told["port"]["ok"]) == (False, False)
