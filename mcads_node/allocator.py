"""The C library's memory allocator, told to give back what was freed.

Left to itself, glibc makes up to eight arenas a processor, one thread after the other, and once a large
buffer was freed it takes buffers of that size from the arenas as well. The node has a thread for every
connection, and moves objects of many megabytes: what they had is free then, but lies in pieces between things
that live longer, in every arena anew, and the process grows (docs/decisions/0014).
"""

from __future__ import annotations

import ctypes

#: parameters of ``mallopt``, as in glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
#: a buffer of this many bytes is mapped by itself, and gone when it is freed; PDUs (128 KiB) stay below it
_MAPPED_FROM = 256 * 1024
#: bytes at the end of an arena that may stay there unused
_KEPT_AT_THE_END = 1024 * 1024
_ARENAS = 2


def give_back_what_is_freed() -> None:
    """Set up the allocator of this process; to be called before its threads are started.

    Where the C library is not glibc nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    # each of the first two ends glibc's own adjusting of both
    mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_AT_THE_END)
    mallopt(_M_ARENA_MAX, _ARENAS)
