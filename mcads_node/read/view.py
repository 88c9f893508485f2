"""The projection of a radiograph, as its header tells it. Reading and routing both need it."""

from __future__ import annotations

from pydicom.dataset import Dataset

from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import View
from mcads_node.read.attributes import PYDICOM_ERRORS, code_string, first_item, odd_data_expected

#: CID 4010 "DX View", SNOMED CT and, in older files, SNOMED RT codes; of the rest, every one is OTHER
_VIEW_CODES = {
    "272479007": View.PA,
    "R-10214": View.PA,
    "R-40888": View.PA,
    "399348003": View.AP,
    "R-10206": View.AP,
    "399067008": View.LATERAL,
    "R-102CD": View.LATERAL,
    "399173006": View.LATERAL,
    "R-10236": View.LATERAL,
    "399198007": View.LATERAL,
    "R-10232": View.LATERAL,
    "399352003": View.LATERAL,
    "R-10228": View.LATERAL,
    "399260004": View.LATERAL,
    "R-10224": View.LATERAL,
    # frontal, but not said from which side; sagittal likewise
    "399033003": View.UNKNOWN,
    "R-10202": View.UNKNOWN,
    "30730003": View.LATERAL,
    "G-A145": View.LATERAL,
}

#: defined terms of View Position (0018,5101) in the CR and DX modules, and two spellings devices use; the
#: decubitus and oblique terms (RLD, LLD, RLO, LLO) are OTHER, as is every further word
_VIEW_POSITIONS = {
    "PA": View.PA,
    "AP": View.AP,
    "LL": View.LATERAL,
    "RL": View.LATERAL,
    "LAT": View.LATERAL,
    "LATERAL": View.LATERAL,
}


def view_of(header: Dataset) -> View:
    """Tell the projection: View Code Sequence, else View Position, else Patient Orientation, else unknown.

    A description is never consulted: it is free text, and often that of the protocol, not of the image.
    Patient Orientation tells a lateral; of a frontal it does not tell PA from AP, so that stays unknown.
    """
    code = _view_code(header)
    if code:
        return _VIEW_CODES.get(code, View.OTHER)
    position = _code_string(header, "ViewPosition")
    if position:
        return _VIEW_POSITIONS.get(position, View.OTHER)
    return _view_by_orientation(header)


def _view_code(header: Dataset) -> str:
    try:
        item = first_item(header, "ViewCodeSequence")
    except InstanceUnreadable:
        return ""
    return "" if item is None else _code_string(item, "CodeValue")


def _code_string(header: Dataset, keyword: str) -> str:
    try:
        return code_string(header, keyword)
    except InstanceUnreadable:
        return ""


def _view_by_orientation(header: Dataset) -> View:
    """Name the plane that rows and columns span (PS3.3 C.7.6.1.1.1)."""
    try:
        with odd_data_expected():
            value = header.get("PatientOrientation")
        axes = {str(direction).strip().upper()[:1] for direction in value or ()}
    except PYDICOM_ERRORS:
        return View.UNKNOWN
    lateral = axes & {"A", "P"} and axes & {"H", "F"} and not axes & {"L", "R"}
    axial = axes & {"A", "P"} and axes & {"L", "R"}
    if lateral and len(axes) == 2:
        return View.LATERAL
    return View.OTHER if axial else View.UNKNOWN
