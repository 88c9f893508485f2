"""The systemd unit is valid, hardened, and says the same as the documentation."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path

from mcads_node import cli
from mcads_node.deliver.deliverer import Deliverer
from mcads_node.service import node
from tests.documents import OPERATIONS, ROOT
from tests.programs import require_program

UNIT = ROOT / "systemd" / "mcads-node.service"


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    # systemd's keys have upper case
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


def verify(folder: Path, text: str) -> str:
    """What ``systemd-analyze verify`` complains of in a unit of this text."""
    file = folder / UNIT.name
    file.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [require_program("systemd-analyze"), "verify", str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = (done.stdout + done.stderr).strip()
    return said or ("" if done.returncode == 0 else f"ended with {done.returncode}")


def as_on_this_machine(text: str) -> str:
    """The same unit with a program, a user and a group that exist here."""
    text, programs = re.subn(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", text)
    text, users = re.subn(r"(?m)^User=.*$", "User=root", text)
    text, groups = re.subn(r"(?m)^Group=.*$", "Group=root", text)
    assert (programs, users, groups) == (1, 1, 1)
    return text


def test_systemd_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    assert verify(tmp_path, as_on_this_machine(UNIT.read_text(encoding="utf-8"))) == ""


def test_systemd_would_find_a_mistake(tmp_path: Path) -> None:
    text = as_on_this_machine(UNIT.read_text(encoding="utf-8"))
    assert "ProtectSystm" in verify(tmp_path, text.replace("ProtectSystem=", "ProtectSystm="))


def test_it_starts_what_is_installed() -> None:
    program, *arguments = unit()["Service"]["ExecStart"].split()
    assert program == "/opt/mcads-node/.venv/bin/mcads-node"
    assert arguments == ["serve", "--config", str(cli.DEFAULT_CONFIG)]
    assert unit()["Service"]["StateDirectory"] == cli.DEFAULT_DATA_DIR.name


def test_it_waits_as_long_as_the_node_may_take_to_stop() -> None:
    longest_delivery = Deliverer.stop.__defaults__
    assert longest_delivery is not None
    needed = node.RECEIVE_GRACE_SECONDS + node.WORK_GRACE_SECONDS + longest_delivery[0]
    assert float(unit()["Service"]["TimeoutStopSec"]) > needed


def test_it_is_hardened() -> None:
    section = unit()["Service"]
    assert section["Type"] == "notify"
    assert section["Restart"] == "on-failure"
    assert section["User"] not in ("", "root")
    assert (section["StateDirectoryMode"], section["UMask"]) == ("0700", "0077")
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices", "LockPersonality"):
        assert section[key] == "yes", key
    assert section["ProtectSystem"] == "strict"
    assert section["CapabilityBoundingSet"] == "CAP_NET_BIND_SERVICE"


def test_the_documentation_tells_its_times() -> None:
    text = " ".join(OPERATIONS.read_text(encoding="utf-8").split())
    section = unit()["Service"]
    assert f"(up to {section['TimeoutStartSec']} seconds)" in text
    assert f"restarts the node {section['RestartSec']} seconds after a failure" in text
    assert f"for up to {node.RECEIVE_GRACE_SECONDS:.0f} seconds" in text
    assert f"for up to {node.WORK_GRACE_SECONDS:.0f} seconds" in text
