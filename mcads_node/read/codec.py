"""The codecs: bytes of one compressed frame in, bytes of its samples out.

Home of GDCM (JPEG), OpenJPEG (JPEG 2000 and HTJ2K) and CharLS (JPEG-LS); RLE and the native encodings are
pydicom's. One decoder for one transfer syntax, so that the same file always gives the same pixels. pydicom's
own table of plugins is passed by: its GDCM plugin refuses 12 bit JPEG Extended, which GDCM reads, and its
OpenJPEG plugin needs one more package.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import gdcm
import jpeg_ls  # type: ignore[import-untyped]
from openjpeg.utils import decode_pixel_data
from pydicom.uid import UID

from mcads_node.errors import InstanceUnreadable
from mcads_node.read.attributes import PYDICOM_ERRORS, named
from mcads_node.read.codestream import Codestream, bare_jpeg, read_jpeg, read_jpeg2000
from mcads_node.read.transfer_syntaxes import JPEG_2000, JPEG_LS


def header_of_frame(frame: bytes, syntax: UID) -> Codestream:
    """Read the codestream's own header.

    Raises
    ------
    InstanceUnreadable
        Where the frame is not what its transfer syntax says.
    """
    return read_jpeg2000(frame) if syntax in JPEG_2000 else read_jpeg(frame)


def decode_frame(frame: bytes, header: Codestream, syntax: UID) -> bytes:
    """Decode one JPEG, JPEG-LS, JPEG 2000 or HTJ2K frame of one component.

    Returns
    -------
    bytes
        Rows × columns samples, little endian, of 8 bits where the precision is at most 8, else of 16.

    Raises
    ------
    InstanceUnreadable
        Where the codestream is damaged.
    """
    decoder: Callable[[bytes, Codestream, UID], bytes] = _gdcm
    if syntax in JPEG_2000:
        decoder = _openjpeg
    elif syntax in JPEG_LS:
        decoder = _charls
    try:
        decoded = decoder(frame, header, syntax)
    except PYDICOM_ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise InstanceUnreadable(f"{named('PixelData')} cannot be decoded, damaged: {reason}") from error
    expected = header.rows * header.columns * (1 if header.precision <= 8 else 2)
    if len(decoded) != expected:
        raise InstanceUnreadable(
            f"{named('PixelData')} decodes to {len(decoded)} bytes, expected {expected}: damaged"
        )
    return decoded


def _openjpeg(frame: bytes, _header: Codestream, _syntax: UID) -> bytes:
    # version 2: little endian bytes, 8 or 16 bits a sample by precision
    return bytes(decode_pixel_data(frame, version=2))


def _charls(frame: bytes, _header: Codestream, _syntax: UID) -> bytes:
    return bytes(jpeg_ls.decode_pixel_data(frame)[0])


def _gdcm(frame: bytes, header: Codestream, syntax: UID) -> bytes:
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(bare_jpeg(frame))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((header.columns, header.rows, 1))
    image.SetDataElement(element)
    monochrome = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(monochrome))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    # the codestream's own precision: pydicom's plugin passes Bits Stored, and so cannot read 12 bit Extended
    allocated = 8 if header.precision <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, header.precision, header.precision - 1, 0))
    with _native_messages() as messages:
        text = image.GetBuffer()
    if text is None or any("Corrupt" in line or "Premature" in line for line in messages):
        raise ValueError("; ".join(messages) or "GDCM gives no reason")
    # GDCM hands bytes over as text
    return bytes(text.encode("utf-8", "surrogateescape"))


@contextmanager
def _native_messages() -> Iterator[list[str]]:
    """Collect what native code writes to standard error; libjpeg has no other way to say data are corrupt.

    It takes the whole process's standard error for as long as one decode lasts.
    """
    messages: list[str] = []
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), 2)
            try:
                yield messages
            finally:
                os.dup2(saved, 2)
                caught.seek(0)
                messages.extend(caught.read(4096).decode("ascii", "replace").splitlines())
    finally:
        os.close(saved)
