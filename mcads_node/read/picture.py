"""Read pictures that are no DICOM objects, for audits: 8 bit PNG and JPEG, taken as they are displayed."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mcads_node.errors import InstanceUnreadable
from mcads_node.read.grayscale import BRIGHTEST, DARKEST

_MAGIC: Final = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
#: pixels of the largest picture that is decoded: more than any radiograph has
_MOST_PIXELS: Final = 100_000_000
#: how far the channels of a grey picture may be apart, which JPEG rounds
_COLOURLESS: Final = 8


def is_picture(data: bytes) -> bool:
    """Whether `data` are PNG or JPEG."""
    return data.startswith(_MAGIC)


def read_picture(data: bytes) -> NDArray[np.float32]:
    """Decode an 8 bit picture.

    Parameters
    ----------
    data
        PNG or JPEG, grey; three equal channels are grey too.

    Returns
    -------
    ndarray of float32, rows × columns
        −1024 (black) … 1024 (white), which equals torchxrayvision's ``normalize(pixels, 255)``.

    Raises
    ------
    InstanceUnreadable
        It is damaged, too large, in colour, or has other than 8 bits.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise InstanceUnreadable(f"a picture of {picture.width} × {picture.height} is too large")
            pixels = _grey(picture)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InstanceUnreadable("the picture is damaged: it cannot be decoded") from error
    scaled: NDArray[np.float32] = pixels.astype(np.float32) * ((BRIGHTEST - DARKEST) / 255) + DARKEST
    return scaled


def _grey(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode == "L":
        return np.asarray(picture)
    if picture.mode not in ("LA", "RGB", "RGBA"):
        raise InstanceUnreadable(f"a picture of 8 bit grey is expected; this one has mode {picture.mode}")
    colours = np.asarray(picture.convert("RGB"))
    if int((colours.max(axis=2) - colours.min(axis=2)).max()) > _COLOURLESS:
        raise InstanceUnreadable("it is a picture in colour; grey is expected")
    return np.asarray(picture.convert("L"))
