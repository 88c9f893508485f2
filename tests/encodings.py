"""One radiograph in many encodings, all of which must read as the same picture.

Encoders that no decoder of the node is made of are used where there are any: DCMTK for JPEG, OpenJPH (as
stored bytes) for HTJ2K.
"""

from __future__ import annotations

import base64
import copy
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import jpeg_ls  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray
from openjpeg.utils import encode_array
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import dcmwrite
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

CR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.1"

Stored = NDArray[np.integer[Any]]


def picture(rows: int = 96, columns: int = 80) -> NDArray[np.uint8]:
    """Draw two dark lungs in a bright chest, with the whole range of 8 bits in it, and no symmetry."""
    r, c = np.mgrid[0:rows, 0:columns] / np.array([rows, columns]).reshape(2, 1, 1)
    lungs = sum(np.exp(-(((r - 0.45) / 0.25) ** 2) - ((c - x) / 0.12) ** 2) for x in (0.3, 0.72))
    image = 200 - 170 * lungs + 40 * r - 20 * c
    result: NDArray[np.uint8] = image.clip(0, 255).astype(np.uint8)
    result[0, :2], result[-1, -3:] = 0, 255
    return result


def deepened(image: NDArray[np.uint8], bits: int) -> NDArray[np.int64]:
    """Spread 8 bit values over the whole range of `bits` bits."""
    return np.rint(image.astype(np.float64) * ((1 << bits) - 1) / 255).astype(np.int64)


def data_set(
    stored: Stored,
    *,
    bits_stored: int,
    signed: bool = False,
    photometric: str = "MONOCHROME2",
    bits_allocated: int | None = None,
    **attributes: Any,
) -> Dataset:
    """Make a CR instance of stored values, uncompressed and little endian; `attributes` by keyword."""
    allocated = bits_allocated or (8 if bits_stored <= 8 else 16)
    ds = Dataset()
    ds.SOPClassUID = CR_IMAGE_STORAGE
    ds.SOPInstanceUID = "2.25.1001"
    ds.PatientName, ds.PatientID = "Doe^Jane", "SECRET-ID"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "2.25.1002", "2.25.1003"
    ds.Modality = "CR"
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.Rows, ds.Columns = stored.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits_stored, bits_stored - 1
    ds.PixelRepresentation = int(signed)
    mask = (1 << allocated) - 1
    words = (stored.astype(np.int64) & mask).astype("<u1" if allocated == 8 else "<u2")
    data = words.tobytes()
    ds.add_new("PixelData", "OB" if allocated == 8 else "OW", data + b"\0" * (len(data) % 2))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


def words_of(ds: Dataset) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Words of an uncompressed little endian data set."""
    dtype = "<u1" if ds.BitsAllocated == 8 else "<u2"
    count = ds.Rows * ds.Columns
    return np.frombuffer(ds.PixelData, dtype, count).reshape(ds.Rows, ds.Columns)


def part10(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Write a Part 10 file; native pixel data are swapped for big endian, and deflated where asked for."""
    syntax = UID(syntax)
    ds = copy.deepcopy(ds)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if not syntax.is_little_endian and ds.BitsAllocated == 16:
        ds.PixelData = words_of(ds).astype(">u2").tobytes()
    with BytesIO() as stream:
        dcmwrite(stream, ds, enforce_file_format=True)
        return stream.getvalue()


def headerless(ds: Dataset, syntax: str) -> bytes:
    """Write only the data set, without preamble and file meta."""
    return without_meta(part10(ds, syntax))


def without_meta(whole: bytes) -> bytes:
    """Cut the preamble and the file meta off a Part 10 file."""
    # group length (0002,0000): its value counts from behind itself
    return whole[144 + int.from_bytes(whole[140:144], "little") :]


def encapsulated(ds: Dataset, frame: bytes, syntax: str) -> bytes:
    """Write a file whose pixel data is one compressed frame in one fragment."""
    ds = copy.deepcopy(ds)
    ds["PixelData"].VR = "OB"
    ds.PixelData = encapsulate([frame])
    ds["PixelData"].is_undefined_length = True
    return part10(ds, syntax)


def rle(ds: Dataset) -> bytes:
    ds = copy.deepcopy(ds)
    ds.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    return part10(ds, RLELossless)


def jpeg_ls_lossless(ds: Dataset) -> bytes:
    return encapsulated(ds, bytes(jpeg_ls.encode_array(words_of(ds))), JPEGLSLossless)


def jpeg_ls_near_lossless(ds: Dataset) -> bytes:
    frame = bytes(jpeg_ls.encode_array(words_of(ds), lossy_error=1))
    return encapsulated(ds, frame, "1.2.840.10008.1.2.4.81")


