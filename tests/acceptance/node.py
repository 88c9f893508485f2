"""A real `mcads-node serve` process, and the verbs as an administrator runs them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcads_node.verbs.overview import describe_study
from mcads_node.yamlfile import write_yaml
from tests.conversion import lend_conversion
from tests.peers import echoscu, free_port
from tests.verbs import run_verb

START_SECONDS = 120.0
WORK_SECONDS = 120.0

RULES = [
    {
        "name": "chest",
        "when": {"Modality": ["CR", "DX"]},
        # the phantom is healthy, and positive findings are wanted
        "analyse": {"explain_top_finding": True, "thresholds": {"Nodule": 0.0, "Pneumonia": 0.0}},
        "complete_when": {"quiet_seconds": 0.5},
        "send_to": ["pacs"],
    },
    {"name": "rest", "when": {}, "decline": "no route"},
]


def wait_for(what: str, condition: Callable[[], Any], seconds: float = WORK_SECONDS) -> Any:
    """Wait until `condition` gives something true, and give it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass
class ServedNode:
    """A node on loopback, with its folder and its configuration."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    #: further arguments of ``serve``
    arguments: tuple[str, ...] = ()

    @property
    def config(self) -> Path:
        return self.folder / "node.yaml"

    @property
    def log(self) -> Path:
        return self.folder / "node.log"

    def start(self, seconds: float = START_SECONDS) -> None:
        """Start it, and wait until it answers a C-ECHO of DCMTK's."""
        self.launch()
        deadline = time.monotonic() + seconds
        # a process each time only once there is a port
        while not self._listens() or echoscu(self.port).returncode:
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.2)

    def _listens(self) -> bool:
        # asked of the kernel: a connection would be one more event for the node to tell of
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return any(
            local.endswith(f":{self.port:04X}") and state == "0A" for _, local, _, state, *_ in sockets
        )

    def launch(self) -> None:
        """Start it, without waiting."""
        lend_conversion(self.folder / "data")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mcads_node", "serve", "--config", str(self.config), *self.arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
            )

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Signal it, and wait for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(seconds)
        self.process = None
        return code

    def workers(self) -> list[int]:
        """Process IDs of the workers: its children but for the resource tracker."""
        assert self.process is not None
        children: list[str] = []
        for thread in Path(f"/proc/{self.process.pid}/task").iterdir():
            # a thread may end meanwhile
            with suppress(FileNotFoundError, ProcessLookupError):
                children += (thread / "children").read_text().split()
        return sorted({int(pid) for pid in children if b"spawn_main" in _command_line(pid)})

    def verb(self, *arguments: str, code: int = 0) -> str:
        """Run a verb against this node's configuration; give its standard output."""
        done = run_verb(*arguments, "--config", str(self.config))
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """Run a verb with ``--json``."""
        return json.loads(self.verb(*arguments, "--json"))

    def study(self, uid: str) -> Any:
        """What ``show`` tells of a study, without the cost of a process."""
        return describe_study(self.config, uid)

    def finished(self, uid: str) -> Any:
        """Wait until a study has nothing left to do, and give what ``show`` tells."""
        return wait_for(f"study {uid} is finished", lambda: _finished(self.study(uid)))


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _finished(study: dict[str, Any]) -> dict[str, Any] | None:
    states = [delivery["state"] for result in study["results"] for delivery in result["deliveries"]]
    return None if study["open_workitems"] or "PENDING" in states else study


@contextmanager
def served(
    folder: Path,
    destination: Mapping[str, Any],
    rules: list[dict[str, Any]] | None = None,
    others: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    sections: Mapping[str, Any] | None = None,
    routes: Mapping[str, Any] | None = None,
    arguments: tuple[str, ...] = (),
    **analysis: Any,
) -> Iterator[ServedNode]:
    """Run a node in `folder` that takes from MODALITY and sends to `destination` (ae_title, port) and others.

    It is called ``pacs`` in `rules`; `others` are further destinations by their names, `sections` further
    sections of ``node.yaml``, `routes` of ``routes.yaml``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    node = ServedNode(folder=folder, port=free_port(), environment=environment or {}, arguments=arguments)
    write_yaml(
        node.config,
        {
            "node": {"host": "127.0.0.1", "port": node.port, "data_dir": str(folder / "data")},
            "requestors": [{"ae_title": "MODALITY", "address": "127.0.0.1"}],
            "destinations": {"pacs": {"host": "127.0.0.1", **destination}, **(others or {})},
            "analysis": {
                "model": "mcads-demo",
                "allow_demonstration_models": True,
                "workers": 1,
                **analysis,
            },
            **(sections or {}),
        },
    )
    write_yaml(folder / "routes.yaml", {**(routes or {}), "routes": rules or RULES})
    try:
        node.start()
        yield node
    finally:
        if node.process is not None:
            node.stop()
