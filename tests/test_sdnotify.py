"""systemd is told when the node is ready."""

import socket
import time
from pathlib import Path

import pytest

from mcads_node import sdnotify
from mcads_node.sdnotify import notify


def test_the_state_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0mcads-node-test")
        monkeypatch.setenv("NOTIFY_SOCKET", "@mcads-node-test")
        notify("STOPPING=1")
        assert manager.recv(100) == b"STOPPING=1"


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_manager_that_takes_nothing_holds_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sdnotify, "_PATIENCE_SECONDS", 0.1)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        begun = time.monotonic()
        # more than a socket that nobody reads holds
        while time.monotonic() - begun < 0.1:
            notify("WATCHDOG=1")
        assert time.monotonic() - begun < 2.0
    notify("READY=1")
