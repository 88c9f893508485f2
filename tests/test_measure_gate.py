"""The command that measures the gate runs anywhere, and counts what it says it counts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from tests.gate_cases import chest

ROOT = Path(__file__).resolve().parents[1]


def test_it_measures_on_images_of_ones_own(tmp_path: Path) -> None:
    shown = np.rint((chest() + 1024) * 255 / 2048).astype(np.uint8)
    Image.fromarray(shown).save(tmp_path / "chest.png")
    Image.fromarray(shown[::-1]).save(tmp_path / "flipped.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,patient,view\nchest.png,1,PA\nflipped.png,2,PA\n", encoding="utf-8")
    sheets = tmp_path / "sheets"
    command = [sys.executable, ROOT / "scripts" / "measure_gate", tmp_path, labels, "--all", "--json"]
    done = subprocess.run(
        [*map(str, command), "--sheets", str(sheets)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["images"], told["patients"]) == (2, 2)
    assert told["unaltered"]["orientation"]["count"] == told["unaltered"]["any"]["count"] == 1
    # the interval of one in two, by Wilson
    assert (told["unaltered"]["any"]["low"], told["unaltered"]["any"]["high"]) == (0.09453, 0.90547)
    inverted = told["altered"]["inverted"]
    assert (inverted["missed"]["count"], inverted["passed all checks"]["count"]) == (0, 0)
    assert told["others"]["pictures"]["camera.png"] == {"chest": "undetermined"}
    assert (sheets / "false-alarms.png").is_file()
