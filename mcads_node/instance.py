"""What the node knows of one received image: who sent it, where its bytes are, and what was read from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RE_VALID_UID


def is_valid_uid(value: str) -> bool:
    """Whether `value` is a UID as PS3.5 section 9.1 has it: at most 64 of ``0-9.``, no leading zeros."""
    return len(value) <= 64 and re.fullmatch(RE_VALID_UID, value) is not None


@dataclass(frozen=True, kw_only=True)
class Requestor:
    """Who asked for the association an instance came on (PS3.8: the association requestor)."""

    #: calling AE title, stripped of padding
    ae_title: str
    #: IP address
    address: str
    #: the AE title it called
    called_ae_title: str


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """How an image came, and what the node had of its study when its analysis began."""

    requestor: Requestor
    #: timezone-aware
    received_at: datetime
    #: objects of the study that had come, the image itself included
    images_in_study: int = 1
    #: projections of the study's images that had been analysed
    views_in_study: tuple[View, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReceivedInstance:
    """One SOP instance whose bytes are safely in the spool."""

    #: as the peer wrote them; untrusted, never a path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    transfer_syntax_uid: str
    requestor: Requestor
    #: UTC
    received_at: datetime
    #: relative to the spool; a name of the node's own making
    path: str
    #: bytes of the Part 10 file
    size: int
    #: SHA-256 of the data set as the peer encoded it (without preamble and file meta), hex
    digest: str
    #: digests of Patient ID (0010,0020) and of its issuer (0010,0021), hex, comparable within one study;
    #: None where the attribute is absent or empty
    patient: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, kw_only=True)
class Declined:
    """An instance the node does not analyse; it stays on record with the reason."""

    #: one sentence for an administrator, naming the tag or the rule; without PHI
    reason: str


class Verdict(StrEnum):
    """How a check of the input ended."""

    PASS = "pass"
    #: analysed, and the warning is shown on every object
    WARN = "warn"
    #: analysed, but no presence is claimed
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, kw_only=True)
class InputCheck:
    """One check of whether an image is what the model was made for."""

    #: short name, such as ``polarity`` or ``view``
    name: str
    verdict: Verdict
    #: one sentence for a radiologist; without PHI
    reason: str


class View(StrEnum):
    """Projection of a chest radiograph, as the header tells it."""

    PA = "PA"
    AP = "AP"
    LATERAL = "LATERAL"
    OTHER = "OTHER"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, kw_only=True)
class ModelGeometry:
    """Where the square that the model sees lies in the source's pixel matrix.

    Model pixel (r, c), counted from 0 at its centre, has its centre in the source at row
    ``top + (r + 0.5) · side / size − 0.5`` and column ``left + (c + 0.5) · side / size − 0.5``.
    """

    #: source matrix
    rows: int
    columns: int
    #: first source row and column of the centre crop
    top: int
    left: int
    #: side of the crop in source pixels
    side: int
    #: side of the model's input in pixels
    size: int

    def __post_init__(self) -> None:
        inside = self.top >= 0 and self.left >= 0
        inside = inside and self.top + self.side <= self.rows and self.left + self.side <= self.columns
        if not inside or self.side < 1 or self.size < 1:
            raise ValueError(f"the crop does not lie within the source: {self}")


@dataclass(frozen=True, kw_only=True, eq=False)
class Radiograph:
    """One image, decoded, in source geometry and in the value range the models were trained on."""

    #: the source's header, without pixel data
    header: Dataset
    #: float32, rows × columns, −1024 (darkest, air) … 1024 (brightest, bone); polarity as MONOCHROME2,
    #: after Modality LUT and the source's own VOI
    pixels: NDArray[np.float32]
    view: View
    #: every check of the gate that did not pass
    checks: tuple[InputCheck, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 2 or self.pixels.dtype != np.float32:
            raise ValueError(f"expected float32 rows × columns, got {self.pixels.dtype} {self.pixels.shape}")
