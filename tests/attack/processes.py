"""What a process holds, as the kernel tells it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a process holds at one moment."""

    threads: int
    descriptors: int
    #: resident memory
    mebibytes: float


def footprint(pid: int) -> Footprint:
    """Look at a process.

    Raises
    ------
    ProcessLookupError
        It is gone, or nothing is left of it but its exit status.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    if "VmRSS" not in status:
        raise ProcessLookupError(pid)
    return Footprint(
        threads=int(status["Threads"]),
        descriptors=descriptors,
        mebibytes=int(status["VmRSS"].split()[0]) / 1024,
    )


def resting_footprint(pid: int, seconds: float) -> Footprint:
    """Look at a process for some time, while its peers are gone; gives the least of each."""
    found, deadline = [footprint(pid)], time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.25)
        found.append(footprint(pid))
    return Footprint(
        threads=min(each.threads for each in found),
        descriptors=min(each.descriptors for each in found),
        mebibytes=min(each.mebibytes for each in found),
    )


def heaps(pid: int) -> int:
    """Count the heaps that glibc made for threads: 64 MiB of addresses each, of which little is used."""
    size, starts, found = 64 * 2**20, set[int](), 0
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        start, end = (int(each, 16) for each in line.split()[0].split("-"))
        starts.add(start)
        # what is not used of it, up to its end
        found += line.split()[1] == "---p" and end % size == 0 and end - size in starts
    return found
