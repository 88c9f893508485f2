"""How much room there is: a real file system that fills and empties."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mcads_node.disk import DiskGuard, Room
from mcads_node.errors import TransientError
from tests.small_disk import MIB, leave_free, small_disk


class Clock:
    """Seconds that go on when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 16) as folder:
        yield folder


def test_each_change_is_told_once_there_and_back(disk: Path) -> None:
    clock = Clock()
    guard = DiskGuard(disk, alert_below_bytes=8 * MIB, refuse_below_bytes=4 * MIB, clock=clock)
    seen = []
    with capture_logs() as logs:
        for free in (10, 6, 6, 2, 2, 6, 10, 10):
            leave_free(disk, free * MIB)
            clock.now += 1.0
            seen.append(guard.room())
    ample, low, full = Room.AMPLE, Room.LOW, Room.FULL
    assert seen == [ample, low, low, full, full, low, ample, ample]
    assert [each["event"] for each in logs] == ["disk.low", "disk.full", "disk.low", "disk.ample"]
    assert logs[1] == {
        "event": "disk.full",
        "log_level": "error",
        "room": "full",
        "free_mib": 2,
        "alert_below_mib": 8,
        "refuse_below_mib": 4,
        "reason": None,
    }


def test_an_answer_holds_for_a_second(disk: Path) -> None:
    clock = Clock()
    guard = DiskGuard(disk, alert_below_bytes=8 * MIB, refuse_below_bytes=4 * MIB, clock=clock)
    assert guard.room() is Room.AMPLE
    leave_free(disk, MIB)
    clock.now += 0.9
    assert guard.room() is Room.AMPLE
    assert guard.free_bytes() == 16 * MIB
    clock.now += 0.1
    assert guard.room() is Room.FULL
    assert guard.free_bytes() == MIB


def test_marks_of_nought_never_apply(disk: Path) -> None:
    leave_free(disk, 0)
    assert DiskGuard(disk, alert_below_bytes=0, refuse_below_bytes=0).room() is Room.AMPLE


def test_a_disk_that_is_gone_has_no_room(tmp_path: Path) -> None:
    guard = DiskGuard(tmp_path / "absent", alert_below_bytes=0, refuse_below_bytes=0)
    with capture_logs() as logs:
        assert guard.room() is Room.FULL
    assert "No such file" in logs[0]["reason"]
    with pytest.raises(TransientError, match="No such file"):
        guard.free_bytes()
