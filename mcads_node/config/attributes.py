"""What a rule may ask of: attributes by keyword, by tag or within sequences, and what the node knows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword

from mcads_node.instance import View
from mcads_node.quantity import Kind
from mcads_node.suggestion import did_you_mean


class Fact(StrEnum):
    """What the node knows of an image besides its header."""

    #: calling AE title
    REQUESTOR = "Requestor"
    #: IP address it called from
    REQUESTOR_ADDRESS = "RequestorAddress"
    CALLED_AE_TITLE = "CalledAETitle"
    #: projection, as the reader tells it
    VIEW = "View"
    #: projections of the study's images analysed before, and of this one
    VIEWS_IN_STUDY = "ViewsInStudy"
    #: objects of the study that had come when this image's analysis began, this one included
    IMAGES_IN_STUDY = "ImagesInStudy"


#: words of View and ViewsInStudy
VIEWS = tuple(str(view) for view in View)

_NUMBERS = frozenset({"DS", "IS", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV", "US or SS"})
_KINDS = {"AS": Kind.AGE, "DA": Kind.DATE, "DT": Kind.DATE, "TM": Kind.TIME} | dict.fromkeys(
    _NUMBERS, Kind.NUMBER
)
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}), ?([0-9A-Fa-f]{4})\)?")


@dataclass(frozen=True, kw_only=True)
class Attribute:
    """One thing that a rule asks of."""

    #: as the administrator wrote it
    key: str
    #: tags, of which all but the last are sequences; empty for a fact
    path: tuple[int, ...] = ()
    fact: Fact | None = None
    #: as what limits are compared; None: as whatever the limit was written as
    kind: Kind | None = None
    #: it can be there or not, and has no value to compare
    is_sequence: bool = False

    def __str__(self) -> str:
        if not self.path or self.key.startswith("("):
            return self.key
        return f"{self.key} ({self.path[-1] >> 16:04X},{self.path[-1] & 0xFFFF:04X})"


@lru_cache(maxsize=4096)
def attribute(key: str) -> Attribute:
    """Find what `key` names.

    Raises
    ------
    ValueError
        It names nothing that could be asked of, with what may have been meant.
    """
    if key in Fact.__members__.values():
        fact = Fact(key)
        return Attribute(key=key, fact=fact, kind=Kind.NUMBER if fact is Fact.IMAGES_IN_STUDY else None)
    names = key.split(".")
    tags = tuple(map(_tag, names))
    for name, tag in zip(names[:-1], tags, strict=False):
        if _vr(tag) not in {"SQ", None}:
            raise ValueError(f"{name} is no sequence, so nothing can be asked of within it")
    vr = _vr(tags[-1])
    if vr is not None and (vr.startswith("O") or vr == "UN"):
        raise ValueError(f"{names[-1]} holds binary data, which a rule cannot ask of")
    return Attribute(
        key=key, path=tags, kind=_KINDS.get(vr) if vr is not None else None, is_sequence=vr == "SQ"
    )


def _tag(name: str) -> int:
    written = _TAG.fullmatch(name)
    tag = int(written[1] + written[2], 16) if written else tag_for_keyword(name)
    if tag is None:
        known = [*_keywords(), *Fact, "Time", "any", "all", "none"]
        raise ValueError(
            f"{name!r} is neither a DICOM keyword nor a tag (gggg,eeee){did_you_mean(name, known)}"
        )
    group = tag >> 16
    if group == 0 or group >= 0x7FE0 or (group & 0xFF00) in (0x5000, 0x6000) or tag == 0x00880200:
        raise ValueError(f"{name} is no part of an image's header, so a rule cannot ask of it")
    return tag


def _vr(tag: int) -> str | None:
    """VR of the dictionary; None where it has none, as of private attributes."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return None


@lru_cache(maxsize=1)
def _keywords() -> frozenset[str]:
    return frozenset(filter(None, keyword_dict))
