"""Having the kernel begin to write a file to its device, before it is forced to.

A file that is forced to the device when its last byte has come makes its sender wait until all of it is
written. Begun while it comes, most of that is over by then. Nothing is promised by it: `fsync` promises.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

#: as in Linux's fs.h: begin, and do not wait
_SYNC_FILE_RANGE_WRITE = 2


def _begin() -> Callable[[int, int, int], None]:
    found = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if found is None:
        return lambda _descriptor, _offset, _length: None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def begin(descriptor: int, offset: int, length: int) -> None:
        # what it says of the device is said again by fsync
        found(descriptor, offset, length, _SYNC_FILE_RANGE_WRITE)

    return begin


#: given a file's descriptor, where what is to be written begins, and how long it is; does nothing where the
#: system has no such call (it is Linux's)
begin_write_back: Callable[[int, int, int], None] = _begin()
