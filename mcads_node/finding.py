"""What the model says of one image, and how it came to say it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mcads_node.instance import InputCheck, ModelGeometry, Verdict


class Presence(StrEnum):
    """CID 240-like answer to "is it there?"."""

    PRESENT = "present"
    ABSENT = "absent"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One label of the model on one image."""

    #: the model's own label, such as ``Pleural_Thickening``
    label: str
    #: model output after operating-point normalisation, 0…1; not a probability unless calibrated
    score: float
    #: 0…1, on the same scale; at or above it the finding is present
    threshold: float
    presence: Presence

    def __post_init__(self) -> None:
        if not (0.0 <= self.score <= 1.0 and 0.0 <= self.threshold <= 1.0):
            raise ValueError(f"score and threshold lie in 0…1: {self}")


def presence_of(score: float, threshold: float, checks: tuple[InputCheck, ...]) -> Presence:
    """Decide the presence of a finding; where the input is not fit for the model, nothing is claimed."""
    if any(check.verdict is Verdict.UNDETERMINED for check in checks):
        return Presence.UNDETERMINED
    return Presence.PRESENT if score >= threshold else Presence.ABSENT


@dataclass(frozen=True, kw_only=True, eq=False)
class Heatmap:
    """Where the model looked for one finding."""

    finding: Finding
    #: ``grad-cam``
    method: str
    #: float32, h × w, 0…1; spans exactly the model's input square, coarser or equal in resolution
    activation: NDArray[np.float32]
    geometry: ModelGeometry
    #: False where the finding is not present and its map was asked for all the same
    positive: bool = True


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """Who speaks in a report: the model, in exactly this version (TID 4019)."""

    #: folder name of the model, such as ``densenet121-res224-all``
    name: str
    #: of the node and the model's manifest together, such as ``0.1.0+1``
    version: str
    #: SHA-256 of the weights file, hex
    weights_digest: str
    #: 2.25 UID of this model version: the Device UID of every object made with it
    device_uid: str
    #: the model's labels in its output order
    labels: tuple[str, ...]
    #: what every object made with it must say, such as ``NOT FOR CLINICAL USE``; empty where it may serve
    caution: str = ""
    #: False: scores are "Certainty of Finding" in %, never a probability
    calibrated: bool = False