def jpeg_2000(ds: Dataset, syntax: str = JPEG2000Lossless) -> bytes:
    words = words_of(ds)
    if ds.PixelRepresentation == 1:
        unused = ds.BitsAllocated - ds.BitsStored
        words = (words << unused).view(f"i{words.dtype.itemsize}") >> unused
    ratios = [4.0] if syntax != JPEG2000Lossless else None
    frame = encode_array(words, bits_stored=ds.BitsStored, codec_format=0, compression_ratios=ratios)
    return encapsulated(ds, bytes(frame), syntax)


def dcmtk_jpeg(option: str) -> Callable[[Dataset], bytes]:
    """Encode JPEG with DCMTK's `dcmcjpeg`; skips where it is not installed."""

    def encode(ds: Dataset) -> bytes:
        program = shutil.which("dcmcjpeg")
        if program is None:
            pytest.skip("dcmcjpeg is not installed (Debian package dcmtk)")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "source.dcm"), Path(folder, "target.dcm")
            source.write_bytes(part10(ds))
            subprocess.run([program, option, "+un", str(source), str(target)], check=True, timeout=30)
            return target.read_bytes()

    return encode


def every_lossless_encoding(image: NDArray[np.uint8] | None = None) -> dict[str, Callable[[], bytes]]:
    """Name → file, of the same image (none: `picture`); 8 bit, or exactly spread over 16 bit."""
    image = picture() if image is None else image
    deep = deepened(image, 16)
    plain = data_set(image, bits_stored=8)
    wide = data_set(deep, bits_stored=16)
    signed = data_set(deep - 32768, bits_stored=16, signed=True)
    ten = image.astype(np.int64) * 4  # 0 … 1020
    lut = item(LUTDescriptor=[256, 100, 16], LUTData=deepened(np.arange(256, dtype=np.uint8), 16))
    in_ten: dict[str, Any] = {"bits_stored": 10, "WindowCenter": "510.5", "WindowWidth": "1021"}
    native = {
        "8 bit": plain,
        "8 bit MONOCHROME1": data_set(255 - image, bits_stored=8, photometric="MONOCHROME1"),
        "8 bit in 16": data_set(image, bits_stored=8, bits_allocated=16),
        "8 bit signed": data_set(image.astype(np.int64) - 128, bits_stored=8, signed=True),
        "16 bit": wide,
        "16 bit MONOCHROME1": data_set(65535 - deep, bits_stored=16, photometric="MONOCHROME1"),
        "16 bit signed": signed,
        "rescaled": data_set(image, bits_stored=8, RescaleSlope="-2.5", RescaleIntercept="70"),
        "rescaled, MONOCHROME1": data_set(
            image, bits_stored=8, photometric="MONOCHROME1", RescaleSlope="-2.5", RescaleIntercept="70"
        ),
        "window": data_set(ten, **in_ten),
        "window, overlay bits": data_set(ten | ((ten & 1024) ^ 0xA400), **in_ten),
        "window, rescaled": data_set(
            ten,
            bits_stored=10,
            RescaleSlope="0.5",
            RescaleIntercept="-7",
            WindowCenter="248.5",
            WindowWidth="511",
        ),
        "window LINEAR_EXACT": data_set(
            ten, bits_stored=12, WindowCenter="510", WindowWidth="1020", VOILUTFunction="LINEAR_EXACT"
        ),
        "two windows": data_set(
            ten, bits_stored=10, WindowCenter=["510.5", "100"], WindowWidth=["1021", "50"]
        ),
        "signed, window": data_set(
            ten - 512, bits_stored=12, signed=True, WindowCenter="-1.5", WindowWidth="1021"
        ),
        "Modality LUT": data_set(image, bits_stored=8, ModalityLUTSequence=[modality_lut()]),
        "VOI LUT": data_set(image.astype(np.int64) + 100, bits_stored=12, VOILUTSequence=[lut]),
    }
    del native["rescaled"]  # a falling rescale shows the negative: only together with MONOCHROME1
    deflated, big, implicit = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2"
    encodings = {name: _writer(part10, ds) for name, ds in native.items()}
    for name, syntax in {"deflated": deflated, "big endian": big, "implicit": implicit}.items():
        encodings[f"16 bit {name}"] = _writer(part10, wide, syntax)
        encodings[f"8 bit {name}"] = _writer(part10, plain, syntax)
        encodings[f"VOI LUT {name}"] = _writer(part10, native["VOI LUT"], syntax)
    for name, ds in {
        "8 bit": plain,
        "16 bit": wide,
        "16 bit signed": signed,
        "window": native["window"],
    }.items():
        encodings[f"{name} RLE"] = _writer(rle, ds)
        encodings[f"{name} JPEG-LS"] = _writer(jpeg_ls_lossless, ds)
        encodings[f"{name} JPEG 2000"] = _writer(jpeg_2000, ds)
        encodings[f"{name} JPEG 2000 in .91"] = _writer(_as_syntax_91, ds)
        encodings[f"{name} JPEG lossless SV1"] = _writer(dcmtk_jpeg("+e1"), ds)
        encodings[f"{name} JPEG lossless"] = _writer(dcmtk_jpeg("+el"), ds)
    return encodings


