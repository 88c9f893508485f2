"""Grayscale Softcopy Presentation State: outlines and texts over the source, which a viewer can switch off.

Each finding has a layer with its outline and its text; one more, the last, says what holds for all of them.
The source itself is shown as it shows itself (see `mcads_node.report.grayscale_state`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from mcads_node.finding import Algorithm, Heatmap
from mcads_node.instance import Radiograph
from mcads_node.report import wording
from mcads_node.report.annotation import (
    annotation,
    content_description,
    in_order,
    line,
    making_of,
    meaning,
)
from mcads_node.report.contour import Polygon, outlines
from mcads_node.report.evidence import referable_header, reference
from mcads_node.report.grayscale_state import repeat_display
from mcads_node.report.making import Making, result_object
from mcads_node.report.sentences import sentence
from mcads_node.result import Rendition, ReportContext, ResultObject

#: Graphic Layer (0070,0002) of what holds for all findings
NOTICE: Final = "AI NOTICE"

#: CIELab of the layers in turn, light on a dark radiograph: blue, orange, green, purple, yellow, red
_COLOURS: Final = ((70, -12, -35), (71, 16, 75), (71, -51, 10), (70, 39, -20), (89, -13, 75), (67, 45, 47))
_WHITE: Final = (100, 0, 0)
#: where texts stand, in shares of the displayed area: findings down the left edge, the notice at the bottom
_LEFT, _RIGHT, _TOP, _BOTTOM, _END = 0.01, 0.45, 0.02, 0.84, 0.99
#: with more findings than that, each has one line
_MOST_AT_LENGTH: Final = 6
#: greatest height of one finding's text
_HEIGHT: Final = 0.12


def presentation_state(
    radiograph: Radiograph,
    heatmaps: Sequence[Heatmap],
    algorithm: Algorithm,
    context: ReportContext,
    rendition: Rendition,
) -> ResultObject | None:
    """Make the presentation state of one image.

    Parameters
    ----------
    radiograph: Radiograph
        The image, in source geometry.
    heatmaps: Sequence[Heatmap]
        Of the same image, in any order.
    algorithm: Algorithm
        Who made them.
    context: ReportContext
        Times. As of a heatmap's capture, the revision is no part of it.
    rendition: Rendition
        Language, series number and description.

    Returns
    -------
    ResultObject or None
        Explicit VR Little Endian; equal arguments give equal bytes. None where there is no heatmap.

    Raises
    ------
    ReportImpossible
        If the source's header lacks a UID that must be named, a heatmap is of another image, or there is no
        such language.
    """
    if not heatmaps:
        return None
    header = referable_header(radiograph.header)
    ordered = in_order(radiograph, heatmaps)
    making = making_of(header, ordered, algorithm, context, rendition)
    state = annotation(header, making, GrayscaleSoftcopyPresentationStateStorage, "PR")
    _identify(state, header, ordered[0], making)
    rows, columns = radiograph.pixels.shape
    big_endian = radiograph.header.original_encoding[1] is False
    repeat_display(state, header, (rows, columns), big_endian=big_endian)
    names = layer_names([heatmap.finding.label for heatmap in ordered])
    layers, annotations = [], []
    for place, (name, heatmap) in enumerate(zip(names, ordered, strict=True)):
        about = line(wording.short_caution(algorithm, making.tr), wording.heatmap_title(heatmap, making.tr))
        layers.append(_layer(name, place + 1, about, _COLOURS[place % len(_COLOURS)]))
        annotations.append(_annotation(name, header, heatmap, (place, len(ordered)), making))
    notice = line(wording.short_caution(algorithm, making.tr), making.tr(wording.UNVERIFIED))
    layers.append(_layer(NOTICE, len(layers) + 1, notice, _WHITE))
    annotations.append(_notice(header, radiograph, ordered[0], making))
    state.GraphicLayerSequence = layers
    state.GraphicAnnotationSequence = annotations
    return result_object(state, rendition)


def layer_names(labels: Sequence[str]) -> list[str]:
    """Name a layer for each label: as CS allows it, at most 16 characters, each once."""
    names: list[str] = []
    for label in labels:
        whole = "AI " + re.sub(r"[^A-Z0-9]+", " ", label.upper()).strip()
        name, count = whole[:16].rstrip(), 1
        while name in (*names, NOTICE):
            count += 1
            name = f"{whole[: 15 - len(str(count))].rstrip()} {count}"
        names.append(name)
    return names


def _identify(state: Dataset, header: Dataset, first: Heatmap, making: Making) -> None:
    """Presentation State Identification and Relationship modules (PS3.3 C.11.10, C.11.11)."""
    state.PresentationCreationDate, state.PresentationCreationTime = state.ContentDate, state.ContentTime
    # these two are of images and documents
    del state.ContentDate, state.ContentTime
    state.ContentDescription = content_description(first, making)
    series = Dataset()
    series.SeriesInstanceUID = header.SeriesInstanceUID
    series.ReferencedImageSequence = [reference(header)]
    state.ReferencedSeriesSequence = [series]


def _layer(name: str, order: int, about: str, colour: tuple[int, int, int]) -> Dataset:
    layer = Dataset()
    layer.GraphicLayer = name
    layer.GraphicLayerOrder = order
    layer.GraphicLayerDescription = about
    layer.GraphicLayerRecommendedDisplayGrayscaleValue = 0xFFFF
    # PS3.3 C.10.7.1.1: L* 0…100 and a*, b* −128…127, each over 16 bits
    lightness, a, b = colour
    layer.GraphicLayerRecommendedDisplayCIELabValue = [
        round(lightness * 0xFFFF / 100),
        round((a + 128) * 0xFFFF / 255),
        round((b + 128) * 0xFFFF / 255),
    ]
    return layer


def _slot(place: int, count: int) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a finding's text: one below the other, however many there are."""
    height = min(_HEIGHT, (_BOTTOM - _TOP) / count)
    top = _TOP + place * height
    return _LEFT, top, _RIGHT, top + 0.9 * height


