"""A node whose parts are processes of their own, on PostgreSQL; and what others hold or send them."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml

from mcads_node import phantom
from mcads_node.cli import RoleName
from mcads_node.service import Role
from mcads_node.yamlfile import write_yaml
from tests.acceptance.node import RULES, ServedNode, wait_for
from tests.peers import echoscu, free_port, storescp, storescu
from tests.postgres import PostgresServer

BUSY = "IN PROGRESS"


class Part:
    """One process of ``mcads-node serve --role …``."""

    def __init__(self, config: Path, *roles: str) -> None:
        self.log = config.parent / f"{'-'.join(roles)}-{time.monotonic_ns()}.log"
        arguments = [argument for role in roles for argument in ("--role", role)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mcads_node", "serve", "--config", str(config), *arguments],
                stdout=log,
                stderr=log,
            )

    def ready(self) -> Part:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            return "node.ready" in self.log.read_text()

        wait_for("the part is ready", is_ready)
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def parts(config: Path, *each: tuple[str, ...]) -> Iterator[list[Part]]:
    """Start processes with these roles, all at once."""
    started = [Part(config, *roles) for roles in each]
    try:
        yield [part.ready() for part in started]
    finally:
        for part in started:
            if part.process.poll() is None:
                part.process.send_signal(signal.SIGTERM)
        for part in started:
            part.process.wait(60)


def configuration(folder: Path, database: str | None, pacs_port: int) -> ServedNode:
    """A configuration whose leases are short, since the test waits for one to run out."""
    folder.mkdir(exist_ok=True)
    node = ServedNode(folder=folder, port=free_port())
    write_yaml(
        node.config,
        {
            "node": {
                "host": "127.0.0.1",
                "port": node.port,
                "data_dir": str(folder / "data"),
                "database": database,
            },
            "requestors": [{"ae_title": "MODALITY", "address": "127.0.0.1"}],
            "destinations": {"pacs": {"host": "127.0.0.1", "ae_title": "STORESCP", "port": pacs_port}},
            "analysis": {
                "model": "mcads-demo",
                "allow_demonstration_models": True,
                "workers": 1,
                "lease_seconds": 4,
            },
        },
    )
    write_yaml(folder / "routes.yaml", {"routes": RULES})
    return node


def send(node: ServedNode, folder: Path, study: str) -> tuple[str, str]:
    """Send one image; gives its Study Instance UID, and what storescu said."""
    dataset = phantom.radiograph(rows=64, columns=64, study=study)
    file = folder / f"{study}.dcm"
    file.write_bytes(phantom.save(dataset))
    return str(dataset.StudyInstanceUID), storescu(node.port, str(file)).stdout


def test_the_roles_of_the_verb_are_those_of_the_service() -> None:
    assert [str(each) for each in RoleName] == [str(each) for each in Role]


def beside(node: ServedNode, name: str) -> ServedNode:
    """A further node on the database and in the data folder of `node`, as on a machine of another name."""
    said: dict[str, Any] = yaml.safe_load(node.config.read_text())
    other = ServedNode(folder=node.folder / name, port=free_port())
    other.folder.mkdir()
    said["node"].update(name=name, port=other.port)
    write_yaml(other.config, said)
    write_yaml(other.folder / "routes.yaml", {"routes": RULES})
    return other


def test_nodes_share_a_database_and_one_is_killed(tmp_path: Path, postgres: PostgresServer) -> None:
    """A whole node, and another in two parts, as if on two machines: nothing is lost, nothing done twice."""
    with postgres.database() as url, storescp(tmp_path / "pacs") as pacs:
        one = configuration(tmp_path / "one", url, pacs.port)
        two = beside(one, "two")
        with (
            parts(two.config, ("analyse", "tend"), ("receive", "deliver")) as (analyse, _),
            parts(one.config, tuple(Role)) as (whole,),
        ):
            assert echoscu(one.port).returncode == echoscu(two.port).returncode == 0
            hands = [int(pid) for part in (whole, analyse) for pid in children(part.process.pid)]
            # stopped, each has claimed a piece of work and does not finish it
            for worker in hands:
                os.kill(worker, signal.SIGSTOP)
            try:
                studies = [
                    send(node, tmp_path, f"{name}-{number}")[0]
                    for number in range(2)
                    for name, node in (("one", one), ("two", two))
                ]
                wait_for(
                    "both have claimed", lambda: [states(two, each)[0] for each in studies].count(BUSY) == 2
                )
                assert whole.end(signal.SIGKILL) == -signal.SIGKILL
            finally:
                for worker in hands:
                    os.kill(worker, signal.SIGCONT)
            done = [two.finished(study) for study in studies]
            assert analyse.log.read_text().count("work.lease_expired") == 1
        # what came by either is accounted for, by the one that lives, once
        assert [each["state"] for study in done for each in study["images"]] == ["ANALYSED"] * 4
        assert [work["kind"] for study in done for work in study["workitems"]].count("report") == 4
        sent = [each for study in done for result in study["results"] for each in result["deliveries"]]
        assert {each["state"] for each in sent} == {"STORED"}
        assert len(pacs.files()) == len(sent)
        assert sum("lease ran out" in each["what"] for study in done for each in study["events"]) == 1


def children(pid: int) -> list[str]:
    """Workers of a process."""
    found: list[str] = []
    for each in Path(f"/proc/{pid}/task").iterdir():
        found += (each / "children").read_text().split()
    return sorted({each for each in found if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()})


def states(node: ServedNode, study: str) -> list[str]:
    return [each["state"] for each in node.study(study)["workitems"]]


def test_a_role_runs_once_and_the_others_beside_it(tmp_path: Path) -> None:
    """On SQLite too: processes of one machine share the file."""
    node = configuration(tmp_path, None, free_port())
    with parts(node.config, ("receive",), ("tend",)) as (receive, _):
        second = Part(node.config, "receive", "deliver")
        assert second.process.wait(60) == 1
        assert "in use by another node that is running (role receive)" in " ".join(
            second.log.read_text().split()
        )
        study, said = send(node, tmp_path, "kept")
        assert "Store Response (Success)" in said, said
        assert states(node, study) == ["SCHEDULED"]
        # signals in a heap end it once
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            receive.process.send_signal(number)
        assert receive.process.wait(60) == 0
        assert receive.log.read_text().count("node.stopped") == 1
    unknown = Part(node.config, "sing")
    assert unknown.process.wait(60) == 2


LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA busy_timeout = 10000")
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_database_that_another_process_holds(tmp_path: Path) -> None:
    with storescp(tmp_path / "pacs") as pacs:
        node = configuration(tmp_path, None, pacs.port)
        said: dict[str, Any] = yaml.safe_load(node.config.read_text())
        said["node"]["database_busy_seconds"] = 1
        write_yaml(node.config, said)
        with parts(node.config, tuple(Role)):
            locker = subprocess.Popen(
                [sys.executable, "-c", LOCK, str(node.folder / "data" / "node.db")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            with locker:
                assert locker.stdout is not None
                assert locker.stdout.readline() == "locked\n"
                begun = time.monotonic()
                study, answer = send(node, tmp_path, "locked")
                assert "OutOfResources" in answer, answer
                assert time.monotonic() - begun < 20
                logs = wait_for(
                    "the dispatcher stalls",
                    lambda: "dispatch.stalled" in next(tmp_path.glob("receive-*.log")).read_text(),
                )
                assert logs
                locker.communicate("")
            _, answer = send(node, tmp_path, "locked")
            assert "Store Response (Success)" in answer, answer
            assert [each["state"] for each in node.finished(study)["images"]] == ["ANALYSED"]
        with closing(sqlite3.connect(node.folder / "data" / "node.db")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
