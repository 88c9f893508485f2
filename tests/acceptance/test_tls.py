"""A node with TLS as an administrator runs it: `check`, `echo`, and certificates that are exchanged."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcads_node.yamlfile import read_document, write_yaml
from tests.acceptance.node import RULES, ServedNode, wait_for
from tests.attack.processes import heaps
from tests.certificates import Authority, Issued
from tests.peers import echoscu, free_port, storescp
from tests.verbs import run_verb

pytestmark = pytest.mark.timeout(180)


def dcmtk(issued: Issued, ca: Authority) -> tuple[str, ...]:
    return ("+tls", str(issued.key), str(issued.certificate), "+cf", str(ca.certificate))


def configuration(folder: Path, port: int, destination_port: int, files: dict[str, str]) -> dict[str, Any]:
    return {
        "node": {"host": "127.0.0.1", "port": port, "data_dir": str(folder / "data"), "tls": files},
        "requestors": [{"ae_title": "MODALITY", "address": "127.0.0.1"}],
        "destinations": {
            "pacs": {"ae_title": "STORESCP", "host": "127.0.0.1", "port": destination_port, "tls": True}
        },
        "analysis": {"model": "mcads-demo", "allow_demonstration_models": True, "workers": 1},
        "monitoring": {"port": free_port()},
    }


class Setup:
    """A folder with a CA, a node's files and its configuration."""

    def __init__(self, folder: Path, destination_port: int) -> None:
        self.ca = Authority(folder / "tls")
        self.issued = self.ca.issue("node", "127.0.0.1", ends=timedelta(days=20))
        self.peer = self.ca.issue("peer", "127.0.0.1")
        self.served = ServedNode(folder=folder, port=free_port())
        files = {
            "certificate": str(self.issued.certificate),
            "key": str(self.issued.key),
            "ca": str(self.ca.certificate),
        }
        config = configuration(folder, self.served.port, destination_port, files)
        write_yaml(self.served.config, config)
        write_yaml(folder / "routes.yaml", {"routes": RULES})

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return run_verb(*arguments, "--config", str(self.served.config))

    def metrics(self) -> str:
        """Ask the receiver's process, whose port is the one after that of the node."""
        port = read_document(self.served.config).plain["monitoring"]["port"] + 1
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def echoes(self, *options: str) -> bool:
        return echoscu(self.served.port, *options).returncode == 0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Setup]:
    """A node that runs only its receiver, so that it is there soon."""
    setup = Setup(tmp_path, free_port())
    log = setup.served.log.open("wb")
    with log:
        setup.served.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mcads_node",
                "serve",
                "--role",
                "receive",
                "--config",
                setup.served.config,
            ],
            stdout=log,
            stderr=log,
        )
    options = dcmtk(setup.peer, setup.ca)
    wait_for("the node answers", lambda: setup.echoes(*options), 60)
    yield setup
    if setup.served.process is not None:
        assert setup.served.stop() == 0


def logged(setup: Setup, event: str) -> list[dict[str, Any]]:
    lines = setup.served.log.read_text().splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == event]


