"""Who the node is in DICOM: what it writes into every object, and by what its own objects are known again."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

#: (0008,0070) of every object the node makes
MANUFACTURER: Final = "MCADS"
#: (0008,1090) of every object the node makes
MODEL_NAME: Final = "MCADS node"
#: (0018,1002) of the node itself, which speaks where no model does. A UID of the 2.25 arc, drawn once
DEVICE_UID: Final = "2.25.126806187514478427098214096183542216737"
#: (0002,0012); PS3.7 D.3.3.2. A UID of the 2.25 arc, drawn once
IMPLEMENTATION_CLASS_UID: Final = "2.25.191244937480186804294801870351310584905"
#: (0002,0013); at most 16 characters
IMPLEMENTATION_VERSION_NAME: Final = "MCADS_NODE_01"


def own_output(header: Dataset) -> bool:
    """Whether an object was made by an MCADS node, this one or another.

    Parameters
    ----------
    header: pydicom.dataset.Dataset
        Any header, however odd; not changed.

    Returns
    -------
    bool
        True where the equipment, or any contributing equipment, names this product. A PACS that coerces
        series attributes leaves Contributing Equipment (0018,A001) alone, so it is asked too.
    """
    if _names_product(header):
        return True
    contributing = header.get("ContributingEquipmentSequence")
    return any(_names_product(item) for item in contributing or () if isinstance(item, Dataset))


def _names_product(equipment: Dataset) -> bool:
    manufacturer = str(equipment.get("Manufacturer") or "").strip()
    model_name = str(equipment.get("ManufacturerModelName") or "").strip()
    return (manufacturer, model_name) == (MANUFACTURER, MODEL_NAME)
