"""From a data set to stored pixel values: the checks of the Image Pixel module, and the decoding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import is_valid_uid
from mcads_node.read.attributes import PYDICOM_ERRORS, code_string, integer, named, odd_data_expected, quoted
from mcads_node.read.codec import decode_frame, header_of_frame
from mcads_node.read.codestream import Codestream
from mcads_node.read.transfer_syntaxes import LOSSY, RLE, TRANSFER_SYNTAXES

#: the largest radiographs are near 20 million pixels; beyond this a header lies, or would exhaust the memory
MAX_PIXELS = 100_000_000

#: uint8 or uint16
Words = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The Image Pixel module (PS3.3 C.7.6.3) of one monochrome frame, checked."""

    rows: int
    columns: int
    #: 8 or 16
    bits_allocated: int
    #: 1 … bits_allocated
    bits_stored: int
    high_bit: int
    #: Pixel Representation: two's complement
    signed: bool
    #: Photometric Interpretation: the lowest value is shown white
    monochrome1: bool
    transfer_syntax: UID

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest value that Bits Stored can hold."""
        count = 1 << self.bits_stored
        return (-(count >> 1), (count >> 1) - 1) if self.signed else (0, count - 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredPixels:
    """A decoded frame, as words whose meaning is still to be looked up."""

    #: uint8 or uint16, rows × columns: the decoder's words, bits that are not stored included
    words: Words
    format: PixelFormat
    #: bits of a word that carry the value, from `shift` on; more than Bits Stored after a lossy encoder
    precision: int
    #: bits below the value: where High Bit is not Bits Stored − 1
    shift: int

    def values(self) -> NDArray[np.int32]:
        """Work out the stored value of every possible word: int32, 256 or 65536 long.

        Bits above High Bit (overlays of old, PS3.5 8.1.2) are cut off. A value of a lossy codestream beyond
        the stored range is an overshoot and is clipped: to cut it would turn the brightest into the darkest.
        """
        every_word = np.arange(np.iinfo(self.words.dtype).max + 1, dtype=np.int32) >> self.shift
        values = every_word & ((1 << self.precision) - 1)
        if self.format.signed:
            sign = 1 << (self.precision - 1)
            values = (values ^ sign) - sign
        low, high = self.format.stored_range
        clipped: NDArray[np.int32] = np.clip(values, low, high)
        return clipped


def pixel_format(ds: Dataset) -> PixelFormat:
    """Read and check the Image Pixel module.

    Raises
    ------
    InstanceUnreadable
        No pixels, colour, multi-frame, an unknown transfer syntax, or values that cannot be.
    """
    syntax = _transfer_syntax(ds)
    if "PixelData" not in ds:
        raise InstanceUnreadable(f"no {named('PixelData')}: there is no image, or the file ends before it")
    photometric = code_string(ds, "PhotometricInterpretation")
    samples = integer(ds, "SamplesPerPixel", 1, 4)
    if samples != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise InstanceUnreadable(
            f"colour or unknown: {named('SamplesPerPixel')} is {samples}, expected 1; "
            f"{named('PhotometricInterpretation')} is {quoted(photometric)}, "
            "expected MONOCHROME1 or MONOCHROME2"
        )
    frames = integer(ds, "NumberOfFrames", 1, 2**31, default=1)
    if frames != 1:
        raise InstanceUnreadable(f"multi-frame: {named('NumberOfFrames')} is {frames}, expected 1")
    rows, columns = integer(ds, "Rows", 1, 65535), integer(ds, "Columns", 1, 65535)
    if rows * columns > MAX_PIXELS:
        raise InstanceUnreadable(
            f"{named('Rows')} × {named('Columns')} is {rows} × {columns}, "
            f"expected at most {MAX_PIXELS} pixels"
        )
    allocated = integer(ds, "BitsAllocated", 8, 16)
    if allocated not in (8, 16):
        raise InstanceUnreadable(f"{named('BitsAllocated')} is {allocated}, expected 8 or 16")
    stored = integer(ds, "BitsStored", 1, allocated)
    return PixelFormat(
        rows=rows,
        columns=columns,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=integer(ds, "HighBit", stored - 1, allocated - 1, default=stored - 1),
        signed=integer(ds, "PixelRepresentation", 0, 1) == 1,
        monochrome1=photometric == "MONOCHROME1",
        transfer_syntax=syntax,
    )


def decode(ds: Dataset) -> StoredPixels:
    """Decode the one frame of a monochrome image.

    Raises
    ------
    InstanceUnreadable
        As `pixel_format`; and where the pixel data are fewer than declared, damaged, or another picture's.
    """
    form = pixel_format(ds)
    try:
        with odd_data_expected():
            data = ds["PixelData"].value
    except PYDICOM_ERRORS as error:
        raise InstanceUnreadable(f"{named('PixelData')} cannot be read") from error
    if not isinstance(data, bytes) or not data:
        raise InstanceUnreadable(f"{named('PixelData')} is empty")
    if form.transfer_syntax.is_encapsulated:
        return _decode_encapsulated(data, form)
    return _decode_native(data, ds, form)


def _transfer_syntax(ds: Dataset) -> UID:
    meta = getattr(ds, "file_meta", None)
    found = "" if meta is None else str(meta.get("TransferSyntaxUID") or "")
    if found in TRANSFER_SYNTAXES:
        return UID(found)
    with odd_data_expected():
        what = (
            f"{found} is not one that" if is_valid_uid(found) else "is absent or not a UID, and only one that"
        )
    raise InstanceUnreadable(f"{named('TransferSyntaxUID')} {what} can be decoded here")


def _decode_native(data: bytes, ds: Dataset, form: PixelFormat) -> StoredPixels:
    if ds["PixelData"].is_undefined_length:
        raise InstanceUnreadable(
            f"{named('PixelData')} is compressed, but {named('TransferSyntaxUID')} says it is not"
        )
    expected = form.rows * form.columns * form.bits_allocated // 8
    if len(data) < expected:
        raise InstanceUnreadable(
            f"truncated: {named('PixelData')} has {len(data)} bytes, but {form.rows} rows × {form.columns} "
            f"columns of {form.bits_allocated} bits need {expected}"
        )
    # an odd number of bytes is padded to even
    words = _pydicom(data[: expected + expected % 2], form, pixel_vr=str(ds["PixelData"].VR))
    return _stored(words, form, form.high_bit + 1 - form.bits_stored)


def _decode_encapsulated(data: bytes, form: PixelFormat) -> StoredPixels:
    try:
        frame = get_frame(data, 0, number_of_frames=1)
    except PYDICOM_ERRORS as error:
        raise InstanceUnreadable(f"{named('PixelData')} is not a sequence of fragments: damaged") from error
    if form.transfer_syntax == RLE:
        if len(frame) < 64:  # the RLE header (PS3.5 G.5)
            raise InstanceUnreadable(f"{named('PixelData')} holds no RLE frame: damaged")
        words = _pydicom(encapsulate([frame]), form)
        return _stored(words, form, form.high_bit + 1 - form.bits_stored)
    header = header_of_frame(frame, form.transfer_syntax)
    _refuse_other_picture(header, form)
    decoded = decode_frame(frame, header, form.transfer_syntax)
    container = "u1" if header.precision <= 8 else "<u2"
    words = np.frombuffer(decoded, container).reshape(form.rows, form.columns)
    precision = header.precision
    if form.transfer_syntax not in LOSSY:
        precision = min(precision, form.bits_stored)
    return StoredPixels(words=words, format=form, precision=precision, shift=0)


def _stored(words: Words, form: PixelFormat, shift: int) -> StoredPixels:
    return StoredPixels(words=words, format=form, precision=form.bits_stored, shift=shift)


def _refuse_other_picture(header: Codestream, form: PixelFormat) -> None:
    if header.components != 1:
        raise InstanceUnreadable(f"colour: the codestream has {header.components} components, expected 1")
    if (header.rows, header.columns) != (form.rows, form.columns):
        raise InstanceUnreadable(
            f"{named('Rows')} × {named('Columns')} is {form.rows} × {form.columns}, "
            f"but the codestream holds {header.rows} × {header.columns}"
        )
    if not 1 <= header.precision <= 16:
        raise InstanceUnreadable(f"the codestream has {header.precision} bits a sample, expected at most 16")


def _pydicom(data: bytes, form: PixelFormat, pixel_vr: str = "OW") -> Words:
    options: dict[str, Any] = {
        "view_only": True,
        "correct_unused_bits": False,
        "pixel_keyword": "PixelData",
        "pixel_vr": pixel_vr,
        "rows": form.rows,
        "columns": form.columns,
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored,
        # whatever the sign: the bits are interpreted in `StoredPixels.values`
        "pixel_representation": 0,
    }
    try:
        with odd_data_expected():
            decoder = get_decoder(form.transfer_syntax)
            pixels, _ = decoder.as_array(data, index=0, raw=True, validate=False, **options)
    except PYDICOM_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise InstanceUnreadable(f"{named('PixelData')} cannot be decoded, damaged: {reason}") from error
    return pixels