def _annotation(name: str, header: Dataset, heatmap: Heatmap, at: tuple[int, int], making: Making) -> Dataset:
    """Graphic Annotation of one finding: its outline and its text, the how manieth of how many it is."""
    place, count = at
    # the notice says for all what a short text has no room for
    box, brief = _slot(place, count), count > _MOST_AT_LENGTH
    # PIXEL counts from the corner of the first pixel (PS3.3 C.10.5), outlines from its centre
    polygons = [polygon + 0.5 for polygon in outlines(heatmap.activation, heatmap.geometry)]
    tr = making.tr
    said = [
        wording.heatmap_title(heatmap, tr),
        wording.score_text(heatmap.finding, making.algorithm, tr),
        "" if polygons else tr(wording.EMPTY_MAP),
    ]
    if brief:
        said = [": ".join(filter(None, said))]
    else:
        said[2:2] = [tr(wording.UNVERIFIED), tr(making.algorithm.caution)]
    item = _empty_annotation(name, header)
    item.TextObjectSequence = [_text(said, box)]
    if polygons:
        item.GraphicObjectSequence = [_graphic(polygon) for polygon in polygons]
        # a line from the text would run through the lungs, and colour alone is lost on a grey screen
        share = place / count
        item.TextObjectSequence.append(
            _name(wording.human_label(heatmap.finding.label, tr), polygons[0], share)
        )
    return item


def _notice(header: Dataset, radiograph: Radiograph, first: Heatmap, making: Making) -> Dataset:
    """Graphic Annotation of what holds for all findings of the image."""
    tr, algorithm = making.tr, making.algorithm
    said = [
        tr(algorithm.caution),
        f"{wording.BRAND} · {wording.model_text(algorithm)}",
        tr(wording.UNVERIFIED),
        meaning(first, making),
        *(tr("Input: {reason}", reason=sentence(check.reason, tr)) for check in radiograph.checks),
        wording.field_text(first.geometry, tr),
        tr(wording.NOT_EXCLUDED),
    ]
    item = _empty_annotation(NOTICE, header)
    item.TextObjectSequence = [_text(said, (_LEFT, _BOTTOM + 0.01, _END, _END))]
    return item


def _empty_annotation(name: str, header: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedImageSequence = [reference(header)]
    item.GraphicLayer = name
    return item


def _graphic(polygon: Polygon) -> Dataset:
    graphic = Dataset()
    graphic.GraphicAnnotationUnits = "PIXEL"
    graphic.GraphicDimensions = 2
    graphic.NumberOfGraphicPoints = len(polygon)
    graphic.GraphicData = polygon.ravel().tolist()
    graphic.GraphicType = "POLYLINE"
    # anatomy must be seen through it
    graphic.GraphicFilled = "N"
    return graphic


def _text(said: Sequence[str], box: tuple[float, float, float, float]) -> Dataset:
    text = Dataset()
    text.UnformattedTextValue = "\r\n".join(filter(None, said))[:1024]
    left, top, right, bottom = box
    text.BoundingBoxAnnotationUnits = "DISPLAY"
    text.BoundingBoxTopLeftHandCorner = [left, top]
    text.BoundingBoxBottomRightHandCorner = [right, bottom]
    text.BoundingBoxTextHorizontalJustification = "LEFT"
    return text


def _name(said: str, polygon: Polygon, share: float) -> Dataset:
    """Write a finding's name at its outline: the first at the top, others further along.

    Maps of several findings are often nearly equal, and names on one point could not be read.
    """
    top = int(np.argmin(polygon[:, 1]))
    point = polygon[(top + int(share * (len(polygon) - 1))) % len(polygon)]
    text = Dataset()
    text.UnformattedTextValue = f"AI: {said}"
    text.AnchorPointAnnotationUnits = "PIXEL"
    text.AnchorPoint = point.tolist()
    text.AnchorPointVisibility = "N"
    return text
