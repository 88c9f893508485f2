"""The health port, the signs of life, and systemd's watchdog."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mcads_node import pulse
from mcads_node.config import MonitoringSection
from mcads_node.errors import TransientError
from mcads_node.monitoring.endpoint import Endpoint, Pages
from mcads_node.monitoring.health import Finding, Health, Readiness, liveness
from mcads_node.monitoring.watchdog import Watchdog, watchdog_seconds

WELL = Health(findings={"database": Finding(ok=True, text="can be written")})
ILL = Health(findings={"database": Finding(ok=False, text="the database is busy")})


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers["Content-Type"], content


def pages(**changed: Any) -> Pages:
    usual = {"metrics": lambda: b"x 1\n", "liveness": lambda: WELL, "readiness": lambda: WELL}
    return Pages(**{**usual, "identity": {"ae_title": "MCADS"}, **changed})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    opened = Endpoint("127.0.0.1", 0, pages(readiness=lambda: ILL))
    opened.start()
    yield opened
    opened.stop()


def test_the_pages(endpoint: Endpoint) -> None:
    port = endpoint.port
    assert port is not None
    assert get(port, "/metrics") == (200, "text/plain; version=0.0.4; charset=utf-8", b"x 1\n")
    status, kind, content = get(port, "/healthz?verbose")
    assert (status, kind) == (200, "application/json")
    assert json.loads(content)["checks"] == {"database": {"ok": True, "text": "can be written"}}
    status, _, content = get(port, "/readyz")
    said = json.loads(content)
    assert (status, said["ok"], said["ae_title"]) == (503, False, "MCADS")
    assert said["checks"]["database"]["text"] == "the database is busy"
    assert get(port, "/metrics", "HEAD")[2] == b""
    assert get(port, "/")[0] == 404
    assert get(port, "/readyz", "POST")[0] == 501


def test_metrics_that_cannot_be_had_are_told() -> None:
    def fail() -> bytes:
        raise TransientError("the database is away")

    opened = Endpoint("127.0.0.1", 0, pages(metrics=fail))
    opened.start()
    try:
        assert opened.port is not None
        assert get(opened.port, "/metrics")[::2] == (503, b"the database is away\n")
    finally:
        opened.stop()


def test_a_port_in_use_does_not_keep_the_node_from_starting(endpoint: Endpoint) -> None:
    assert endpoint.port is not None
    second = Endpoint("127.0.0.1", endpoint.port, pages())
    second.start()
    assert second.port is None
    second.stop()


def test_clients_that_say_nothing_do_not_pile_up(endpoint: Endpoint) -> None:
    port = endpoint.port
    assert port is not None
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    deadline = time.monotonic() + 5
    while _answering() < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert _answering() <= 8
    for each in silent:
        each.close()
    while time.monotonic() < deadline + 5:
        try:
            assert get(port, "/healthz")[0] == 200
            break
        except (http.client.HTTPException, OSError):
            time.sleep(0.05)
    else:
        raise AssertionError("it answers no more")


def _answering() -> int:
    return sum("process_request_thread" in each.name for each in threading.enumerate())


def test_readiness_asks_once_a_second_and_tells_errors() -> None:
    asked: list[float] = []
    now = [100.0]

    def look() -> Finding:
        asked.append(now[0])
        if len(asked) > 1:
            raise TransientError("the database is away")
        return Finding(ok=True, text="there")

    ready = Readiness({"database": look}, lambda: now[0])
    assert ready().ok
    now[0] += 0.5
    assert ready().ok
    now[0] += 0.6
    assert ready().findings == {"database": Finding(ok=False, text="the database is away")}
    assert asked == [100.0, 101.1]
    ready.end()
    assert ready().findings["node"].text == "stopping"


def test_a_thread_that_falls_silent_is_found() -> None:
    pulse.beat(within=60.0, name="test-lives")
    pulse.beat(within=-3.0, name="test-hangs")
    try:
        assert pulse.silent()["test-hangs"] >= 3.0
        assert "test-lives" not in pulse.silent()
        health = liveness()
        assert (health.findings["test-lives"].ok, health.findings["test-hangs"].ok, health.ok) == (
            True,
            False,
            False,
        )
    finally:
        pulse.rest("test-lives")
        pulse.rest("test-hangs")
    assert "test-hangs" not in pulse.heard()


def test_a_sign_of_life_goes_by_the_name_of_its_thread() -> None:
    heard: list[tuple[str, ...]] = []

    def work() -> None:
        pulse.beat(within=5.0)
        heard.append(pulse.heard())
        pulse.rest()

    thread = threading.Thread(target=work, name="test-courier")
    thread.start()
    thread.join()
    assert "test-courier" in heard[0]
    assert "test-courier" not in pulse.heard()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "120000000"}, 120.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}, 5.0),
        ({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_systemd_says_how_often(environment: Mapping[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds


def test_systemd_hears_of_life_only_while_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent: dict[str, float] = {}
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    environment = {"WATCHDOG_USEC": "100000", "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5.0)
        watchdog = Watchdog(lambda: silent, lambda: "listening on port 104", environment)
        watchdog.start()
        assert manager.recv(200) == b"WATCHDOG=1"
        assert manager.recv(200) == b"STATUS=listening on port 104"
        silent["dispatch"] = 3.0
        # those that were on their way
        said = [manager.recv(200) for _ in range(6)]
        assert said[-3:] == [b"STATUS=stands still: dispatch"] * 3
        silent.clear()
        while (state := manager.recv(200)) != b"WATCHDOG=1":
            assert state == b"STATUS=stands still: dispatch"
        watchdog.stop()


def test_a_status_that_cannot_be_had_costs_no_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def status() -> str:
        raise TransientError("the database is away")

    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    environment = {"WATCHDOG_USEC": "100000", "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5.0)
        watchdog = Watchdog(dict, status, environment)
        watchdog.start()
        assert [manager.recv(200) for _ in range(3)] == [
            b"WATCHDOG=1",
            b"STATUS=the database is away",
            b"WATCHDOG=1",
        ]
        watchdog.stop()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "node.hospital.lt"])
def test_other_machines_may_ask_only_where_that_was_said(host: str) -> None:
    with pytest.raises(ValueError, match="asks nobody who he is"):
        MonitoringSection(host=host)
    assert MonitoringSection(host=host, open=True).host == host
    assert MonitoringSection(host=host, port=None).port is None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_may_ask(host: str) -> None:
    assert MonitoringSection(host=host).open is False
