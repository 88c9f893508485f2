"""What a destination's section of the configuration asks for, as renditions."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    EnhancedSRStorage,
    ExplicitVRLittleEndian,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from mcads_node.config import DestinationSection, ReportSection
from mcads_node.profile import DEFAULT, OF_IMAGES, Profile, negotiated, renditions, wanted
from mcads_node.result import ObjectKind, Rendition

SR, SUMMARY, HEATMAP = (
    Rendition(kind=kind) for kind in (ObjectKind.SR, ObjectKind.SUMMARY, ObjectKind.HEATMAP)
)
ENHANCED = Rendition(kind=ObjectKind.SR, sop_class_uid=EnhancedSRStorage)


def profile(language: str = "en", **keys: Any) -> Profile:
    section = DestinationSection.model_validate({"ae_title": "PACS", "host": "h", "port": 104, **keys})
    return renditions(section, ReportSection.model_validate({"language": language}))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, [SR, ENHANCED, SUMMARY, HEATMAP]),
        ({"objects": ["heatmap", "sr"], "sr_classes": ["enhanced"]}, [HEATMAP, ENHANCED]),
        (
            {"objects": ["sr"], "sr_classes": ["comprehensive", "comprehensive-3d"]},
            [Rendition(kind=ObjectKind.SR, sop_class_uid=ComprehensiveSRStorage), SR],
        ),
        (
            {"objects": ["kos", "gsps", "pdf", "seg", "basic-text-sr"]},
            [Rendition(kind=ObjectKind(name)) for name in ("kos", "gsps", "pdf", "seg", "basic-text-sr")],
        ),
        (
            {
                "objects": ["heatmap", "summary", "gsps"],
                "captures": {
                    "modality": "DX",
                    "transfer_syntax": "rle",
                    "max_side": 1024,
                    "style": "contour",
                },
            },
            [
                Rendition(
                    kind=ObjectKind.HEATMAP,
                    modality="DX",
                    transfer_syntax_uid=RLELossless,
                    max_side=1024,
                    style="contour",
                ),
                Rendition(kind=ObjectKind.SUMMARY, modality="DX", transfer_syntax_uid=RLELossless),
                Rendition(kind=ObjectKind.GSPS),
            ],
        ),
        (
            {
                "objects": ["sr", "summary"],
                "language": "lt",
                "series": {"sr": {"number": 500, "description": "DI ataskaita"}, "pdf": {"number": 7}},
            },
            [
                Rendition(
                    kind=ObjectKind.SR,
                    sop_class_uid=sop_class,
                    language="lt",
                    series_number=500,
                    series_description="DI ataskaita",
                )
                for sop_class in ("", EnhancedSRStorage)
            ]
            + [Rendition(kind=ObjectKind.SUMMARY, language="lt")],
        ),
    ],
)
def test_a_section_as_renditions(keys: dict[str, Any], expected: list[Rendition]) -> None:
    assert list(profile(**keys).renditions) == expected


def test_what_nobody_configured_is_the_default_rendition() -> None:
    asked = profile(objects=list(ObjectKind), sr_classes=["comprehensive-3d"])
    assert {each.variant for each in asked.renditions} == {""}
    assert DEFAULT.renditions == profile(sr_classes=["comprehensive-3d"]).renditions


def test_of_an_sr_the_first_is_planned_and_the_others_are_alternatives() -> None:
    asked = profile(sr_classes=["enhanced", "comprehensive", "comprehensive-3d"])
    variants = [each.variant for each in asked.renditions if each.kind is ObjectKind.SR]
    assert asked.planned == (ENHANCED, SUMMARY, HEATMAP)
    assert asked.alternatives(ObjectKind.SR, variants[0]) == tuple(variants[1:])
    assert asked.alternatives(ObjectKind.SR, variants[1]) == (variants[2],)
    assert asked.alternatives(ObjectKind.SR, variants[2]) == ()
    # one that was made before the configuration was changed
    assert asked.alternatives(ObjectKind.SR, "language=lt") == ()
    assert asked.alternatives(ObjectKind.SUMMARY, "") == ()


def test_the_union_of_what_destinations_want() -> None:
    contour = Rendition(kind=ObjectKind.HEATMAP, style="contour")
    profiles = {
        "pacs": profile(),
        "registry": profile(objects=["sr"], sr_classes=["enhanced"]),
        "viewer": profile(objects=["heatmap"], captures={"style": "contour"}),
        "unasked": profile(objects=["seg"]),
    }
    names = ["pacs", "registry", "viewer", "no longer there"]
    assert wanted(profiles, names, OF_IMAGES) == (HEATMAP, contour)
    assert wanted(profiles, names, set(ObjectKind) - OF_IMAGES) == (SR, ENHANCED, SUMMARY)
    assert wanted(profiles, ["registry"], OF_IMAGES) == ()


def test_what_a_peer_must_accept() -> None:
    assert negotiated(SR) == (Comprehensive3DSRStorage, ExplicitVRLittleEndian)
    assert negotiated(ENHANCED) == (EnhancedSRStorage, ExplicitVRLittleEndian)
    (page,) = profile(objects=["summary"], captures={"transfer_syntax": "rle"}).renditions
    assert negotiated(page) == (SecondaryCaptureImageStorage, RLELossless)
    assert len({negotiated(Rendition(kind=kind)) for kind in ObjectKind}) == len(ObjectKind) - 1