def every_depth(image: NDArray[np.uint8]) -> dict[str, Callable[[], bytes]]:
    """Name → file, of the same image spread over 8, 10, 12 and 16 bits, rounded where they do not divide."""
    encodings = {}
    for bits in (8, 10, 12, 16):
        deep, top = deepened(image, bits), (1 << bits) - 1
        for photometric, stored in (("MONOCHROME2", deep), ("MONOCHROME1", top - deep)):
            half = (top + 1) // 2
            for signed, values in ((False, stored), (True, stored - half)):
                ds = data_set(values, bits_stored=bits, signed=signed, photometric=photometric)
                encodings[f"{bits} bit {photometric} {'signed' if signed else 'unsigned'}"] = _writer(
                    part10, ds
                )
    return encodings


def modality_lut() -> Dataset:
    """Make a LUT that triples 8 bit values, described as 16 bit as many devices do."""
    return item(LUTDescriptor=[256, 0, 16], LUTData=np.arange(256) * 3, ModalityLUTType="US")


def item(LUTDescriptor: list[int], LUTData: Any, **attributes: Any) -> Dataset:  # noqa: N803 - DICOM keywords
    """Make an item of a LUT sequence."""
    result = Dataset()
    result.add_new("LUTDescriptor", "US", LUTDescriptor)
    result.add_new("LUTData", "US", [int(value) for value in LUTData])
    for keyword, value in attributes.items():
        setattr(result, keyword, value)
    return result


def htj2k_values() -> NDArray[np.int64]:
    """12 bit values, 12 × 16, that `HTJ2K` holds."""
    r, c = np.mgrid[0:12, 0:16].astype(np.int64)
    values: NDArray[np.int64] = (37 * r * r + 91 * c + 13 * r * c) % 4096
    return values


def _writer(write: Callable[..., bytes], *arguments: Any) -> Callable[[], bytes]:
    return lambda: write(*arguments)


def _as_syntax_91(ds: Dataset) -> bytes:
    whole = jpeg_2000(ds)
    return whole.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.91", 1)


#: `htj2k_values` as OpenJPH 0.9.0's ojph_compress wrote it: lossless (its progression is RPCL), and lossy
HTJ2K: Mapping[str, bytes] = {
    name: base64.b85decode(text)
    for name, text in {
        "lossless": (
            "|4;u>04YEK0000G0000C00000000000000G0000C0000000000009dD0sl|{2mk^A000O7QUDA90ssL30R#j<0smY8"
            "2Ow~8aCrY@02TlNPjF>!N>E53R%LP^FfKVRFfRX)015yA0002%00IA#zyW%YBe3tce$q>w+V}o4r_~?ix|<IWV10wz"
            "t)pCQ;d6MVizX%2E7(sw8a1N?w1PErjGkOa>xUsye8|u0g)MlkolpmNDdhASMsbh|x*<R_Faf{;bPxbuj{pMJG_?PJ"
            "96|LT{^`H}f7d_$6Xx6H8Qil&e__CFaRPk+NivxvNs=T<k|arzB*|owBuSD4w2=g~kp#4x1WA-c+5>GP610P7Nz7_V"
            "4sNtTaY=x5Ng#Lt0ALCc2nkEpUy#P+F|Yyt|9}5|fB$<Q^h*JL%wRwEVt~4R0RPz"
        ),
        "lossy": (
            "|4;u>04YEK0000G0000C00000000000000G0000C0000000000009dD0sl|{2mk^A001ZdQUDA90ssL30R#j<0RLP7"
            "3nG11eD-|ye3}1b02TlNPjF>!N>E53R%LP^FfKVRFfRX)015yA0003z00IA#zyQ5~^U985mssns`#FuZ4{Y((j55@v"
            "-@<VG&SmI?F1)7IGUyLvl;|p+x))TAB@R&25KaV2>)oAG5fS~GR^6g--*s`O^}4<_k6F*bo+t<S0iDWuJyfF6i~v<J"
            "z&9`fzyQ1G02ib{0K1TKj;S<CdRNL_^hQip!qrh!2Uipks^@`>8l((-2e5G{qfvzfbfVym2cWpz{#Zf+1YzV?!W6Y*"
            "3d9R=0m6OH@8Nm%ab4Ua$XHu&G^dBlZ5XC}Cu(2rP;<e5jDx4skvko0hZJKiDTLicV1(cU6#fVl5DF9^0%XciC6)jI"
            "t#Z~g0l=kN`hn{~VnxI4D8*2&fe^~eFN>y^5XwxUk~0wN5ZVw`V2S~V0}J>-03aw%U@6lWz?S|@Zvg+<"
        ),
    }.items()
}
