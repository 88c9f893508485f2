"""Labelled images read by a model: what ``models evaluate``, ``calibrate`` and ``thresholds`` share."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mcads_node.calibration import Calibration, read_calibration
from mcads_node.compute import Compute, WorkerLost
from mcads_node.errors import PermanentError
from mcads_node.evaluation.labelled import LabelledImage, LabelledSet, read_labels
from mcads_node.evaluation.sample import Sample, numbered
from mcads_node.evaluation.thresholds import read_thresholds
from mcads_node.finding import Algorithm, Finding
from mcads_node.instance import Declined
from mcads_node.model_store.manifest import Manifest
from mcads_node.task import Scored
from mcads_node.verbs.offline import offline_compute
from mcads_node.verbs.overview import store_at

_MOST_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What an administrator names on the command line."""

    model: str
    images: Path
    labels: Path
    data_dir: Path
    calibration: Path | None = None
    thresholds: Path | None = None


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """An image that says nothing of the model."""

    #: as the CSV file has it
    image: str
    reason: str


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredSet:
    """Scores of all images that could be read."""

    manifest: Manifest
    algorithm: Algorithm
    #: None: none was asked for
    calibration: Calibration | None
    labels: tuple[str, ...]
    #: of the images that were read, and what was found on each
    images: tuple[LabelledImage, ...]
    findings: tuple[tuple[Finding, ...], ...]
    left_out: tuple[LeftOut, ...]
    has_patients: bool
    #: SHA-256 over the digests of all images that were read, and their labels
    data_digest: str
    #: the site's own, by label; of all others the manifest's
    thresholds: Mapping[str, float] = field(default_factory=dict)

    @property
    def patients(self) -> int:
        """How many patients there are; where they are not told, how many images."""
        return len({image.patient for image in self.images})

    def samples(self) -> tuple[Sample, ...]:
        """Give each label that the file has, on the images for which it is known."""
        whose = numbered([image.patient for image in self.images])
        return tuple(self._sample(label, whose) for label in self.labels)

    def _sample(self, label: str, whose: np.ndarray[tuple[int, ...], np.dtype[np.intp]]) -> Sample:
        of_label = [next(each for each in found if each.label == label) for found in self.findings]
        truths = [image.truths[label] for image in self.images]
        known = np.array([truth is not None for truth in truths])
        return Sample(
            label=label,
            scores=np.array([each.score for each in of_label], dtype=np.float64)[known],
            truth=np.array([truth is True for truth in truths])[known],
            patients=whose[known],
            threshold=self.thresholds.get(label, self.manifest.thresholds[label]),
            probabilities=np.array([each.stated for each in of_label], dtype=np.float64)[known],
        )


def score_images(inputs: Inputs, progress: Callable[[int, int], None]) -> ScoredSet:
    """Have a model read labelled images, in worker processes.

    An image that cannot be read, even one that crashes its worker, is left out with its reason.

    Parameters
    ----------
    inputs
        Model, images and labels.
    progress
        Called with the number of images that are done, and of all.

    Raises
    ------
    NodeError
        The model, the labels or the calibration cannot be used, or no image can be read.
    """
    manifest = store_at(inputs.data_dir).manifest(inputs.model)
    labelled = read_labels(inputs.labels, inputs.images, manifest.labels)
    calibration = None if inputs.calibration is None else read_calibration(inputs.calibration)
    thresholds = {} if inputs.thresholds is None else read_thresholds(inputs.thresholds, manifest)
    workers = min(len(os.sched_getaffinity(0)), _MOST_WORKERS)
    run = _Run()
    with offline_compute(inputs.data_dir, inputs.model, workers, calibration) as compute:
        progress(0, len(labelled.images))
        for done, (image, digest, future) in enumerate(_submitted(labelled, compute, workers), start=1):
            run.take(image, digest, future)
            progress(done, len(labelled.images))
    if run.algorithm is None:
        reasons = "; ".join(sorted({each.reason for each in run.left_out})[:3])
        raise PermanentError(f"none of the {len(labelled.images)} images could be read: {reasons}")
    return ScoredSet(
        manifest=manifest,
        algorithm=run.algorithm,
        calibration=calibration,
        labels=labelled.labels,
        images=tuple(run.images),
        findings=tuple(run.findings),
        left_out=tuple(run.left_out),
        has_patients=labelled.has_patients,
        data_digest=hashlib.sha256("\n".join(sorted(run.digests)).encode()).hexdigest(),
        thresholds=thresholds,
    )


_Answer = Future[Scored | Declined]


def _submitted(
    labelled: LabelledSet, compute: Compute, workers: int
) -> Iterator[tuple[LabelledImage, str, _Answer | str]]:
    """Submit a few images ahead of those that are waited for; instead of an answer, why there is none."""
    ahead: deque[tuple[LabelledImage, str, _Answer | str]] = deque()
    for image in labelled.images:
        try:
            data = image.path.read_bytes()
        except OSError as error:
            ahead.append((image, "", f"the file cannot be read: {error.strerror}"))
        else:
            ahead.append((image, hashlib.sha256(data).hexdigest(), compute.score(data)))
        if len(ahead) > 2 * workers:
            yield ahead.popleft()
    yield from ahead


class _Run:
    """What is gathered."""

    def __init__(self) -> None:
        self.algorithm: Algorithm | None = None
        self.images: list[LabelledImage] = []
        self.findings: list[tuple[Finding, ...]] = []
        self.left_out: list[LeftOut] = []
        self.digests: list[str] = []

    def take(self, image: LabelledImage, digest: str, answer: _Answer | str) -> None:
        reason = answer if isinstance(answer, str) else self._read(image, digest, answer)
        if reason:
            self.left_out.append(LeftOut(image=image.name, reason=reason))

    def _read(self, image: LabelledImage, digest: str, answer: _Answer) -> str:
        try:
            scored = answer.result()
        except (PermanentError, WorkerLost) as error:
            return str(error)
        if isinstance(scored, Declined):
            return f"declined: {scored.reason}"
        if scored.doubts:
            return f"nothing would be claimed of it: {' '.join(scored.doubts)}"
        self.algorithm = scored.algorithm
        self.images.append(image)
        self.findings.append(scored.findings)
        self.digests.append(f"{digest} {json.dumps(dict(image.truths), sort_keys=True)}")
        return ""
