"""The verbs as an administrator runs them, each in its own process, without the time that imports take."""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.documents import ROOT


@cache
def _server() -> subprocess.Popen[str]:
    # threads of OpenBLAS would be in the way of a fork; and what is said is not broken into short lines
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "COLUMNS": "300"}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.verb_server"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # it ends with its input
    atexit.register(server.communicate)
    return server


def run_verb(
    *arguments: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    seconds: float = 120.0,
) -> subprocess.CompletedProcess[str]:
    """Run a verb to its end; where told, in another folder than this one, with more of an environment."""
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    with TemporaryDirectory() as written:
        outputs = [Path(written) / name for name in ("stdout", "stderr")]
        asked = {
            "arguments": arguments,
            "environment": {**os.environ, **(environment or {})},
            "folder": str(folder or Path.cwd()),
            "outputs": list(map(str, outputs)),
        }
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        ready, _, _ = select.select([server.stdout], [], [], seconds)
        if not ready:
            _give_up(server)
            raise AssertionError(f"{arguments}: not within {seconds} s")
        answer = server.stdout.readline()
        assert answer, "the server of verbs has ended"
        stdout, stderr = (path.read_text(encoding="utf-8") for path in outputs)
    return subprocess.CompletedProcess(arguments, int(answer), stdout, stderr)


def _give_up(server: subprocess.Popen[str]) -> None:
    """End the server and what it forked; the next verb has another."""
    os.killpg(server.pid, 9)
    server.wait()
    _server.cache_clear()
