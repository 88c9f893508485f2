"""The lines of the log, as a machine reads them."""

from __future__ import annotations

import json
import subprocess
import sys

_TELL = """
from datetime import UTC, datetime
import structlog
from mcads_node.logs import configure_logs
configure_logs(as_json=True)
log = structlog.stdlib.get_logger("mcads_node.tests")
log.info("told", until=datetime(2026, 1, 31, 3, 0, tzinfo=UTC), times=2)
"""


def test_a_moment_is_written_as_the_time_stamp_is() -> None:
    # in a process of its own: the set-up is of the whole process
    done = subprocess.run(
        [sys.executable, "-c", _TELL], capture_output=True, text=True, timeout=60, check=True
    )
    line = json.loads(done.stderr)
    assert (line["event"], line["until"], line["times"]) == ("told", "2026-01-31T03:00:00+00:00", 2)


_CAPTURE = """
import structlog
from structlog.testing import capture_logs
from mcads_node.logs import configure_logs
log = structlog.stdlib.get_logger("mcads_node.tests")
configure_logs(as_json=True)
log.info("kept with the first set-up")
configure_logs(as_json=True)
with capture_logs() as told:
    log.info("captured")
print([each["event"] for each in told])
"""


def test_logs_are_captured_however_often_they_were_set_up() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CAPTURE], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "['captured']"
