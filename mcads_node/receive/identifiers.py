"""What identifies an encoded data set and its patient, read from its bytes without decoding anything else.

The receiver must know which study an object belongs to before it answers the peer, in many threads at a time.
A full parser would decode text, warn of every deviation and trip over what the network may send; this walk
reads tags and lengths (PS3.5 section 7) up to Study Instance UID and touches no other value.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydicom.uid import UID

from mcads_node.errors import InstanceUnreadable

_SOP_CLASS_UID = 0x0008_0016
_SOP_INSTANCE_UID = 0x0008_0018
_PATIENT_ID = 0x0010_0020
_ISSUER_OF_PATIENT_ID = 0x0010_0021
_STUDY_INSTANCE_UID = 0x0020_000D
_DELIMITING_GROUP = 0xFFFE
_DELIMITERS = (0xFFFE_E00D, 0xFFFE_E0DD)
_UNDEFINED = 0xFFFF_FFFF
#: VRs whose length takes four bytes in explicit VR (PS3.5 section 7.1.2)
_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
#: bytes a deflated header may unfold to; a data set that hides its study behind more is refused
_MOST_INFLATED = 16 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Identifiers:
    """What the data set has, stripped of padding, unchecked; empty where absent."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    #: as encoded, stripped of padding; to compare, and for nobody to read
    patient_id: bytes = field(default=b"", repr=False, compare=False)
    issuer_of_patient_id: bytes = field(default=b"", repr=False, compare=False)


def read_identifiers(dataset: bytes, transfer_syntax_uid: str) -> Identifiers:
    """Read the identifying UIDs of `dataset`, which is encoded in `transfer_syntax_uid`.

    Raises
    ------
    InstanceUnreadable
        The bytes are not a data set in that transfer syntax, up to Study Instance UID.
    """
    syntax = UID(transfer_syntax_uid)
    walk = _Walk(
        data=_inflate(dataset) if syntax.is_deflated else dataset,
        order="<" if syntax.is_little_endian else ">",
        implicit=syntax.is_implicit_VR,
    )
    if not walk.data:
        raise InstanceUnreadable("the data set is empty")
    found: dict[int, bytes] = {}
    for tag, value in walk.values():
        found[tag] = value
        if tag >= _STUDY_INSTANCE_UID:
            break
    sop_class, sop_instance, study = (
        uid_text(found.get(tag, b"")) for tag in (_SOP_CLASS_UID, _SOP_INSTANCE_UID, _STUDY_INSTANCE_UID)
    )
    return Identifiers(
        sop_class_uid=sop_class,
        sop_instance_uid=sop_instance,
        study_instance_uid=study,
        patient_id=found.get(_PATIENT_ID, b"").strip(b"\0 "),
        issuer_of_patient_id=found.get(_ISSUER_OF_PATIENT_ID, b"").strip(b"\0 "),
    )


def uid_text(value: bytes) -> str:
    """Text of a UI value as received: padding off, bytes outside ASCII escaped, nothing checked."""
    return value.decode("ascii", errors="backslashreplace").strip("\0 ")


def _inflate(dataset: bytes) -> bytes:
    # bounded, since a few kilobytes can be made to unfold to gigabytes
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(dataset, _MOST_INFLATED)
    except zlib.error as error:
        raise InstanceUnreadable(
            f"the data set is not deflated as its transfer syntax says: {error}"
        ) from error


@dataclass
class _Walk:
    """A cursor over an encoded data set; `nesting` holds, per open sequence or item, what is around it."""

    data: bytes
    order: str
    implicit: bool
    at: int = 0
    nesting: list[bool] = field(default_factory=list)

    def values(self) -> Iterator[tuple[int, bytes]]:
        """Yield tag and value of the top-level elements, sequences of undefined length left out."""
        while self.at < len(self.data):
            start = self.at
            group, element = self._unpack("HH")
            tag = group << 16 | element
            vr, length = self._vr_and_length(group)
            if tag in _DELIMITERS:
                self._leave(start)
            elif length == _UNDEFINED:
                self._enter(vr)
            else:
                value = self._value(length, f"({group:04X},{element:04X}) at byte {start}")
                if not self.nesting:
                    yield tag, value
        if self.nesting:
            raise InstanceUnreadable("the data set ends within a sequence")

    def _value(self, length: int, name: str) -> bytes:
        left = len(self.data) - self.at
        if length > left:
            raise InstanceUnreadable(f"{name} claims {length} bytes, but only {left} are left")
        self.at += length
        return self.data[self.at - length : self.at]

    def _vr_and_length(self, group: int) -> tuple[bytes, int]:
        if self.implicit or group == _DELIMITING_GROUP:
            return b"", self._unpack("I")[0]
        vr = self.data[self.at : self.at + 2]
        if not (vr.isalpha() and vr.isupper()):
            raise InstanceUnreadable(f"expected a VR at byte {self.at}, found {vr.hex() or 'the end'}")
        self.at += 2
        if vr in _LONG_VRS:
            return vr, self._unpack("xxI")[0]
        return vr, self._unpack("H")[0]

    def _enter(self, vr: bytes) -> None:
        self.nesting.append(self.implicit)
        # PS3.5 section 6.2.2 note 7: UN of undefined length is a sequence in implicit VR
        self.implicit = self.implicit or vr == b"UN"

    def _leave(self, start: int) -> None:
        if not self.nesting:
            raise InstanceUnreadable(f"a sequence ends at byte {start} that has not begun")
        self.implicit = self.nesting.pop()

    def _unpack(self, form: str) -> tuple[int, ...]:
        size = struct.calcsize(self.order + form)
        if self.at + size > len(self.data):
            raise InstanceUnreadable(f"the data set ends within an element at byte {self.at}")
        values = struct.unpack_from(self.order + form, self.data, self.at)
        self.at += size
        return values
