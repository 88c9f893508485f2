"""The demo, and the offline verb, as a newcomer runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from mcads_node import phantom
from mcads_node.instance import View
from mcads_node.report.readback import findings_in
from tests.documents import ROOT
from tests.referees import dciodvfy
from tests.shared_data import data_dir


def mcads_node(*arguments: str | Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mcads_node", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def analyse(tmp_path: Path, *files: Path, code: int = 0) -> Any:
    told = mcads_node(
        "analyse",
        *files,
        "--out",
        tmp_path / "out",
        "--model",
        "mcads-demo",
        "--data-dir",
        tmp_path / "data",
        "--triage",
        ROOT / "config" / "triage.yaml",
        "--json",
        code=code,
    )
    return json.loads(told)


def test_the_demo_with_the_phantom(tmp_path: Path) -> None:
    told = mcads_node("demo", "--out", tmp_path)
    assert "phantom PA (PA)" in told
    assert "phantom lateral (LATERAL)" in told
    assert "DEMONSTRATION MODEL — NOT FOR CLINICAL USE" in told
    # nothing is found in the phantom; the lateral image is warned of, so it has no level, not the last one
    assert "Suggested triage level: 5 of 5 (not verified)" in told
    assert "No triage level suggested (not verified)" in told
    (folder,) = tmp_path.iterdir()
    assert str(folder) in told.replace("\n", "")
    received = {path.name.split("-")[0] for path in (folder / "pacs").glob("*.dcm")}
    assert received == {"sr", "summary", "heatmap"}
    captures = [path for path in (folder / "pacs").glob("*.dcm") if not path.name.startswith("sr-")]
    assert all(path.with_suffix(".png").exists() for path in captures)
    (report,) = (folder / "pacs").glob("sr-*.dcm")
    assert len(findings_in(report.read_bytes())) == 2


def test_the_demo_with_files_of_ones_own(tmp_path: Path) -> None:
    chest, knee, text = tmp_path / "chest.dcm", tmp_path / "knee.dcm", tmp_path / "notes.txt"
    chest.write_bytes(phantom.save(phantom.radiograph(rows=300, columns=240, study="mine")))
    dataset = phantom.radiograph(rows=300, columns=240, study="knee")
    dataset.BodyPartExamined = "KNEE"
    knee.write_bytes(phantom.save(dataset))
    text.write_text("not a radiograph")
    told = " ".join(mcads_node("demo", chest, knee, text, "--out", tmp_path / "demo").split())
    assert "chest.dcm (PA)" in told
    assert "knee.dcm: declined: BodyPartExamined says KNEE" in told
    assert "notes.txt: not DICOM" in told


def test_the_demo_fails_where_nothing_can_be_sent(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a radiograph")
    mcads_node("demo", text, "--out", tmp_path / "demo", code=75)


def test_analyse_reads_what_it_can_and_says_why_not(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    good = phantom.save(phantom.radiograph(rows=300, columns=240, study="offline"))
    lateral = phantom.save(phantom.radiograph(View.LATERAL, rows=300, columns=240, study="offline"))
    unknown = phantom.radiograph(rows=64, columns=64, study="syntax")
    files = {
        "1-good.dcm": good,
        "2-cut.dcm": good[: len(good) // 2],
        "3-text.dcm": b"not a radiograph",
        "4-again.dcm": good,
        "5-lateral.dcm": lateral,
        "6-syntax.dcm": phantom.save(unknown).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"),
        "7-empty.dcm": b"",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    told = analyse(tmp_path, folder)
    reasons = {Path(file["file"]).name: file["reason"] for file in told["files"]}
    assert reasons["1-good.dcm"] is reasons["5-lateral.dcm"] is None
    assert reasons["2-cut.dcm"].startswith("truncated")
    assert "not DICOM" in reasons["3-text.dcm"]
    assert "same SOP Instance UID" in reasons["4-again.dcm"]
    assert "1.2.840.10008.9.9.9" in reasons["6-syntax.dcm"]
    assert reasons["7-empty.dcm"]
    triages = {Path(file["file"]).name: file["triage"] for file in told["files"]}
    assert triages["2-cut.dcm"] is None
    assert triages["1-good.dcm"]["level"] in range(1, 6) and triages["1-good.dcm"]["reason"]
    kinds = [written["kind"] for written in told["objects"]]
    assert (kinds.count("sr"), kinds.count("summary"), told["problems"]) == (1, 1, [])
    for written in told["objects"]:
        assert dciodvfy(Path(written["file"]).read_bytes()).errors == ()
        assert (written["picture"] is None) == (written["kind"] == "sr")


def test_analyse_fails_where_nothing_could_be_read(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a radiograph")
    assert analyse(tmp_path, text, code=65)["objects"] == []


def test_the_real_radiographs_are_reported_and_the_others_are_not(tmp_path: Path) -> None:
    data = data_dir()
    told = analyse(tmp_path, data / "dicom", data / "dicom_negative")
    reasons = {Path(file["file"]).name: file["reason"] for file in told["files"]}
    read = [name for name, reason in reasons.items() if reason is None]
    assert len(read) == 3
    assert "HIP" in reasons["nema_RG2_JPLY_hip.dcm"]
    assert "EXTREMITY" in reasons["nema_RG3_J2KR_leg.dcm"]
    assert "which is not a UID" in reasons["fodicom_CR_teeth_modalityLUT.dcm"]
    reports = [Path(written["file"]) for written in told["objects"] if written["kind"] == "sr"]
    assert len(reports) == 3
    for report in reports:
        assert dciodvfy(report.read_bytes()).errors == ()
        assert dcmread(report).CompletionFlag == "COMPLETE"


@pytest.mark.parametrize("arguments", [["--help"], ["models", "fetch", "--help"], ["--version"]])
def test_help_and_version(arguments: list[str]) -> None:
    assert mcads_node(*arguments)


def test_an_error_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mcads_node", "serve", "--config", str(tmp_path / "none.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78
    assert (
        done.stderr.strip() == f"mcads-node: {tmp_path}/none.yaml: cannot be read: No such file or directory"
    )
