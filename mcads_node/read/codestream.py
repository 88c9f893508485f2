"""What a compressed frame says of itself, read before any decoder sees it.

A decoder allocates what the codestream declares, not what the data set does: a frame of a few bytes can ask
for gigabytes. It may also hold a picture of another size, colour, or an early end that is filled with grey.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mcads_node.errors import InstanceUnreadable

#: ISO/IEC 10918-1 table B.1 and ISO/IEC 14495-1: start of frame; not DHT (C4), JPG (C8), DAC (CC)
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
_START_OF_SCAN = 0xDA
#: markers that begin a segment with a length: SOFn, DHT, JPG, DAC; SOS … EXP; APPn, JPGn, COM; SOF55 and LSE
_WITH_SEGMENT = frozenset({*range(0xC0, 0xD0), *range(0xDA, 0xE0), *range(0xE0, 0xFF)})
#: APPn and COM
_COMMENTARY = frozenset({*range(0xE0, 0xF0), 0xFE})
#: JP2 boxes around the codestream: against PS3.5 A.4.4, but some devices write them
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  "


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """The frame header of a JPEG, JPEG-LS or JPEG 2000 codestream."""

    rows: int
    columns: int
    #: samples per pixel
    components: int
    #: bits of a sample
    precision: int


def read_jpeg(frame: bytes) -> Codestream:
    """Read the frame header of JPEG (ISO/IEC 10918-1) or JPEG-LS (ISO/IEC 14495-1).

    Raises
    ------
    InstanceUnreadable
        Not such a codestream, without a frame header, or without its end.
    """
    for code, segment in _segments(frame):
        if code in _START_OF_FRAME and len(segment) >= 10:
            precision, rows, columns, components = struct.unpack_from(">BHHB", segment, 4)
            return Codestream(rows=rows, columns=columns, components=components, precision=precision)
    raise InstanceUnreadable("the JPEG codestream in Pixel Data (7FE0,0010) has no frame header: damaged")


def bare_jpeg(frame: bytes) -> bytes:
    """Copy a JPEG codestream without its application data and comments.

    They say nothing of a monochrome frame; but of an odd one libjpeg warns, and of whatever it warns before
    the first scan GDCM throws an exception that no one catches: it ends the process.

    Raises
    ------
    InstanceUnreadable
        Where anything but whole segments precedes the first scan.
    """
    segments = list(_segments(frame))
    kept = (segment for code, segment in segments if code not in _COMMENTARY)
    scan = frame[2 + sum(len(segment) for _, segment in segments) :]
    return b"\xff\xd8" + b"".join(kept) + scan


def _segments(frame: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the marker code and the bytes of each segment from behind SOI up to and with the first SOS."""
    if frame[:2] != b"\xff\xd8":
        raise InstanceUnreadable(
            "Pixel Data (7FE0,0010) holds no JPEG codestream, as its transfer syntax says"
        )
    _refuse_without_end(frame)
    offset, code = 2, 0
    while code != _START_OF_SCAN:
        marker = frame[offset : offset + 4]
        code, length = marker[1] if len(marker) == 4 else 0, int.from_bytes(marker[2:4], "big")
        end = offset + 2 + length
        if marker[:1] != b"\xff" or code not in _WITH_SEGMENT or length < 2 or end > len(frame):
            raise InstanceUnreadable(
                f"the JPEG codestream in Pixel Data (7FE0,0010) is damaged at byte {offset}, "
                "before its first scan"
            )
        yield code, frame[offset:end]
        offset = end


def read_jpeg2000(frame: bytes) -> Codestream:
    """Read the SIZ segment of JPEG 2000 (ISO/IEC 15444-1 A.5.1) or HTJ2K (15444-15), bare or in a JP2 file.

    Raises
    ------
    InstanceUnreadable
        Not such a codestream, or without its end.
    """
    start = frame.find(b"\xff\x4f\xff\x51") if frame.startswith(_JP2_SIGNATURE) else 0
    if start < 0 or frame[start : start + 4] != b"\xff\x4f\xff\x51":
        raise InstanceUnreadable(
            "Pixel Data (7FE0,0010) holds no JPEG 2000 codestream, as its transfer syntax says"
        )
    _refuse_without_end(frame)
    try:
        right, bottom, left, top = struct.unpack_from(">4I", frame, start + 8)
        components, depth = struct.unpack_from(">HB", frame, start + 40)
    except struct.error as error:
        raise InstanceUnreadable("the JPEG 2000 codestream in Pixel Data (7FE0,0010) is damaged") from error
    return Codestream(
        rows=bottom - top, columns=right - left, components=components, precision=(depth & 0x7F) + 1
    )


def _refuse_without_end(frame: bytes) -> None:
    # the last fragment is padded to even length, by some with more than one byte
    if b"\xff\xd9" not in frame[-32:].rstrip(b"\0")[-3:]:
        raise InstanceUnreadable("the codestream in Pixel Data (7FE0,0010) has no end marker: truncated")
