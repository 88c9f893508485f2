"""What the receiver takes: SOP classes, and transfer syntaxes in the order in which it chooses among them."""

from __future__ import annotations

from pydicom.uid import UID

from mcads_node.read.transfer_syntaxes import LOSSY

#: SOP classes of radiographs
STORAGE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "Computed Radiography Image Storage",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray Image Storage - For Presentation",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "Digital X-Ray Image Storage - For Processing",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.12.2": "X-Ray Radiofluoroscopic Image Storage",
}
VERIFICATION = "1.2.840.10008.1.1"


def by_preference(transfer_syntaxes: tuple[str, ...]) -> list[str]:
    """Order transfer syntaxes by what we choose where a peer offers several in one context.

    What was not compressed comes first, and lossy last: a peer is not to degrade an original for us.
    """

    def rank(uid: str) -> tuple[bool, bool, bool]:
        syntax = UID(uid)
        return syntax in LOSSY, syntax.is_compressed, not syntax.is_little_endian or syntax.is_implicit_VR

    return sorted(transfer_syntaxes, key=rank)
