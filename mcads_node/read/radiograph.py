"""Read: a received instance becomes a `Radiograph` (the step between route and infer).

::

    bytes → data set → stored values → display values → Radiograph
            part10     decode          grayscale        here

The order within is that of the standard: decode, cut bits above High Bit, padding, Modality LUT, VOI LUT,
polarity, and an output range that does not depend on the content. Whatever cannot be read raises
`InstanceUnreadable`, with a reason that names the tag; nothing is guessed.
"""

from __future__ import annotations

from pydicom.dataset import Dataset

from mcads_node.instance import Radiograph
from mcads_node.read.decode import decode
from mcads_node.read.grayscale import to_display
from mcads_node.read.part10 import header_of, read_dataset, read_header
from mcads_node.read.transfer_syntaxes import TRANSFER_SYNTAXES
from mcads_node.read.view import view_of

__all__ = [
    "TRANSFER_SYNTAXES",
    "header_of",
    "read_dataset",
    "read_header",
    "read_radiograph",
    "view_of",
]


def read_radiograph(ds: Dataset) -> Radiograph:
    """Decode one monochrome image and bring it to the range the models were trained on.

    Parameters
    ----------
    ds
        A whole instance, as `read_dataset` gives it; left unchanged.

    Returns
    -------
    Radiograph
        Pixels as MONOCHROME2, −1024 … 1024, after the source's own Modality and VOI LUT.

    Raises
    ------
    InstanceUnreadable
        No pixels, colour, multi-frame, an unknown transfer syntax, damaged or truncated pixel data, or an
        attribute of the grey scale that cannot be.
    """
    pixels = to_display(decode(ds), ds)
    return Radiograph(header=header_of(ds), pixels=pixels, view=view_of(ds))
