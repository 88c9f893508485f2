"""The systemd unit is valid, hardened, and says the same as the documentation."""

from __future__ import annotations

import configparser
import fcntl
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from mcads_node import cli, tend
from mcads_node.deliver.deliverer import Deliverer
from mcads_node.service import Role, node
from tests.documents import OPERATIONS, ROOT
from tests.programs import require_program

UNIT = ROOT / "systemd" / "mcads-node.service"
INSTALL, UNINSTALL = ROOT / "systemd" / "install", ROOT / "systemd" / "uninstall"


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
    needed = node.RECEIVE_GRACE_SECONDS + node.WORK_GRACE_SECONDS + longest_delivery[0] + tend.STOP_SECONDS
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


# --- roles, watchdog, hardening, installation


def complaints(folder: Path, *names: str) -> str:
    for file in (ROOT / "systemd").glob("mcads-node*"):
        text = file.read_text(encoding="utf-8")
        (folder / file.name).write_text(text if file.suffix == ".target" else as_on_this_machine(text))
    done = subprocess.run(
        [require_program("systemd-analyze"), "verify", *(str(folder / name) for name in names)],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (done.stdout + done.stderr).strip()


def test_systemd_finds_nothing_to_complain_of_in_the_roles(tmp_path: Path) -> None:
    (tmp_path / "mcads-node@receive.service").symlink_to(tmp_path / "mcads-node@.service")
    assert complaints(tmp_path, "mcads-node.target", "mcads-node@receive.service") == ""


def test_a_role_runs_under_the_same_conditions_as_the_whole_node() -> None:
    one, whole = (
        [line for line in file.read_text().splitlines() if not line.startswith("#")]
        for file in (ROOT / "systemd" / "mcads-node@.service", UNIT)
    )
    there = [line.replace(" --role %i", "") for line in one[one.index("[Service]") : one.index("[Install]")]]
    assert there == whole[whole.index("[Service]") : whole.index("[Install]")]
    assert any("serve --role %i" in line for line in one)


def test_the_target_is_all_roles() -> None:
    text = (ROOT / "systemd" / "mcads-node.target").read_text()
    (wants,) = re.findall(r"^Wants=(.*)$", text, re.MULTILINE)
    assert wants.split() == [f"mcads-node@{role}.service" for role in Role]


def test_the_watchdog_waits_longer_than_a_round_of_signs_of_life() -> None:
    section = unit()["Service"]
    assert (section["NotifyAccess"], section["WatchdogSec"]) == ("main", "120")


@pytest.mark.parametrize("name", ["mcads-node.service", "mcads-node@.service"])
def test_systemd_thinks_it_safe(name: str) -> None:
    done = subprocess.run(
        [require_program("systemd-analyze"), "security", "--offline=true", str(ROOT / "systemd" / name)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (score,) = re.findall(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert float(score) <= 2.0, done.stdout


def test_the_scripts_are_clean() -> None:
    done = subprocess.run(
        [require_program("shellcheck"), str(INSTALL), str(UNINSTALL)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def script(file: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [str(file), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_installed_twice_and_removed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    script(INSTALL, "--root", str(root))
    program = root / "opt" / "mcads-node"
    assert os.access(program / "scripts" / "setup-venv", os.X_OK)
    assert not (program / ".git").exists() and not (program / ".venv").exists()
    for name in ("mcads-node.service", "mcads-node@.service", "mcads-node.target"):
        assert (root / "etc/systemd/system" / name).read_bytes() == (ROOT / "systemd" / name).read_bytes()
    assert stat.S_IMODE((root / "var/lib/mcads-node").stat().st_mode) == 0o700
    config = root / "etc" / "mcads-node" / "node.yaml"
    for name in (
        f"{each}.{kind}" for each in ("node", "routes", "triage") for kind in ("yaml", "schema.json")
    ):
        assert (config.parent / name).read_bytes() == (ROOT / "config" / name).read_bytes()

    # what an administrator wrote, and the installed .venv, outlive an update; stale files do not
    config.write_text("node: {ae_title: OURS}\n")
    (program / ".venv").mkdir()
    (program / "stale.py").touch()
    (root / "var/lib/mcads-node/node.db").touch()
    script(INSTALL, "--root", str(root))
    assert config.read_text() == "node: {ae_title: OURS}\n"
    assert (program / ".venv").is_dir() and not (program / "stale.py").exists()

    # run from what is installed, as an administrator would
    assert "Kept" in script(program / "systemd" / "uninstall", "--root", str(root))
    assert not program.exists()
    assert list((root / "etc/systemd/system").iterdir()) == []
    assert config.exists() and (root / "var/lib/mcads-node/node.db").exists()
    script(UNINSTALL, "--root", str(root), "--purge")
    assert not config.parent.exists() and not (root / "var/lib/mcads-node").exists()


@pytest.mark.parametrize("file", [INSTALL, UNINSTALL])
def test_wrong_arguments_change_nothing(file: Path) -> None:
    assert "is not known" in script(file, "--everything", code=64)
    assert "takes a folder" in script(file, "--root", code=64)
    assert "MCADS node" in script(file, "--help")


def a_program(folder: Path) -> Path:
    """A copy of what the scripts look at, elsewhere."""
    for name in ("systemd", "config", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_what_is_installed_outlives_an_update_that_fails(tmp_path: Path) -> None:
    source, root = a_program(tmp_path / "source"), tmp_path / "root"
    program = root / "opt" / "mcads-node"
    script(source / "systemd" / "install", "--root", str(root))
    (program / ".venv").mkdir()
    (program / "mark").touch()
    path = tmp_path / "bin"
    path.mkdir()
    (path / "tar").write_text("#!/bin/sh\nexit 1\n")
    (path / "tar").chmod(0o700)
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    command = [str(source / "systemd" / "install"), "--root", str(root)]
    assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0
    assert (program / "mark").exists() and (program / ".venv").is_dir()
    # ended between its two renames: the next run goes on from there
    program.rename(program.with_name(".mcads-node.old"))
    script(source / "systemd" / "install", "--root", str(root))
    assert (program / ".venv").is_dir() and not (program / "mark").exists()
    assert [each.name for each in program.parent.iterdir()] == ["mcads-node"]


def test_a_clone_in_place_stays_one(tmp_path: Path) -> None:
    program = a_program(tmp_path / "opt" / "mcads-node")
    (program / ".git").mkdir()
    script(program / "systemd" / "install", "--root", str(tmp_path))
    assert (program / ".git").is_dir()
    assert "is a clone" in script(INSTALL, "--root", str(tmp_path), code=65)
    assert (program / ".git").is_dir()


def test_places_that_would_destroy_something_are_refused(tmp_path: Path) -> None:
    below = a_program(tmp_path / "opt" / "mcads-node" / "source")
    assert "lies within" in script(below / "systemd" / "install", "--root", str(tmp_path), code=64)
    assert "lies within" in script(below / "systemd" / "install", "--root", str(below / "root"), code=64)
    assert (below / "systemd" / "install").exists()
    for file in (INSTALL, UNINSTALL):
        assert "other than /" in script(file, "--root", "/", code=64)


def test_nothing_is_purged_while_a_node_runs(tmp_path: Path) -> None:
    data = tmp_path / "var" / "lib" / "mcads-node"
    data.mkdir(parents=True)
    (data / "node.db").touch()
    program = a_program(tmp_path / "opt" / "mcads-node")
    with (data / "lock.deliver").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "nothing was removed" in script(UNINSTALL, "--root", str(tmp_path), "--purge", code=75)
    assert (data / "node.db").exists() and program.exists()
    script(UNINSTALL, "--root", str(tmp_path), "--purge")
    assert not data.exists()
