"""Whether destinations answer: asked by the clock, told when it changes."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from mcads_node.deliver.send import Caller, DestinationAddress
from mcads_node.logs import configure_logs
from mcads_node.service.peers import PeerWatch
from tests.peers import free_port, storescp


def test_answers_are_remembered_and_changes_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs(as_json=True)
    stopping = threading.Event()
    with storescp(tmp_path) as pacs:
        there = DestinationAddress(ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.port)
        away = DestinationAddress(ae_title="AWAY", host="127.0.0.1", port=free_port())
        watch = PeerWatch({"pacs": there, "away": away}, Caller(ae_title="MCADS"), stopping)
        assert watch.answers == {}
        watch.look()
        first = watch.answers
        assert {name: answer.is_there for name, answer in first.items()} == {"pacs": True, "away": False}
        assert "AWAY" in (first["away"].reason or "")
        watch.look()
        assert watch.answers["pacs"].since == first["pacs"].since < watch.answers["pacs"].at
    watch.look()
    assert not watch.answers["pacs"].is_there
    assert watch.answers["pacs"].since == watch.answers["pacs"].at
    told = [json.loads(line) for line in capfd.readouterr().err.splitlines() if "destination." in line]
    assert [(each["event"], each["destination"]) for each in told] == [
        ("destination.answers", "pacs"),
        ("destination.silent", "away"),
        ("destination.silent", "pacs"),
    ]
    stopping.set()
    before = watch.answers
    watch.look()
    assert watch.answers == before
