"""Short ways for tests to read a file that `tests.encodings` wrote."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from torchxrayvision.datasets import normalize

from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import Radiograph
from mcads_node.read import radiograph as read
from tests import encodings

#: name → writer of a file that shows `encodings.picture`
LOSSLESS = encodings.every_lossless_encoding()


def radiograph_of(data: bytes) -> Radiograph:
    return read.read_radiograph(read.read_dataset(data))


def pixels_of(ds: Dataset) -> NDArray[np.float32]:
    return radiograph_of(encodings.part10(ds)).pixels


def expected() -> NDArray[np.float32]:
    """Give what torchxrayvision makes of `encodings.picture`."""
    result: NDArray[np.float32] = normalize(encodings.picture(), 255)
    return result


def reason_of(data: bytes) -> str:
    """Give the reason for which a file is refused."""
    with pytest.raises(InstanceUnreadable) as caught:
        radiograph_of(data)
    return str(caught.value)
