"""Which device made an image, for those who compare devices: never who is on it."""

from __future__ import annotations

from pydicom.dataset import Dataset

from mcads_node.read.attributes import PYDICOM_ERRORS

#: what is told of an attribute, at most: names of devices are short
_LONGEST = 40


def device_of(ds: Dataset) -> str:
    """Name the device: Manufacturer, Manufacturer's Model Name and Station Name, as far as they are told.

    Returns
    -------
    str
        On one line, parted by `` / ``; empty where the header tells nothing.
    """
    return " / ".join(
        filter(None, (_word(ds, name) for name in ("Manufacturer", "ManufacturerModelName", "StationName")))
    )


def _word(ds: Dataset, keyword: str) -> str:
    try:
        said = str(ds.get(keyword) or "")
    except PYDICOM_ERRORS:
        return ""
    printable = "".join(letter if letter.isprintable() else " " for letter in said)
    return " ".join(printable.split())[:_LONGEST].strip()
