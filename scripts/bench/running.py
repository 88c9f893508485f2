"""Runs the commands of this folder, one after the other, and ends them with all that they have started."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from protocol import Row, goals_of, missing, progress

#: a command that is told to end takes its peers down in order; then it is killed with all of them
_FAREWELL_SECONDS = 30.0


def run(command: Path, options: list[str], seconds: float) -> list[Row]:
    """Give the rows of a command; of each goal one, with the reason where there is no value.

    Parameters
    ----------
    command
        An executable that follows the protocol.
    options
        Besides ``--json``.
    seconds
        It is ended after so long.
    """
    rows, why = _rows(command, options, seconds)
    given = {row["name"] for row in rows}
    return rows + missing([name for name in goals_of(command.name) if name not in given], why)


def _rows(command: Path, options: list[str], seconds: float) -> tuple[list[Row], str]:
    if not os.access(command, os.X_OK):
        return [], f"there is no command {command.name}"
    if seconds <= 0:
        return [], "there was no time left for it"
    process = subprocess.Popen(
        [command, "--json", *options],
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        progress(f"{command.name}: ended, since it was not done within {seconds:.0f} s")
        return [], f"it was not done within {seconds:.0f} s"
    finally:
        _end(process)
    if process.returncode:
        return [], f"{command.name} ended with {process.returncode}; what it said is above, on standard error"
    try:
        rows: list[Row] = json.loads(said)["rows"]
    except (ValueError, LookupError, TypeError):
        return [], f"{command.name} did not print rows"
    return rows, f"{command.name} did not tell of it"


def _end(process: subprocess.Popen[str]) -> None:
    """End a command, and whatever of its descendants is left."""
    if process.poll() is not None:
        return
    descendants = list(_descendants(process.pid))
    process.terminate()
    deadline = time.monotonic() + _FAREWELL_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    for each in (*descendants, process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each, signal.SIGKILL)
    process.communicate()


def _descendants(of: int) -> Iterator[int]:
    """Processes that a process has started, and these, and so on (Linux)."""
    for file in Path(f"/proc/{of}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, file.read_text().split()):
                yield child
                yield from _descendants(child)
