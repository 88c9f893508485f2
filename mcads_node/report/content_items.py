"""Content items of SR documents (PS3.3 C.17.3), one function a value type, for trees written by hand.

highdicom's items want a name where Key Object Selections have none, and take most of the time of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, Literal

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import DSfloat

from mcads_node.report.encoding import Fixed

Relationship = Literal[
    "CONTAINS", "HAS ACQ CONTEXT", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS PROPERTIES", "INFERRED FROM"
]

#: value types by which images and everything else is referred to
_IMAGE: Final = "IMAGE"
_COMPOSITE: Final = "COMPOSITE"


def code_sequence(code: Code) -> list[Dataset]:
    """Write a coded concept as the one item of a code sequence; the item is not to be changed."""
    return [_code_item(code.value, code.scheme_designator, code.meaning)]


# by its texts: codes that differ in their meaning alone are equal
@lru_cache(maxsize=1024)
def _code_item(value: str, scheme_designator: str, meaning: str) -> Fixed:
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme_designator
    item.CodeMeaning = meaning
    return Fixed.of(item)


def _item(value_type: str, name: Code | None, relationship: Relationship | None) -> Dataset:
    item = Dataset()
    if relationship is not None:
        item.RelationshipType = relationship
    item.ValueType = value_type
    if name is not None:
        item.ConceptNameCodeSequence = code_sequence(name)
    return item


def container(
    name: Code,
    children: Sequence[Dataset],
    relationship: Relationship | None = "CONTAINS",
    template: str = "",
) -> Dataset:
    """Write a CONTAINER, SEPARATE; the root has no relationship, and the template that it follows."""
    item = _item("CONTAINER", name, relationship)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        used = Dataset()
        used.MappingResource = "DCMR"
        used.TemplateIdentifier = template
        item.ContentTemplateSequence = [used]
    if children:
        item.ContentSequence = list(children)
    return item


def text(name: Code, value: str, relationship: Relationship = "CONTAINS") -> Dataset:
    """Write a TEXT."""
    item = _item("TEXT", name, relationship)
    item.TextValue = value
    return item


def coded(name: Code, value: Code, relationship: Relationship) -> Dataset:
    """Write a CODE."""
    item = _item("CODE", name, relationship)
    item.ConceptCodeSequence = code_sequence(value)
    return item


def uid_reference(name: Code, value: str, relationship: Relationship) -> Dataset:
    """Write a UIDREF."""
    item = _item("UIDREF", name, relationship)
    item.UID = value
    return item


def date(name: Code, value: str, relationship: Relationship) -> Dataset:
    """Write a DATE."""
    item = _item("DATE", name, relationship)
    item.Date = value
    return item


def time(name: Code, value: str, relationship: Relationship) -> Dataset:
    """Write a TIME."""
    item = _item("TIME", name, relationship)
    item.Time = value
    return item


def number(name: Code, value: float, unit: Code, relationship: Relationship) -> Dataset:
    """Write a NUM."""
    measured = Dataset()
    # a count of pixels is written without a decimal point
    measured.NumericValue = (
        DSfloat(str(value)) if isinstance(value, int) else DSfloat(value, auto_format=True)
    )
    measured.MeasurementUnitsCodeSequence = code_sequence(unit)
    item = _item("NUM", name, relationship)
    item.MeasuredValueSequence = [measured]
    return item


def reference(
    instance: tuple[str, str],
    *,
    name: Code | None = None,
    relationship: Relationship = "CONTAINS",
    is_image: bool = True,
) -> Dataset:
    """Write an IMAGE, or a COMPOSITE for what is no image; `instance` is SOP Class and SOP Instance UID."""
    item = _item(_IMAGE if is_image else _COMPOSITE, name, relationship)
    item.ReferencedSOPSequence = [instance_reference(*instance)]
    return item


def instance_reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """Write a reference to a SOP instance."""
    item = Dataset()
    item.ReferencedSOPClassUID = sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item
