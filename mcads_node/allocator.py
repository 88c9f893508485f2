"""The C library's memory allocator, told what to do with what was freed: by the node, and by its workers.

Left to itself, glibc makes up to eight arenas a processor, one thread after the other, and once a large
buffer was freed it takes buffers of that size from the arenas as well. The node has a thread for every
connection, and moves objects of many megabytes: what they had is free then, but lies in pieces between things
that live longer, in every arena anew, and the process grows (docs/decisions/0014).

A worker does the same work again and again, on a few buffers of many megabytes. Given back and mapped anew,
their pages are made and cleared each time, and that took longer than what is done with them
(docs/decisions/0029).
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
#: a worker reuses buffers up to this many bytes, which is the most that glibc takes; the pixels of a
#: 2500 × 2048 as float32 are 20 MiB
_REUSED_UP_TO = 32 * 1024 * 1024
#: what of them may stay unused between two pieces of work: more than those of one image of that size
_KEPT_BY_WORKERS = 192 * 1024 * 1024


def give_back_what_is_freed() -> None:
    """Set up the allocator of this process; to be called before its threads are started.

    Where the C library is not glibc nothing is changed.
    """
    # each of the first two ends glibc's own adjusting of both
    _set({_M_MMAP_THRESHOLD: _MAPPED_FROM, _M_TRIM_THRESHOLD: _KEPT_AT_THE_END, _M_ARENA_MAX: _ARENAS})


def keep_what_is_freed() -> None:
    """Set up the allocator of a worker: the buffers of one piece of work become those of the next.

    Where the C library is not glibc nothing is changed.
    """
    _set({_M_MMAP_THRESHOLD: _REUSED_UP_TO, _M_TRIM_THRESHOLD: _KEPT_BY_WORKERS})


def _set(parameters: dict[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in parameters.items():
            mallopt(parameter, value)
