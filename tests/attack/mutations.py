"""Wrong associations: what a real requestor sent, recorded PDU by PDU, and changed at random.

Each mutator takes the PDUs of one association and gives others. A case is its number and the seed: it can be
made again, and looked at.
"""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Callable, Sequence

Pdus = list[bytes]
Mutator = Callable[[random.Random, Pdus], Pdus]
#: PS3.8 table 9-11 and after: P-DATA-TF
_P_DATA = 0x04


def split(stream: bytes) -> Pdus:
    """Cut what a requestor sent into its PDUs."""
    pdus, at = [], 0
    while at < len(stream):
        (length,) = struct.unpack_from(">I", stream, at + 2)
        pdus.append(stream[at : at + 6 + length])
        at += 6 + length
    return pdus


def _any(chance: random.Random, pdus: Pdus) -> int:
    # the association request is worth as much as all that follows it
    return 0 if chance.random() < 0.4 else chance.randrange(len(pdus))


def flip_bits(chance: random.Random, pdus: Pdus) -> Pdus:
    """Flip some bits anywhere."""
    at = _any(chance, pdus)
    changed = bytearray(pdus[at])
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return [*pdus[:at], bytes(changed), *pdus[at + 1 :]]


def flip_early_bits(chance: random.Random, pdus: Pdus) -> Pdus:
    """Flip bits among the first bytes of a PDU, where its structure is."""
    at = _any(chance, pdus)
    changed = bytearray(pdus[at])
    for _ in range(chance.choice((1, 2, 4))):
        changed[chance.randrange(min(len(changed), 160))] ^= 1 << chance.randrange(8)
    return [*pdus[:at], bytes(changed), *pdus[at + 1 :]]


def flip_data_bits(chance: random.Random, pdus: Pdus) -> Pdus:
    """Flip bits of a data set or command, and nothing of what is around it."""
    places = [at for at, each in enumerate(pdus) if each[0] == _P_DATA and len(each) > 12]
    if not places:
        return flip_bits(chance, pdus)
    at = chance.choice(places)
    changed = bytearray(pdus[at])
    for _ in range(chance.choice((1, 4, 32))):
        changed[chance.randrange(12, len(changed))] ^= 1 << chance.randrange(8)
    return [*pdus[:at], bytes(changed), *pdus[at + 1 :]]


def truncate(chance: random.Random, pdus: Pdus) -> Pdus:
    """End in the middle of a PDU."""
    at = _any(chance, pdus)
    return [*pdus[:at], pdus[at][: chance.randrange(len(pdus[at]))]]


def shorten(chance: random.Random, pdus: Pdus) -> Pdus:
    """Leave out the end of a PDU, and go on: what follows is taken for the rest of it."""
    at = _any(chance, pdus)
    return [*pdus[:at], pdus[at][: chance.randrange(len(pdus[at]))], *pdus[at + 1 :]]


def lie_about_length(chance: random.Random, pdus: Pdus) -> Pdus:
    """Say another length of a PDU."""
    at = _any(chance, pdus)
    length = chance.choice((0, 1, 2**16, 2**31, 2**32 - 1, len(pdus[at]) + chance.randrange(-20, 20)))
    changed = pdus[at][:2] + struct.pack(">I", length % 2**32) + pdus[at][6:]
    return [*pdus[:at], changed, *pdus[at + 1 :]]


def lie_within(chance: random.Random, pdus: Pdus) -> Pdus:
    """Put another number where an item, a PDV or an element may have its length."""
    at = _any(chance, pdus)
    changed = bytearray(pdus[at])
    if len(changed) < 16:
        return lie_about_length(chance, pdus)
    width, order = chance.choice((2, 4)), chance.choice(("<", ">"))
    number = (
        chance.choice((0, 1, 0xFFFF, 0x7FFF, 0x8000)) if width == 2 else chance.choice((0, 2**31, 2**32 - 1))
    )
    struct.pack_into(
        f"{order}{'H' if width == 2 else 'I'}", changed, chance.randrange(6, len(changed) - 4), number
    )
    return [*pdus[:at], bytes(changed), *pdus[at + 1 :]]


def repeat(chance: random.Random, pdus: Pdus) -> Pdus:
    """Send a PDU several times."""
    at = _any(chance, pdus)
    return [*pdus[:at], *[pdus[at]] * chance.choice((2, 2, 5)), *pdus[at + 1 :]]


def reorder(chance: random.Random, pdus: Pdus) -> Pdus:
    """Send the PDUs in another order."""
    return chance.sample(pdus, len(pdus))


def leave_out(chance: random.Random, pdus: Pdus) -> Pdus:
    """Leave out a PDU."""
    at = _any(chance, pdus)
    return pdus[:at] + pdus[at + 1 :]


def other_kind(chance: random.Random, pdus: Pdus) -> Pdus:
    """Call a PDU another."""
    at = _any(chance, pdus)
    return [*pdus[:at], bytes([chance.choice((*range(10), 0xFF))]) + pdus[at][1:], *pdus[at + 1 :]]


def insert_pdu(chance: random.Random, pdus: Pdus) -> Pdus:
    """Add a PDU of any kind, with any content."""
    content = chance.randbytes(chance.choice((0, 4, 4, 10, 100)))
    added = struct.pack(">BxI", chance.randrange(10), len(content)) + content
    at = chance.randrange(len(pdus) + 1)
    return [*pdus[:at], added, *pdus[at:]]


def insert_noise(chance: random.Random, pdus: Pdus) -> Pdus:
    """Add bytes that are nothing."""
    at = chance.randrange(len(pdus) + 1)
    return [*pdus[:at], chance.randbytes(chance.choice((1, 7, 100, 5000))), *pdus[at:]]


def only_noise(chance: random.Random, _pdus: Pdus) -> Pdus:
    """Send nothing that is DICOM."""
    lines = (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"")
    return [chance.choice(lines) + chance.randbytes(chance.choice((0, 3, 300, 20000)))]


MUTATORS: tuple[Mutator, ...] = (
    flip_bits,
    flip_early_bits,
    flip_data_bits,
    flip_data_bits,
    truncate,
    shorten,
    lie_about_length,
    lie_within,
    lie_within,
    repeat,
    reorder,
    leave_out,
    other_kind,
    insert_pdu,
    insert_noise,
    only_noise,
)


def rename(chance: random.Random, pdus: Pdus, uids: Sequence[bytes]) -> Pdus:
    """Give the objects of an association UIDs of their own, as long as those that they had."""
    stream = list(pdus)
    for uid in uids:
        number = str(uuid.UUID(int=chance.getrandbits(128)).int).zfill(39).replace("0", "1", 1)
        other = f"2.25.1{number}"[: len(uid)].encode()
        stream = [each.replace(uid, other) for each in stream]
    return stream


def case(recordings: Sequence[Pdus], seed: int, number: int, uids: Sequence[bytes] = ()) -> Pdus:
    """Make the case of a number: one recording, changed once to three times.

    Parameters
    ----------
    recordings
        Real associations.
    seed, number
        The same ones make the same case.
    uids
        Of the recorded objects: one case among eight is a new object, which the node has to analyse.
    """
    chance = random.Random(f"{seed}/{number}")
    pdus = list(chance.choice(recordings))
    if chance.random() < 0.125:
        pdus = rename(chance, pdus, uids)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if pdus:
            pdus = [each for each in chance.choice(MUTATORS)(chance, pdus) if each]
    return pdus
