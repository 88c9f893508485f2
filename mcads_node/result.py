"""What comes out of an analysis and goes into a report: readings of images, and finished DICOM objects."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from pydicom.dataset import Dataset

from mcads_node.finding import Finding
from mcads_node.instance import InputCheck, View
from mcads_node.structure import AnatomyReading
from mcads_node.triage_level import Triage


class ObjectKind(StrEnum):
    """Kinds of result object; the words of a destination's ``objects``."""

    SR = "sr"
    SUMMARY = "summary"
    HEATMAP = "heatmap"
    BASIC_TEXT_SR = "basic-text-sr"
    #: grayscale softcopy presentation state: contours and text as layers that a viewer can switch off
    GSPS = "gsps"
    #: key object selection: the positive images
    KOS = "kos"
    #: encapsulated PDF
    PDF = "pdf"
    #: segmentation
    SEG = "seg"


#: longest side of a heatmap's image part, in pixels, where a destination asks for no other: a screen shows no
#: more of it beside the radiograph, and the whole matrix takes four times the bytes (docs/decisions/0038)
HEATMAP_SIDE = 1280

#: kinds that are drawn, with the modality and the transfer syntax that a destination asks for
CAPTURES = frozenset({ObjectKind.SUMMARY, ObjectKind.HEATMAP})


@dataclass(frozen=True, kw_only=True)
class Rendition:
    """One way of making a kind of object, as a destination wants it.

    Objects of different renditions are different objects, with UIDs of their own; the default rendition of a
    kind has an empty `variant`.
    """

    kind: ObjectKind
    #: of an SR; empty: Comprehensive 3D SR
    sop_class_uid: str = ""
    #: Modality (0008,0060) of a capture
    modality: str = "OT"
    #: of a capture: Explicit VR Little Endian, or RLE Lossless
    transfer_syntax_uid: str = "1.2.840.10008.1.2.1"
    #: longest side of a heatmap's image part in pixels; None: the source's matrix
    max_side: int | None = HEATMAP_SIDE
    #: of a heatmap: ``filled`` or ``contour``
    style: str = "filled"
    #: language of all texts: ``en`` or ``lt``
    language: str = "en"
    #: Series Number (0020,0011); None: the kind's own
    series_number: int | None = None
    #: Series Description (0008,103E); empty: the kind's own
    series_description: str = ""

    @property
    def variant(self) -> str:
        """What tells this rendition from the kind's default one; empty for that. Stable: part of UIDs."""
        default = Rendition(kind=self.kind)
        told = [
            f"{field.name}={getattr(self, field.name)}"
            for field in fields(self)
            if getattr(self, field.name) != getattr(default, field.name)
        ]
        return ";".join(told)


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
    #: `Rendition.variant` of the rendition that it is
    variant: str = ""
    #: of the model that it speaks for; empty: not known, or the node's own
    device_uid: str = ""


#: SOP Class, SOP Instance and Series Instance UID of an object that another one refers to
Referenced = tuple[str, str, str]


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
    #: picture file, at most 440 pixels on its longer side, the strongest heatmap drawn in
    thumbnail: bytes
    #: label of the finding whose heatmap is drawn in the thumbnail, or ``grad-cam-combined``; None: none is
    shown: str | None = None
    #: each heatmap object made of this image
    heatmaps: tuple[Referenced, ...] = ()
    #: None: no rules of triage are configured
    triage: Triage | None = None
    #: None: no segmentation model was asked
    anatomy: AnatomyReading | None = None


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What the objects of one report share, besides the source and the algorithm."""

    #: when the node received the study's first image, UTC; Series Date and Time of every series it makes
    series_started: datetime
    #: when these objects are made, UTC
    created: datetime
    #: which installation of the node makes them: part of every UID, so that two nodes, or a node and the verb
    #: that works without one, never write two objects under one UID
    installation: str = ""
    #: 1 for a study's first report
    revision: int = 1
    #: the SR that this report replaces
    predecessor: Referenced | None = None
    #: why images of the study were not read, a sentence each, without PHI
    unread: tuple[str, ...] = ()
