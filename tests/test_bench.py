"""The benchmarks: every goal has a row, whatever its command does, and the page has them all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.documents import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "bench"))
from images import Images
from page import page
from protocol import GOALS, missing, row
from running import run

KEYS = {"name", "value", "unit", "goal", "met"}


def command(folder: Path, body: str) -> Path:
    file = folder / "receiving"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return file


def test_rows_of_a_command_are_taken_and_its_other_goals_are_told_as_missing(tmp_path: Path) -> None:
    said = json.dumps({"rows": [row("receiving_orthanc_1", 1.5), row("extra", 3.0, unit="s")]})
    rows = run(command(tmp_path, f"echo progress >&2; echo '{said}'"), [], 20.0)
    assert all(set(each) >= KEYS for each in rows)
    assert {each["name"]: (each["value"], each["met"]) for each in rows} == {
        "receiving_orthanc_1": (1.5, True),
        "extra": (3.0, True),
        "receiving_orthanc_4": (None, False),
        "receiving_dcmtk_4": (None, False),
    }


@pytest.mark.parametrize(
    ("body", "seconds", "why"),
    [
        ("exit 3", 20.0, "ended with 3"),
        ("echo no JSON", 20.0, "did not print rows"),
        ("sleep 60", 0.2, "not done within"),
        ("true", 0.0, "no time left"),
    ],
)
def test_a_command_that_fails_costs_no_row(tmp_path: Path, body: str, seconds: float, why: str) -> None:
    rows = run(command(tmp_path, body), [], seconds)
    assert [each["name"] for each in rows] == [goal.name for goal in GOALS if goal.command == "receiving"]
    assert all(each["value"] is None and not each["met"] and why in each["note"] for each in rows)


def test_a_command_that_is_not_there_costs_no_row(tmp_path: Path) -> None:
    assert "there is no command" in run(tmp_path / "pli", [], 20.0)[0]["note"]


def test_what_a_command_has_started_ends_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    # deaf to SIGTERM, in a session of its own
    body = f"setsid sh -c 'trap \"\" TERM; echo $$ > {told}; exec sleep 60' & wait"
    run(command(tmp_path, body), [], 1.0)
    pid = int(told.read_text())
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(("value", "most", "least"), [(0.5, True, False), (6.0, False, True)])
def test_a_bound_is_met_from_its_own_side(value: float, most: bool, least: bool) -> None:
    assert row("latency_median", value)["met"] is most
    assert row("throughput", value)["met"] is least
    assert not row("throughput", None)["met"]


def test_one_command_prints_json_only_with_a_row_for_every_goal(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    nothing = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "bench" / "all", "--short", "--json", "--only", "receiving"],
        capture_output=True,
        text=True,
        timeout=120,
        env=nothing,
        check=True,
    )
    rows = json.loads(done.stdout)["rows"]
    assert [each["name"] for each in rows] == [goal.name for goal in GOALS]
    assert all(set(each) >= KEYS for each in rows)
    assert [each["goal"] for each in rows] == [str(goal) for goal in GOALS]
    asked = {each["name"]: each["note"] for each in rows if each["name"].startswith("receiving")}
    assert set(asked.values()) == {"storescu is not installed"}
    assert "receiving" in done.stderr


def test_the_page_says_what_was_measured_and_why_not() -> None:
    peer = {"name": "Orthanc", "version": "1.2.3", "value": 12.0, "unit": "images/s"}
    measured = row("receiving_orthanc_1", 1.25, low=1.0, high=1.5, runs=6, peers=[peer])
    absent = missing([goal.name for goal in GOALS if goal.name != "receiving_orthanc_1"], "no\nreason")
    text = page([measured, *absent, row("decoding", 3.0, unit="ms")], 0.25)
    assert "| `receiving_orthanc_1` | ≥ 1 × | 1.25 × | 1 … 1.5 | 6 | yes |" in text
    assert "| `receiving_orthanc_1` | Orthanc | 1.2.3 | 12 images/s |" in text
    assert "| `decoding` | 3 ms | – |" in text
    assert "* `throughput`: no reason" in text


def test_the_page_that_is_shipped_has_the_goals() -> None:
    text = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([^|]+) \|", text, re.MULTILINE)
    assert rows == [(goal.name, f"{goal} {goal.unit}") for goal in GOALS]


def test_images_are_others_each_time_and_nothing_else_changes(tmp_path: Path) -> None:
    images = Images(tmp_path / "sent", 2, rows=64, columns=64)
    images.renew()
    first = [dcmread(file) for file in images.files]
    images.renew()
    second = [dcmread(file) for file in images.files]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        uids = [each[name].value for each in (*first, *second)]
        assert len(set(uids)) == 4
        assert all(uid.is_valid for uid in uids)
    for each in (*first, *second):
        assert each.file_meta.MediaStorageSOPInstanceUID == each.SOPInstanceUID
        assert each.PixelData == first[0].PixelData
