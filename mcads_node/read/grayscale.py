"""From stored values to shown brightness: padding, Modality LUT, VOI LUT, polarity (PS3.3 C.11, C.7.6.3).

At most 65536 different words can occur in an image of up to 16 bits, so the whole pipeline is worked out once
for each of them and the pixels are looked up: exact, and faster than any arithmetic on the pixels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from mcads_node.errors import InstanceUnreadable
from mcads_node.read.attributes import (
    PYDICOM_ERRORS,
    code_string,
    first_item,
    first_value,
    integer,
    named,
    number,
    odd_data_expected,
    quoted,
)
from mcads_node.read.decode import StoredPixels, Words

#: darkest and brightest pixel of a `Radiograph`, as torchxrayvision's models were trained
DARKEST, BRIGHTEST = -1024.0, 1024.0

#: looked up at once: what stays in a processor's cache
_BLOCK_PIXELS = 1 << 17


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scale:
    """Values of every word at one stage of the pipeline, and the range that stage can give."""

    values: NDArray[np.float64]
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lut:
    """One item of a Modality or VOI LUT Sequence (PS3.3 C.11.1.1.1)."""

    first: int
    entries: NDArray[np.float64]
    #: 2^bits − 1
    highest: float

    def look_up(self, values: NDArray[np.float64]) -> _Scale:
        """Map values; those below the first entry get the first, those above the last get the last."""
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        return _Scale(values=self.entries[index], low=0.0, high=self.highest)


def to_display(stored: StoredPixels, ds: Dataset) -> NDArray[np.float32]:
    """Apply padding, Modality LUT, VOI LUT and polarity.

    Parameters
    ----------
    stored
        The decoded frame.
    ds
        Its data set, for groups 0028 and their sequences.

    Returns
    -------
    ndarray of float32, rows × columns
        −1024 (darkest) … 1024 (brightest). Without a VOI the whole stored range is shown: then plain 8 bit
        pixels equal torchxrayvision's ``normalize(pixels, 255)``.

    Raises
    ------
    InstanceUnreadable
        Where an attribute of the pipeline is broken.
    """
    values = stored.values()
    low, high = stored.format.stored_range
    scale = _modality(ds, _Scale(values=values.astype(np.float64), low=low, high=high))
    with np.errstate(over="ignore"):  # a narrow window is a step, and infinity is clipped
        brightness = _voi(ds, scale)
    if stored.format.monochrome1:
        brightness = 1.0 - brightness
    table = (DARKEST + (BRIGHTEST - DARKEST) * brightness).astype(np.float32)
    table[_is_padding(ds, stored, values)] = DARKEST
    return _looked_up(table, stored.words)


def _looked_up(table: NDArray[np.float32], words: Words) -> NDArray[np.float32]:
    """Look every word up, a block at a time: numpy widens what it looks up to 64 bits first.

    In one piece that would be eight bytes a pixel beside the image, and takes twice as long (measured).
    """
    looked_up = np.empty(words.shape, dtype=np.float32)
    rows = max(1, _BLOCK_PIXELS // words.shape[1])
    for first in range(0, len(words), rows):
        # there is an entry for every word: nothing is clipped, only not checked
        block = words[first : first + rows]
        np.take(table, block, mode="clip", out=looked_up[first : first + rows])
    return looked_up


def _is_padding(ds: Dataset, stored: StoredPixels, values: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Which words are padding: Pixel Padding Value to Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2)."""
    if first_value(ds, "PixelPaddingValue") is None:
        return np.zeros(values.shape, dtype=np.bool_)
    signed = stored.format.signed
    one = _as_signed(integer(ds, "PixelPaddingValue", -32768, 65535), signed)
    other = _as_signed(integer(ds, "PixelPaddingRangeLimit", -32768, 65535, default=one), signed)
    lowest, highest = min(one, other), max(one, other)
    padding = (values >= lowest) & (values <= highest)
    low, high = stored.format.stored_range
    if lowest < low or highest > high:
        # a value that Bits Stored cannot hold was written into the whole word, unused bits included
        whole = np.arange(values.size)
        if signed:
            whole -= np.where(whole >= values.size // 2, values.size, 0)
        padding |= (whole >= lowest) & (whole <= highest)
    return padding


def _as_signed(value: int, signed: bool) -> int:
    """Read 16 bits, which pydicom may have taken for US or SS, as Pixel Representation says."""
    value &= 0xFFFF
    return value - 0x10000 if signed and value > 0x7FFF else value


def _modality(ds: Dataset, scale: _Scale) -> _Scale:
    """Modality LUT, else rescale, else nothing (PS3.3 C.11.1)."""
    item = first_item(ds, "ModalityLUTSequence")
    if item is not None:
        values = _lut_of(item, scale).look_up(scale.values).values
        # what the stored range becomes, as for the rescale: a LUT declared as 16 bits often fills but ten
        low, high = float(values.min()), float(values.max())
        if low == high:
            raise InstanceUnreadable(f"{named('ModalityLUTSequence')} maps every pixel to {low:g}")
        return _Scale(values=values, low=low, high=high)
    slope, intercept = number(ds, "RescaleSlope", 1.0), number(ds, "RescaleIntercept", 0.0)
    ends = (scale.low * slope + intercept, scale.high * slope + intercept)
    low, high = min(ends), max(ends)
    if not math.isfinite(high - low) or low == high:
        raise InstanceUnreadable(f"{named('RescaleSlope')} of {slope:g} leaves no range of values")
    return _Scale(values=scale.values * slope + intercept, low=low, high=high)


def _voi(ds: Dataset, scale: _Scale) -> NDArray[np.float64]:
    """First VOI LUT, else first window, else the full range, as brightness 0 … 1 (PS3.3 C.11.2)."""
    item = first_item(ds, "VOILUTSequence")
    if item is not None:
        scale = _lut_of(item, scale).look_up(scale.values)
    elif first_value(ds, "WindowCenter") is not None or first_value(ds, "WindowWidth") is not None:
        return _window(ds, scale.values)
    return (scale.values - scale.low) / (scale.high - scale.low)


def _window(ds: Dataset, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Window functions of PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    center, width = number(ds, "WindowCenter"), number(ds, "WindowWidth")
    function = code_string(ds, "VOILUTFunction") or "LINEAR"
    least = 1.0 if function == "LINEAR" else 0.0
    if width < least or width <= 0:
        raise InstanceUnreadable(
            f"{named('WindowWidth')} is {width:g}, expected {'at least 1' if least else 'more than 0'}"
        )
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if function == "SIGMOID":
        # beyond ±700 the exponential overflows, and the result is 0 or 1 long before
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -700.0, 700.0)))
    if function != "LINEAR":
        raise InstanceUnreadable(
            f"{named('VOILUTFunction')} is {quoted(function)}, expected LINEAR, LINEAR_EXACT or SIGMOID"
        )
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _lut_of(item: Dataset, scale: _Scale) -> _Lut:
    """Read one LUT whose input is `scale`.

    Raises
    ------
    InstanceUnreadable
        Where descriptor and data do not fit.
    """
    count, first, bits = _descriptor(item)
    try:
        with odd_data_expected():
            element = item["LUTData"]
        data = element.value
        if isinstance(data, bytes):
            width = 1 if len(data) in (count, count + count % 2) and bits <= 8 else 2
            # words of OW are in the byte order of their data set, which pydicom leaves to its user
            order = ">" if item.original_encoding[1] is False else "<"
            entries = np.frombuffer(data, f"{order}u{width}").astype(np.float64)
        else:
            entries = np.atleast_1d(np.asarray(data, dtype=np.float64))
    except PYDICOM_ERRORS as error:
        raise InstanceUnreadable(f"{named('LUTData')} is absent or cannot be read") from error
    entries = entries[:count]
    highest = float((1 << bits) - 1)
    if len(entries) < count:
        raise InstanceUnreadable(
            f"{named('LUTData')} has {len(entries)} entries, but {named('LUTDescriptor')} declares {count}"
        )
    if entries.max() > highest or entries.min() < 0:
        raise InstanceUnreadable(
            f"{named('LUTData')} reaches {entries.max():g}, but {named('LUTDescriptor')} declares {bits} bits"
        )
    # US or SS is ambiguous here, too: take the one of the two that the input can reach
    first &= 0xFFFF
    if scale.low < 0 and first > scale.high:
        first -= 0x10000
    return _Lut(first=first, entries=entries, highest=highest)


def _descriptor(item: Dataset) -> tuple[int, int, int]:
    try:
        with odd_data_expected():
            count, first, bits = (int(value) for value in item["LUTDescriptor"].value)
    except PYDICOM_ERRORS as error:
        raise InstanceUnreadable(f"{named('LUTDescriptor')} is not three whole numbers") from error
    if not 8 <= bits <= 16:
        raise InstanceUnreadable(f"{named('LUTDescriptor')} declares {bits} bits an entry, expected 8 to 16")
    # 65536 entries do not fit into 16 bits and are written as 0
    return count & 0xFFFF or 0x10000, first, bits
