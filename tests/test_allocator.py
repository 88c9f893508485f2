"""What was freed is given back by the node, whatever threads had it, and kept by a worker."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: each thread has large buffers, and then something small that stays above where they were
_CHURN = """
import sys, threading
from pathlib import Path
from mcads_node.allocator import give_back_what_is_freed

def resident():
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if "VmRSS" in each]
    return int(line.split()[1]) // 1024

stays = []
def work():
    for _ in range(3):
        buffers = [b"x" * (3 << 20) for _ in range(4)]
        stays.append(b"x" * 4096)
        del buffers

def threads():
    all_at_once = [threading.Thread(target=work) for _ in range(8)]
    for each in all_at_once:
        each.start()
    for each in all_at_once:
        each.join()

if sys.argv[1:]:
    give_back_what_is_freed()
before = resident()
for _ in range(3):
    threads()
print(resident() - before)
"""


def grown(*arguments: str) -> int:
    """MiB that a process holds more after its threads had ended."""
    done = subprocess.run(
        [sys.executable, "-c", _CHURN, *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc's allocator")
def test_a_process_does_not_keep_what_its_threads_had() -> None:
    # 12 MiB is what one thread has at a time
    assert grown("settled") < 12


#: buffers as large as those of a radiograph, one piece of work after the other
_WORK = """
import resource, sys
from mcads_node.allocator import keep_what_is_freed

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def work():
    buffers = [bytes(bytearray(20 << 20)) for _ in range(3)]

if sys.argv[1:]:
    keep_what_is_freed()
work()
before = faults()
for _ in range(4):
    work()
print(faults() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc's allocator")
def test_a_worker_takes_the_same_pages_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WORK, "settled"], capture_output=True, text=True, timeout=60, check=True
    )
    # 60 MiB a time are 15,000 pages, which would be made anew
    assert int(done.stdout) < 5_000
