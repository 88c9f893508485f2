"""The part of the body that a header names. Admitting and the gate both need it."""

from __future__ import annotations

import re

from pydicom.dataset import Dataset

#: words that name the chest, in the spellings met in the field
CHEST_WORDS = frozenset(
    "CHEST THORAX THORACIC TORAX TORAKS THX CXR LUNG LUNGS PULMONARY HEART MEDIASTINUM RIB RIBS STERNUM "
    "CLAVICLE KRUTINE KRŪTINĖ PLAUČIAI".split()
)

#: words that name another part (PS3.16 annex L and common spellings)
OTHER_PARTS = frozenset(
    "ABDOMEN ANKLE ARM BREAST CALCANEUS CALF CERVIX COCCYX CSPINE DENTAL ELBOW EXTREMITY EYE FACE FEMUR "
    "FIBULA FINGER FOOT FOREARM HAND HEAD HEEL HIP HIPS HUMERUS JAW KNEE KNEES LEG LEGS LSPINE LSSPINE "
    "MANDIBLE MAXILLA NECK NOSE ORBIT PATELLA PELVIS SACRUM SCALP SHOULDER SINUS SKULL SPINE TEETH THIGH "
    "THUMB TIBIA TOE TOES TOOTH TSPINE TMJ WRIST ZYGOMA".split()
)

#: attributes that may name it, the most trustworthy first
BODY_PART_SOURCES = (
    "BodyPartExamined",
    "AnatomicRegionSequence",
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionDeviceProcessingDescription",
)


def words_in(header: Dataset, keyword: str) -> frozenset[str]:
    """Give the words of an attribute in upper case: of a sequence, of the meanings of its codes."""
    if keyword.endswith("Sequence"):
        text = " ".join(str(item.get("CodeMeaning") or "") for item in header.get(keyword) or ())
    else:
        text = str(header.get(keyword) or "")
    return frozenset(re.findall(r"\w+", text.upper()))
