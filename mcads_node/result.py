"""What comes out of an analysis and goes into a report: readings of images, and finished DICOM objects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydicom.dataset import Dataset

from mcads_node.finding import Finding
from mcads_node.instance import InputCheck, View


class ObjectKind(StrEnum):
    """Kinds of result object; the words of a destination's ``objects``."""

    SR = "sr"
    SUMMARY = "summary"
    HEATMAP = "heatmap"


@dataclass(frozen=True, kw_only=True, eq=False)
class ResultObject:
    """One finished DICOM object. Its bytes are stored before anything is sent, and never rebuilt."""

    kind: ObjectKind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    #: a whole Part 10 file
    data: bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageReading:
    """One analysed image, as a report needs it: small, without the pixels."""

    #: the source's header, without pixel data
    header: Dataset
    view: View
    #: one per label of the model, in the model's order
    findings: tuple[Finding, ...]
    #: every input check that did not pass
    checks: tuple[InputCheck, ...]
    #: PNG, at most 512 pixels on its longer side, the strongest heatmap drawn in
    thumbnail: bytes
    #: SOP Class and Instance UID of each heatmap object made of this image
    heatmaps: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What the objects of one report share, besides the source and the algorithm."""

    #: when the node received the study's first image, UTC; Series Date and Time of every series it makes
    series_started: datetime
    #: when these objects are made, UTC
    created: datetime
    #: 1 for a study's first report
    revision: int = 1
    #: SOP Class, SOP Instance and Series Instance UID of the SR that this report replaces
    predecessor: tuple[str, str, str] | None = None
    #: why images of the study were not read, a sentence each, without PHI
    unread: tuple[str, ...] = ()
