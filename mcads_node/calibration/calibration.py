"""What a calibration says of itself, and what it does with findings."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from mcads_node.calibration.curve import Curve, Part
from mcads_node.finding import Algorithm, CalibrationMark, Finding
from mcads_node.model_store.manifest import Manifest, Sha256

Method = Literal["temperature", "platt", "isotonic"]
_Count = Annotated[int, Field(ge=0)]

#: of the file's form; raised when an older node could not read it
FORM: Literal[1] = 1
#: names the Device UIDs of calibrated models; never changed, or the same one would be another device
_NAMESPACE = uuid.UUID("3d0c6f0b-50b5-5d8c-8f6c-2f6d7a1b9e10")


class Interval(Part):
    """A number, and the 95 % interval that it lies in."""

    value: float
    low: float
    high: float


class LabelCalibration(Part):
    """One label's curve, and what it changed on images of patients it was not fitted on."""

    curve: Curve
    positives: _Count
    negatives: _Count
    #: expected calibration error, of the network's output and of the probability
    ece_before: Interval
    ece_after: Interval
    #: in nats
    log_loss_before: Interval
    log_loss_after: Interval


class Provenance(Part):
    """On what it was fitted, by whom, and when."""

    created: datetime
    by: str
    images: _Count
    #: None: patients are not known; images then stand for them
    patients: _Count | None
    #: images that the model could not read
    left_out: _Count
    #: SHA-256 over the digests of all images and their labels
    data_digest: Sha256

    @field_validator("created")
    @classmethod
    def _has_a_zone(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("expected a moment with its time zone, such as 2026-01-31T12:00:00Z")
        return value


class CalibratedModel(Part):
    """The model that it is for, in exactly one version."""

    name: str
    #: of its manifest: with the operating points
    version: int
    weights_digest: Sha256


class Unsealed(Part):
    """A site's calibration of one model, before it has its digest."""

    calibration: Literal[1] = FORM
    site: Annotated[str, Field(pattern=r"^[\w][\w .-]{0,39}$")]
    model: CalibratedModel
    method: Method
    provenance: Provenance
    labels: Annotated[dict[str, LabelCalibration], Field(min_length=1)]
    #: labels that stay scores, and why
    left_out: dict[str, str] = Field(default_factory=dict)

    def seal(self) -> Calibration:
        """Give it its digest."""
        plain = self.model_dump(mode="json")
        return Calibration.model_validate({**plain, "digest": _digest_of(plain)})


class Calibration(Unsealed):
    """A site's calibration of one model."""

    #: SHA-256 of all the rest
    digest: Sha256

    @model_validator(mode="after")
    def _is_as_it_was_made(self) -> Self:
        found = _digest_of(self.model_dump(mode="json", exclude={"digest"}))
        if found != self.digest:
            raise ValueError(
                f"it was changed after it was made: expected SHA-256 {self.digest}, found {found}"
            )
        return self

    def refusal(self, manifest: Manifest, weights_digest: str) -> str:
        """Say why it is not for a model; empty: it is."""
        wanted = self.model
        if (wanted.name, wanted.version) != (manifest.name, manifest.version):
            return (
                f"it is for model {wanted.name}, version {wanted.version}; the model is {manifest.name}, "
                f"version {manifest.version}"
            )
        if wanted.weights_digest != weights_digest:
            return (
                f"it is for other weights: expected SHA-256 {wanted.weights_digest}, those of the model "
                f"are {weights_digest}"
            )
        unknown = sorted(set(self.labels) - set(manifest.labels))
        return f"model {manifest.name} has no label {', '.join(unknown)}" if unknown else ""

    @property
    def mark(self) -> CalibrationMark:
        """What results say of it."""
        return CalibrationMark(
            site=self.site, method=self.method, digest=self.digest, labels=tuple(self.labels)
        )

    def speak_through(self, algorithm: Algorithm) -> Algorithm:
        """Give the algorithm that a model and this calibration are together: another device.

        Its version ends in the calibration's digest, and its Device UID follows from both.
        """
        device = uuid.uuid5(_NAMESPACE, f"{algorithm.device_uid}\n{self.digest}")
        return replace(
            algorithm,
            version=f"{algorithm.version}.cal-{self.digest[:12]}",
            # PS3.5 B.2: a UUID as a decimal number under 2.25
            device_uid=f"2.25.{device.int}",
            calibration=self.mark,
        )

    def apply(
        self, findings: Iterable[Finding], operating_points: Mapping[str, float]
    ) -> tuple[Finding, ...]:
        """Give findings their probabilities; score, threshold and presence stay what they are.

        Parameters
        ----------
        findings
            Of the model that it is for.
        operating_points
            The model's, by label.
        """
        return tuple(self._probable(finding, operating_points) for finding in findings)

    def _probable(self, finding: Finding, operating_points: Mapping[str, float]) -> Finding:
        fitted = self.labels.get(finding.label)
        if fitted is None:
            return finding
        pair = np.array([finding.score, finding.threshold])
        probability, threshold = fitted.curve(pair, operating_points[finding.label]).tolist()
        return replace(finding, probability=probability, probability_threshold=threshold)


def calibration_for(
    calibrations: Sequence[Calibration], model: str, site: str | None = None
) -> Calibration | None:
    """Choose what makes probabilities of a model's scores; None: they stay scores.

    Parameters
    ----------
    calibrations
        All that there are.
    model
        Name of the model.
    site
        Whose calibration is asked for; None: nobody asks, and of several none is taken.
    """
    of_model = [each for each in calibrations if each.model.name == model]
    if site is not None:
        return next((each for each in of_model if each.site == site), None)
    return of_model[0] if len(of_model) == 1 else None


def _digest_of(plain: object) -> str:
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
