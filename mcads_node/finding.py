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
    #: model output after operating-point normalisation, 0…1; never a probability
    score: float
    #: 0…1, on the same scale; at or above it the finding is present
    threshold: float
    presence: Presence
    #: what a site's calibration makes of the score, 0…1; None: the site has not calibrated this label
    probability: float | None = None
    #: what it makes of the threshold; None where `probability` is None
    probability_threshold: float | None = None

    def __post_init__(self) -> None:
        said = (self.score, self.threshold, self.probability or 0.0, self.probability_threshold or 0.0)
        if not all(0.0 <= value <= 1.0 for value in said):
            raise ValueError(f"scores, probabilities and thresholds lie in 0…1: {self}")
        if (self.probability is None) != (self.probability_threshold is None):
            raise ValueError(f"a probability has a threshold on its own scale: {self}")

    @property
    def stated(self) -> float:
        """What is told of the finding: the probability where there is one, else the score."""
        return self.score if self.probability is None else self.probability

    @property
    def stated_threshold(self) -> float:
        """The threshold on the scale of `stated`."""
        return self.threshold if self.probability_threshold is None else self.probability_threshold


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
class CalibrationMark:
    """Which calibration an algorithm speaks with: another one makes other results."""

    #: who calibrated it, and for whose images
    site: str
    #: ``temperature``, ``platt`` or ``isotonic``
    method: str
    #: SHA-256 of the calibration, hex
    digest: str
    #: labels that it makes probabilities of; all others stay scores
    labels: tuple[str, ...]


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
    #: None: every score is a "Certainty of Finding" in %, never a probability
    calibration: CalibrationMark | None = None