def test_certificates_are_exchanged_while_the_node_runs(node: Setup) -> None:
    right = dcmtk(node.peer, node.ca)
    (expiry,) = logged(node, "tls.doubtful")
    assert "in 19 days" in expiry["reason"]

    # a broken file: the old ones are kept
    key = node.issued.key.read_bytes()
    node.issued.key.write_bytes(b"no key")
    reload(node, "tls.kept", 1)
    assert f"{node.issued.key}: node.tls.key: holds no private key" in logged(node, "tls.kept")[0]["reason"]
    assert node.echoes(*right)

    # mended, and a new CA: peers of the old one are refused, told of, and kept on record
    node.issued.key.write_bytes(key)
    new = Authority(node.ca.folder, "New CA")
    new.issue("node", "127.0.0.1")
    peer = new.issue("peer2", "127.0.0.1")
    reload(node, "tls.read", 2)
    assert node.echoes(*dcmtk(peer, new))
    assert not node.echoes(*right[:3], "+cf", str(new.certificate))
    assert not node.echoes()
    wait_for("both are told of", lambda: len(logged(node, "association.rejected")) == 2, 10)
    unknown, plain = logged(node, "association.rejected")
    assert (unknown["address"], unknown["calling"]) == ("127.0.0.1", "")
    assert "no CA in node.tls.ca" in unknown["reason"]
    assert "plain text" in plain["reason"]
    recorded = node.run("refused", "--associations", "--json")
    assert "no CA in node.tls.ca" in recorded.stdout
    counted = node.metrics()
    assert 'mcads_tls_failures_total{direction="in"} 2.0' in counted
    assert 'mcads_associations_rejected_total{reason="tls",requestor="unlisted"} 2.0' in counted

    # a peer whose certificate has ended, and then the node's own
    late = dcmtk(new.issue("late", "127.0.0.1", ends=timedelta(hours=-1)), new)
    assert not node.echoes(*late)
    assert node.echoes(*dcmtk(peer, new))
    new.issue("node", "127.0.0.1", ends=timedelta(hours=-1))
    reload(node, "tls.invalid", 1)
    assert "the node's certificate: it expired on" in logged(node, "tls.invalid")[0]["reason"]
    assert not node.echoes(*dcmtk(peer, new))
    wait_for("both are told of", lambda: len(logged(node, "association.rejected")) == 4, 10)
    expired, ours = (each["reason"] for each in logged(node, "association.rejected")[2:])
    assert expired == "its certificate is not accepted: certificate has expired"
    assert ours == "it ended TLS with the alert certificate expired"
    counted = node.metrics()
    assert 'mcads_tls_failures_total{direction="in"} 4.0' in counted
    # each of these connections had threads, and none of them its own part of memory
    assert node.served.process is not None
    assert heaps(node.served.process.pid) <= 1
    (ends,) = re.findall(r'mcads_certificate_expiry_timestamp_seconds\{use="node"\} (\S+)', counted)
    assert float(ends) < time.time()


def reload(node: Setup, event: str, times: int) -> None:
    process = node.served.process
    assert process is not None
    process.send_signal(signal.SIGHUP)
    wait_for(f"{event} is logged", lambda: len(logged(node, event)) >= times, 20)


def test_check_and_echo_speak_tls(tmp_path: Path) -> None:
    ca = Authority(tmp_path / "peer", "CA of the PACS")
    with storescp(tmp_path, *dcmtk(ca.issue("pacs", "127.0.0.1"), ca)) as peer:
        setup = Setup(tmp_path, peer.port)
        # each knows the other's CA
        both = setup.ca.certificate.read_bytes() + ca.certificate.read_bytes()
        assert "no CA in node.tls.ca" in setup.run("echo", "pacs").stdout
        setup.ca.certificate.write_bytes(both)
        ca.certificate.write_bytes(both)
    with storescp(
        tmp_path, *dcmtk(Issued(tmp_path / "peer/pacs.crt", tmp_path / "peer/pacs.key"), ca)
    ) as peer:
        setup.served.config.write_text(
            setup.served.config.read_text().replace(f"port: {setup_port(setup)}", f"port: {peer.port}")
        )
        done = setup.run("echo", "pacs")
        assert (done.returncode, "with TLS answered in" in done.stdout) == (0, True), (
            done.stdout + done.stderr
        )
        results = json.loads(setup.run("check", "--json").stdout)
    tls = [each for each in results if each["name"] == "tls"]
    assert [(each["ok"], each["warning"]) for each in tls] == [(True, False), (True, True)]
    assert "valid until" in tls[0]["text"]
    assert "in 19 days" in tls[1]["text"]
    assert all(each["ok"] for each in results if each["name"] == "pacs")


def setup_port(setup: Setup) -> int:
    text = setup.served.config.read_text()
    return int(text.partition("STORESCP")[2].partition("port: ")[2].split()[0])


def test_wrong_files_are_told_by_check_and_at_the_start(tmp_path: Path) -> None:
    setup = Setup(tmp_path, free_port())
    setup.issued.key.write_bytes(setup.peer.key.read_bytes())
    setup.ca.certificate.unlink()
    wrong = [
        f"{setup.issued.key}: node.tls.key: is not the private key of the first certificate",
        f"{setup.ca.certificate}: node.tls.ca: cannot be read: No such file or directory",
    ]
    results = {each["name"]: each for each in json.loads(setup.run("check", "--json").stdout)}
    assert not results["tls"]["ok"]
    assert not results["pacs"]["ok"]
    for text in wrong:
        assert text in results["tls"]["text"]
    started = setup.run("serve", "--role", "receive")
    assert started.returncode == 78
    for text in wrong:
        assert text in started.stderr
