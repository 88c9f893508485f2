"""What a destination wants: its part of the configuration as renditions, the ways of making objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from pydicom.uid import (
    BasicTextSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from mcads_node.config import DestinationSection, ReportSection, SeriesSection, SRClass
from mcads_node.result import CAPTURES, ObjectKind, Rendition

#: kinds that speak of one image and are made with its analysis; the others speak of the study
OF_IMAGES: Final = frozenset({ObjectKind.HEATMAP, ObjectKind.GSPS, ObjectKind.SEG})

#: empty: the default one, so that it is the default rendition
_SR_CLASSES: Final[Mapping[SRClass, str]] = MappingProxyType(
    {"comprehensive-3d": "", "enhanced": EnhancedSRStorage, "comprehensive": ComprehensiveSRStorage}
)
_TRANSFER_SYNTAXES: Final = MappingProxyType({"explicit": ExplicitVRLittleEndian, "rle": RLELossless})
_SOP_CLASSES: Final[Mapping[ObjectKind, str]] = MappingProxyType(
    {
        ObjectKind.SR: Comprehensive3DSRStorage,
        ObjectKind.SUMMARY: SecondaryCaptureImageStorage,
        ObjectKind.HEATMAP: SecondaryCaptureImageStorage,
        ObjectKind.BASIC_TEXT_SR: BasicTextSRStorage,
        ObjectKind.GSPS: GrayscaleSoftcopyPresentationStateStorage,
        ObjectKind.KOS: KeyObjectSelectionDocumentStorage,
        ObjectKind.PDF: EncapsulatedPDFStorage,
        ObjectKind.SEG: SegmentationStorage,
    }
)


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What one destination wants.

    Of an SR there may be several renditions: the first is sent, and the next where the peer rejects the SOP
    class of the one before.
    """

    #: each once, in the order of the destination's ``objects``
    renditions: tuple[Rendition, ...]

    @property
    def planned(self) -> tuple[Rendition, ...]:
        """What is to be delivered at first."""
        first = next((each for each in self.renditions if each.kind is ObjectKind.SR), None)
        return tuple(each for each in self.renditions if each.kind is not ObjectKind.SR or each == first)

    def alternatives(self, kind: ObjectKind, variant: str) -> tuple[str, ...]:
        """Variants that may be sent instead of one whose SOP class was rejected, in their order."""
        if kind is not ObjectKind.SR:
            return ()
        variants = [each.variant for each in self.renditions if each.kind is kind]
        return tuple(variants[variants.index(variant) + 1 :]) if variant in variants else ()


#: what is made where no destination is asked
DEFAULT: Final = Profile(
    renditions=tuple(Rendition(kind=kind) for kind in (ObjectKind.SR, ObjectKind.SUMMARY, ObjectKind.HEATMAP))
)


def renditions(destination: DestinationSection, report: ReportSection) -> Profile:
    """Give the profile of a destination.

    Parameters
    ----------
    destination
        Its section of ``node.yaml``.
    report
        What all reports have in common.
    """
    made = (each for kind in destination.objects for each in _of_kind(kind, destination, report))
    return Profile(renditions=tuple(made))


def wanted(
    profiles: Mapping[str, Profile], destinations: Iterable[str], kinds: Iterable[ObjectKind]
) -> tuple[Rendition, ...]:
    """Give the renditions of `kinds` that any of the named destinations wants, each once.

    Names that have no profile (a destination that is no longer configured) want nothing.
    """
    asked = frozenset(kinds)
    found = (
        each
        for name in destinations
        if name in profiles
        for each in profiles[name].renditions
        if each.kind in asked
    )
    return tuple(dict.fromkeys(found))


def negotiated(rendition: Rendition) -> tuple[str, str]:
    """Give the SOP class and the transfer syntax that a peer must accept for an object of this rendition."""
    return rendition.sop_class_uid or _SOP_CLASSES[rendition.kind], rendition.transfer_syntax_uid


def _of_kind(
    kind: ObjectKind, destination: DestinationSection, report: ReportSection
) -> tuple[Rendition, ...]:
    series = destination.series.get(kind, SeriesSection())
    captures = destination.captures
    plain = Rendition(
        kind=kind,
        language=report.language,
        series_number=series.number,
        series_description=series.description,
    )
    if kind is ObjectKind.SR:
        return tuple(replace(plain, sop_class_uid=str(_SR_CLASSES[name])) for name in destination.sr_classes)
    if kind not in CAPTURES:
        return (plain,)
    drawn = replace(
        plain,
        modality=captures.modality,
        transfer_syntax_uid=str(_TRANSFER_SYNTAXES[captures.transfer_syntax]),
    )
    if kind is ObjectKind.SUMMARY:
        return (drawn,)
    return (replace(drawn, max_side=captures.max_side, style=captures.style),)
