"""What the disk allows: files of an image's size written and forced to the device, and nothing else done."""

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

#: as a Storage SCP has it of its peers
_PIECE = 131_072


def write_files(image: bytes, count: int, at_once: int) -> float:
    """Write so many files, some at a time, as a durable store has to; gives how many a second.

    Each is written under another name, forced, given its name, and its folder forced.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ThreadPoolExecutor(at_once) as writers:
        # what an earlier one left to the kernel is not written at this one's cost
        os.sync()
        begun = time.perf_counter()
        for each in [writers.submit(_write, Path(folder) / str(n), image) for n in range(count)]:
            each.result()
        return count / (time.perf_counter() - begun)


def _write(file: Path, image: bytes) -> None:
    temporary = file.with_suffix(".part")
    with temporary.open("wb", buffering=0) as opened, memoryview(image) as content:
        for at in range(0, len(image), _PIECE):
            opened.write(content[at : at + _PIECE])
        os.fsync(opened.fileno())
    temporary.rename(file)
    descriptor = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
