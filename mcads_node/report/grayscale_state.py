"""How a presentation state repeats the source's own display: LUTs, polarity, shutter, area (PS3.3 C.11).

A presentation state replaces whatever the image says of its display, so what it does not repeat is lost.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from mcads_node.errors import ReportImpossible

#: by Shutter Shape (0018,1600), what describes it (PS3.3 C.7.6.11)
_SHUTTERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "RECTANGULAR": (
            "ShutterLeftVerticalEdge",
            "ShutterRightVerticalEdge",
            "ShutterUpperHorizontalEdge",
            "ShutterLowerHorizontalEdge",
        ),
        "CIRCULAR": ("CenterOfCircularShutter", "RadiusOfCircularShutter"),
        "POLYGONAL": ("VerticesOfThePolygonalShutter",),
    }
)
_FUNCTIONS: Final = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def repeat_display(state: Dataset, header: Dataset, shape: tuple[int, int], *, big_endian: bool) -> None:
    """Write the modules that make a presentation state show the source as it shows itself.

    Parameters
    ----------
    state: pydicom.dataset.Dataset
        The presentation state in the making.
    header: pydicom.dataset.Dataset
        Of the source, from `complete_header`.
    shape: tuple of int
        Rows and columns of the source.
    big_endian: bool
        Whether the source was encoded so: the words of its LUTs then still are.

    Raises
    ------
    ReportImpossible
        If a LUT, a rescale or a window of the source is broken: then it shows itself in no way that can be
        repeated, and a state without it would show another image.
    """
    _modality_lut(state, header, big_endian)
    _voi_lut(state, header, big_endian)
    # PS3.3 C.11.6: in a presentation state the shape alone decides, whatever the Photometric Interpretation
    inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
    state.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    _shutter(state, header)
    state.DisplayedAreaSelectionSequence = [_whole_image(header, shape)]


def _modality_lut(state: Dataset, header: Dataset, big_endian: bool) -> None:
    """Modality LUT, else rescale, as the reading has it."""
    items = header.get("ModalityLUTSequence")
    if items:
        item = _lut(items[0], "Modality LUT Sequence (0028,3000)", big_endian)
        item.ModalityLUTType = items[0].get("ModalityLUTType") or "US"
        state.ModalityLUTSequence = [item]
    elif "RescaleSlope" in header or "RescaleIntercept" in header:
        if not float(header.get("RescaleSlope", 1)):
            raise ReportImpossible("Rescale Slope (0028,1053) is 0: no image is left to show")
        state.RescaleIntercept = header.get("RescaleIntercept", "0")
        state.RescaleSlope = header.get("RescaleSlope", "1")
        state.RescaleType = header.get("RescaleType", "US")


def _voi_lut(state: Dataset, header: Dataset, big_endian: bool) -> None:
    """First VOI LUT, else first window; without either the whole range is shown, as by the reading."""
    item = Dataset()
    luts = header.get("VOILUTSequence")
    if luts:
        item.VOILUTSequence = [_lut(luts[0], "VOI LUT Sequence (0028,3010)", big_endian)]
    elif header.get("WindowCenter") is not None and header.get("WindowWidth") is not None:
        _window(item, header)
    else:
        return
    explanation = _first(header.get("WindowCenterWidthExplanation"))
    if explanation and not luts:
        item.WindowCenterWidthExplanation = explanation
    state.SoftcopyVOILUTSequence = [item]


def _window(item: Dataset, header: Dataset) -> None:
    function = header.get("VOILUTFunction")
    item.WindowCenter = _first(header.WindowCenter)
    item.WindowWidth = _first(header.WindowWidth)
    if function in _FUNCTIONS:
        item.VOILUTFunction = function
    # PS3.3 C.11.2.1.2.1 and C.11.2.1.3
    exact = function in ("LINEAR_EXACT", "SIGMOID")
    if item.WindowWidth <= 0 or (item.WindowWidth < 1 and not exact):
        limit = "more than 0" if exact else "at least 1"
        raise ReportImpossible(f"Window Width (0028,1051) is {item.WindowWidth:g}, expected {limit}")


def _first(value: object) -> object:
    return value if isinstance(value, str) or not hasattr(value, "__getitem__") else value[0]


def _lut(of: Dataset, name: str, big_endian: bool) -> Dataset:
    """Copy a LUT, its data as OW: in explicit VR, US cannot count the bytes of 32768 entries."""
    descriptor, data = of.get("LUTDescriptor"), of.get("LUTData")
    if isinstance(descriptor, bytes) or descriptor is None or len(descriptor) != 3 or data is None:
        raise ReportImpossible(
            f"the item of {name} has no LUT Descriptor (0028,3002) or no LUT Data (0028,3006)"
        )
    if not isinstance(data, bytes):
        data = np.atleast_1d(np.asarray(data)).astype("<u2").tobytes()
    elif big_endian:
        data = np.frombuffer(data, ">u2").astype("<u2").tobytes()
    item = Dataset()
    item["LUTDescriptor"] = copy.deepcopy(of["LUTDescriptor"])
    if of.get("LUTExplanation"):
        item.LUTExplanation = of.LUTExplanation
    item["LUTData"] = DataElement(Tag("LUTData"), "OW", data)
    return item


def _shutter(state: Dataset, header: Dataset) -> None:
    """Display Shutter and Presentation State Shutter modules: what the source hides stays hidden."""
    shapes = header.get("ShutterShape") or ()
    shapes = [shapes] if isinstance(shapes, str) else list(shapes)
    if not shapes or any(shape not in _SHUTTERS for shape in shapes):
        return
    keywords = [keyword for shape in shapes for keyword in _SHUTTERS[shape]]
    if any(header.get(keyword) is None for keyword in keywords):
        return
    for keyword in ("ShutterShape", *keywords):
        state[keyword] = copy.deepcopy(header[keyword])
    state.ShutterPresentationValue = header.get("ShutterPresentationValue", 0)


def _whole_image(header: Dataset, shape: tuple[int, int]) -> Dataset:
    """Give the Displayed Area: all of the image, fitted to the screen.

    The form of a pixel is given as a ratio, not as a spacing: a length measured on this display is the
    source's to calibrate.
    """
    area = Dataset()
    area.DisplayedAreaTopLeftHandCorner = [1, 1]
    area.DisplayedAreaBottomRightHandCorner = [shape[1], shape[0]]
    area.PresentationSizeMode = "SCALE TO FIT"
    area.PresentationPixelAspectRatio = list(_aspect(header))
    return area


def _aspect(header: Dataset) -> tuple[int, int]:
    """Vertical and horizontal size of a pixel."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio"):
        values = [float(value) for value in header.get(keyword) or ()]
        if len(values) == 2 and min(values) > 0:
            ratio = Fraction(values[0] / values[1]).limit_denominator(1000)
            if ratio:
                return ratio.numerator, ratio.denominator
    return 1, 1
