"""Bad input: each kind is refused, and the reason names the tag."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import ImplicitVRLittleEndian

from mcads_node.errors import InstanceUnreadable
from mcads_node.instance import Radiograph
from mcads_node.read import radiograph as read
from tests import encodings
from tests.encodings import data_set, deepened, encapsulated, headerless, part10, picture
from tests.reading import LOSSLESS, radiograph_of


def _plain(**attributes: Any) -> Dataset:
    return data_set(picture(), bits_stored=8, **attributes)


def _changed(**attributes: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        ds = _plain()
        for keyword, value in attributes.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        return part10(ds)

    return make


def _with_lut(keyword: str, descriptor: list[int], data: list[int] | None) -> Callable[[], bytes]:
    def make() -> bytes:
        lut = encodings.item(descriptor, data or [])
        if data is None:
            del lut.LUTData
        return part10(_plain(**{keyword: [lut]}))

    return make


def _patched(old: bytes, new: bytes, **attributes: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        data = part10(_plain(**attributes))
        assert data.count(old) == 1
        return data.replace(old, new)

    return make


def _frame(make: Callable[[], bytes], change: Callable[[bytes], bytes]) -> Callable[[], bytes]:
    """Change the compressed frame of a file, and encapsulate it properly again."""

    def changed() -> bytes:
        ds = read.read_dataset(make())
        frame = change(get_frame(ds.PixelData, 0, number_of_frames=1))
        ds.PixelData = encapsulate([frame])
        ds["PixelData"].is_undefined_length = True
        return part10(ds, ds.file_meta.TransferSyntaxUID)

    return changed


def _as(syntax: str) -> Callable[[], bytes]:
    return lambda: encapsulated(_plain(), b"\0" * 1000, syntax)


def _cut_file(name: str) -> Callable[[], bytes]:
    return lambda: LOSSLESS[name]()[:-300]


_J2K, _JLS = LOSSLESS["16 bit JPEG 2000"], LOSSLESS["16 bit JPEG-LS"]
_JPEG, _RLE = LOSSLESS["16 bit JPEG lossless SV1"], LOSSLESS["16 bit RLE"]

_BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "no pixels": (_changed(PixelData=None), r"no Pixel Data \(7FE0,0010\)"),
    "empty pixels": (_changed(PixelData=b""), r"Pixel Data \(7FE0,0010\) is empty"),
    "fewer pixels than declared": (
        _changed(Rows=97),
        r"truncated: Pixel Data .* 97 rows × 80 columns .* 7760",
    ),
    "file cut": (
        lambda: part10(_plain())[:-100],
        r"truncated: \(7FE0,0010\) declares 7680 bytes, of which 7580",
    ),
    "file cut in the header": (
        lambda: part10(_plain())[:400],
        "truncated|cannot be parsed|not a DICOM|no Pixel",
    ),
    "compressed file cut": (_cut_file("16 bit JPEG 2000"), "truncated: the data set ends within"),
    "deflated file cut": (_cut_file("16 bit deflated"), "truncated"),
    "Rows 0": (_changed(Rows=0), r"Rows \(0028,0010\) is 0, expected 1 to 65535"),
    "no Columns": (_changed(Columns=None), r"Columns \(0028,0011\) is absent or empty"),
    "absurd size": (
        _changed(Rows=65535, Columns=65535),
        r"Rows \(0028,0010\) × Columns \(0028,0011\) is 65535 × 65535, expected at most 100000000 pixels",
    ),
    "BitsStored > BitsAllocated": (
        _changed(BitsStored=12),
        r"Bits Stored \(0028,0101\) is 12, expected 1 to 8",
    ),
    "BitsAllocated 12": (_changed(BitsAllocated=12), r"Bits Allocated \(0028,0100\) is 12, expected 8 or 16"),
    "BitsAllocated 32": (_changed(BitsAllocated=32), r"Bits Allocated \(0028,0100\) is 32"),
    "HighBit below the stored bits": (_changed(HighBit=3), r"High Bit \(0028,0102\) is 3, expected 7 to 7"),
    "PixelRepresentation 2": (_changed(PixelRepresentation=2), r"Pixel Representation \(0028,0103\) is 2"),
    "multi-frame": (
        _changed(NumberOfFrames="2"),
        r"multi-frame: Number of Frames \(0028,0008\) is 2, expected 1",
    ),
    "colour": (
        _changed(SamplesPerPixel=3, PhotometricInterpretation="RGB"),
        r"colour or unknown: Samples per Pixel \(0028,0002\) is 3.*'RGB', expected MONOCHROME",
    ),
    "palette": (_changed(PhotometricInterpretation="PALETTE COLOR"), "colour or unknown.*'PALETTE COLOR'"),
    "no photometric interpretation": (_changed(PhotometricInterpretation=None), "colour or unknown"),
    "Rows as text": (
        _patched(b"\x28\x00\x10\x00US", b"\x28\x00\x10\x00CS"),
        r"Rows .* is not a whole number",
    ),
    "Rows of 3 bytes": (
        _patched(b"\x28\x00\x10\x00US\x02\0\x60\0", b"\x28\x00\x10\x00UL\x02\0\x60\0"),
        "Rows",
    ),
    "unknown transfer syntax": (
        _as("1.2.840.10008.1.2.4.102"),
        r"Transfer Syntax UID \(0002,0010\) 1.2.840.10008.1.2.4.102 is not one that can be decoded",
    ),
    "malformed transfer syntax": (
        _patched(b"1.2.840.10008.1.2.1\0", b"1.2.banana.and.more\0"),
        r"Transfer Syntax UID \(0002,0010\) is absent or not a UID",
    ),
    "window width 0": (
        _changed(WindowCenter="100", WindowWidth="0"),
        r"Window Width \(0028,1051\) is 0, expected at least 1",
    ),
    "window width -1, exact": (
        _changed(WindowCenter="100", WindowWidth="-1", VOILUTFunction="LINEAR_EXACT"),
        r"Window Width \(0028,1051\) is -1, expected more than 0",
    ),
    "window without width": (_changed(WindowCenter="100"), r"Window Width \(0028,1051\) is not a number"),
    "window without center": (_changed(WindowWidth="100"), r"Window Center \(0028,1050\) is not a number"),
    "window in words": (
        _patched(b"3000", b"wide", WindowCenter="100", WindowWidth="3000"),
        r"Window Width \(0028,1051\) is not a number, expected a finite decimal",
    ),
    "window not finite": (
        _patched(b"3000", b"-inf", WindowCenter="100", WindowWidth="3000"),
        r"Window Width \(0028,1051\) is not a number, expected a finite",
    ),
    "unknown window function": (
        _changed(WindowCenter="100", WindowWidth="100", VOILUTFunction="CUBIC"),
        r"VOI LUT Function \(0028,1056\) is 'CUBIC', expected LINEAR, LINEAR_EXACT or SIGMOID",
    ),
    "slope 0": (
        _changed(RescaleSlope="0", RescaleIntercept="1"),
        r"Rescale Slope \(0028,1053\) of 0 leaves no range",
    ),
    "slope in words": (
        _patched(b"4.25", b"much", RescaleSlope="4.25", RescaleIntercept="1"),
        r"Rescale Slope \(0028,1053\) is not a number",
    ),
    "slope beyond all range": (
        _changed(RescaleSlope="1E308", RescaleIntercept="0"),
        "Rescale Slope .* leaves no range",
    ),
    "LUT shorter than declared": (
        _with_lut("VOILUTSequence", [256, 0, 8], list(range(255))),
        r"LUT Data \(0028,3006\) has 255 entries, but LUT Descriptor \(0028,3002\) declares 256",
    ),
    "LUT of more bits than declared": (
        _with_lut("VOILUTSequence", [2, 0, 8], [0, 256]),
        r"LUT Data \(0028,3006\) reaches 256, but LUT Descriptor \(0028,3002\) declares 8 bits",
    ),
    "LUT of 0 bits": (_with_lut("ModalityLUTSequence", [2, 0, 0], [0, 1]), r"\(0028,3002\) declares 0 bits"),
    "LUT of 17 bits": (
        _with_lut("ModalityLUTSequence", [2, 0, 17], [0, 1]),
        r"\(0028,3002\) declares 17 bits",
    ),
    "LUT descriptor of two": (
        _with_lut("ModalityLUTSequence", [2, 0], [0, 1]),
        r"LUT Descriptor \(0028,3002\) is not three whole numbers",
    ),
    "LUT without data": (_with_lut("VOILUTSequence", [2, 0, 8], None), r"LUT Data \(0028,3006\) is absent"),
    "LUT of one value": (
        _with_lut("ModalityLUTSequence", [2, 0, 8], [7, 7]),
        r"Modality LUT Sequence \(0028,3000\) maps every pixel to 7",
    ),
    "padding as text": (
        _patched(b"\x28\x00\x20\x01US", b"\x28\x00\x20\x01CS", PixelPaddingValue=0x4141),
        r"Pixel Padding Value \(0028,0120\) is not a whole number",
    ),
    "JPEG 2000 as JPEG": (
        _frame(_JPEG, lambda _: get_frame(read.read_dataset(_J2K()).PixelData, 0, number_of_frames=1)),
        "holds no JPEG codestream",
    ),
    "JPEG as JPEG 2000": (
        _frame(_J2K, lambda _: get_frame(read.read_dataset(_JPEG()).PixelData, 0, number_of_frames=1)),
        "holds no JPEG 2000 codestream",
    ),
    "RLE segments missing": (_frame(_RLE, lambda frame: b"\1" + frame[1:]), "cannot be decoded, damaged"),
    "RLE cut": (_frame(_RLE, lambda frame: frame[: len(frame) // 2]), "cannot be decoded, damaged"),
    "native pixels declared compressed": (
        lambda: part10(_plain()).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0"),
        "fragments|damaged",
    ),
    "compressed pixels declared native": (
        lambda: encodings.rle(_plain()).replace(b"1.2.840.10008.1.2.5\0", b"1.2.840.10008.1.2.1\0"),
        r"Pixel Data \(7FE0,0010\) is compressed, but Transfer Syntax UID \(0002,0010\) says it is not",
    ),
    "headerless and compressed": (lambda: encodings.without_meta(_J2K()), "is compressed, but"),
}
for _name, _make in {"JPEG 2000": _J2K, "JPEG-LS": _JLS, "JPEG": _JPEG}.items():
    _BAD[f"{_name} cut"] = (_frame(_make, lambda frame: frame[: len(frame) // 2]), "no end marker: truncated")
    _BAD[f"{_name} with a hole"] = (
        _frame(_make, lambda frame: frame[: len(frame) // 2] + frame[-40:]),
        r"Pixel Data \(7FE0,0010\) (cannot be decoded|decodes to)",
    )
_BAD["JPEG 2000 of another size"] = (
    _frame(_J2K, lambda frame: frame[:8] + b"\0\1\0\0\0\1\0\0" + frame[16:]),
    r"Rows \(0028,0010\) × Columns \(0028,0011\) is 96 × 80, but the codestream holds 65536 × 65536",
)
_BAD["JPEG of another size"] = (
    _frame(_JPEG, lambda frame: frame.replace(b"\x10\x00\x60\x00\x50", b"\x10\xff\xff\xff\xff", 1)),
    "is 96 × 80, but the codestream holds 65535 × 65535",
)
# GDCM ends the process on this one, if it sees it
_BAD["JPEG with bytes between segments"] = (
    _frame(_JPEG, lambda frame: frame[:2] + bytes(12) + frame[2:]),
    "damaged at byte 2, before its first scan",
)
_BAD["JPEG-LS in colour"] = (
    _frame(_JLS, lambda frame: frame.replace(b"\x10\x00\x60\x00\x50\x01", b"\x10\x00\x60\x00\x50\x03", 1)),
    "colour: the codestream has 3 components",
)


@pytest.mark.parametrize("name", _BAD)
def test_bad_input_is_refused_with_a_reason(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    make, reason = _BAD[name]
    data = make()
    capfd.readouterr()
    with pytest.raises(InstanceUnreadable, match=reason) as caught:
        radiograph_of(data)
    assert "\n" not in str(caught.value)
    assert "Doe" not in str(caught.value)
    assert "SECRET" not in str(caught.value)
    # neither libjpeg nor pydicom writes past the logs
    assert capfd.readouterr() == ("", "")


def test_a_deflated_bomb_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    from mcads_node.read import part10 as reader

    data = part10(data_set(np.zeros((2000, 1000), dtype=np.int64), bits_stored=16), "1.2.840.10008.1.2.1.99")
    assert len(data) < 20_000
    monkeypatch.setattr(reader, "MAX_INFLATED_BYTES", 2**20)
    with pytest.raises(InstanceUnreadable, match="inflates to more than 1 MiB"):
        read.read_dataset(data)
    assert read.read_header(data).Rows == 2000


def test_nothing_of_the_patient_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    data = part10(_plain(PatientBirthDate="19000101"))
    with caplog.at_level(logging.DEBUG):
        radiograph_of(data.replace(b"19000101", b"SECRET!!"))
    assert "SECRET" not in caplog.text


def _small(encode: Callable[[Dataset], bytes], **attributes: Any) -> bytes:
    return encode(data_set(deepened(picture(40, 36), 12), bits_stored=12, **attributes))


_SEEDS: list[bytes] = [
    _small(part10, WindowCenter="2000", WindowWidth="4000", PixelPaddingValue=3),
    _small(
        lambda ds: part10(ds, ImplicitVRLittleEndian), VOILUTSequence=[encodings.item([3, 0, 8], [0, 9, 99])]
    ),
    _small(lambda ds: headerless(ds, ImplicitVRLittleEndian), ViewPosition="PA"),
    _small(lambda ds: part10(ds, "1.2.840.10008.1.2.1.99")),
    _small(encodings.rle),
    _small(encodings.jpeg_ls_lossless),
    _small(encodings.jpeg_2000),
    encapsulated(
        data_set(encodings.htj2k_values(), bits_stored=12),
        encodings.HTJ2K["lossless"],
        "1.2.840.10008.1.2.4.201",
    ),
]


# pydicom warns of a tag that a change made up, and a worker goes on
@pytest.mark.filterwarnings("ignore:VR lookup failed:UserWarning")
@settings(max_examples=400, deadline=None)
@given(
    st.integers(0, len(_SEEDS) - 1),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4)), max_size=6),
    st.floats(0, 1),
)
@example(0, [], 1.0)
def test_mutated_and_truncated_files_are_read_or_refused(
    seed: int, changes: list[tuple[float, bytes]], keep: float
) -> None:
    """Of every decoder but GDCM: an exception it lets through ends the whole test run without a word."""
    data = bytearray(_SEEDS[seed])
    for place, new in changes:
        # the preamble says nothing
        at = 128 + int(place * (len(data) - 128))
        data[at : at + len(new)] = new
    damaged = bytes(data[: round(len(data) * keep)])
    for reader in (radiograph_of, read.read_header):
        try:
            result: Radiograph | Dataset = reader(damaged)
        except InstanceUnreadable as error:
            assert str(error)
        else:
            assert isinstance(result, Dataset) or np.isfinite(result.pixels).all()


def test_importing_the_reader_needs_no_model_library() -> None:
    """The receiving process imports the transfer syntaxes from here."""
    heavy = "('torch', 'torchxrayvision', 'skimage', 'scipy')"
    code = f"import sys, mcads_node.read; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "[]"
